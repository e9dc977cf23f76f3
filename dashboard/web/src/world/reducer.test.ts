import { describe, expect, it } from "vitest";
import type { MessageType } from "../journal/messages";
import { isBackground } from "../journal/messages";
import { lookOfEntry, sentenceOf } from "../parts/rows";
import { EXAMPLES, Journal, task } from "../testing/journal";
import { reassignedMs } from "./agents";
import { NOTHING } from "./model";
import { approvalKey, fold, IGNORED, MAX_ENTRIES } from "./reducer";
import { currentPlan, fallbacks, meter, openIncidents, phase } from "./select";

const seen = (journal: Journal) => fold(NOTHING, journal.entries);
const started = () => new Journal().reported("inc1").planned("inc1", 1, [task("t1", "restart", "orders")]);

describe("folding the journal", () => {
  it("gives the same world entry by entry and all at once", () => {
    const { entries } = started().ordered("inc1", "v1-t1").claimed("inc1", "v1-t1", "action-agent-1").ended("inc1", "v1-t1", "action-agent-1", "OK");
    const slowly = entries.reduce((world, entry) => fold(world, [entry]), NOTHING);
    expect(slowly).toEqual(fold(NOTHING, entries));
  });

  it("leaves out what it has seen, as after a connection that was lost", () => {
    const { entries } = started();
    const once = fold(NOTHING, entries);
    expect(fold(once, entries)).toBe(once);
    expect(fold(fold(NOTHING, entries.slice(0, 3)), entries)).toEqual(once);
  });

  it("never changes the world it was given", () => {
    const { entries } = started();
    const before = fold(NOTHING, entries.slice(0, 2));
    const copy = structuredClone(before);
    fold(before, entries);
    expect(before).toEqual(copy);
  });

  it("keeps telemetry as a state and not as a row", () => {
    const metrics = { cpu_load: 0.1, mem_usage: 1, latency_ms: 2, success_ratio: 0.5, request_rate: 3 };
    const journal = new Journal();
    for (let n = 0; n < 70; n++) {
      journal.say("telemetry", { device_id: "orders", timestamp: "", status: "WARN", metrics, error_code: "gaierror", log_sample: null, note: null });
    }
    const world = seen(journal);
    expect(world.entries).toHaveLength(0);
    expect(world.devices.orders?.status).toBe("WARN");
    expect(world.devices.orders?.recent).toHaveLength(60);
  });

  it("counts a refused message and believes nothing in it", () => {
    const world = seen(new Journal().refuse("bad_mac"));
    expect(world.refused).toBe(1);
    expect(world.halt).toBeNull();
    expect(world.entries).toHaveLength(1);
  });

  it("keeps the newest rows when there are too many", () => {
    const journal = new Journal();
    for (let n = 0; n < MAX_ENTRIES + 5; n++) journal.say("control.rotate", { key_version: 1 });
    const world = seen(journal);
    expect(world.entries).toHaveLength(MAX_ENTRIES);
    expect(world.entries.at(-1)?.seq).toBe(MAX_ENTRIES + 5);
  });
});

describe("tasks", () => {
  const stateOf = (journal: Journal) => currentPlan(seen(journal).incidents.inc1!)?.tasks.t1?.state;

  it("goes from waiting over queued and running to done", () => {
    const journal = started();
    expect(stateOf(journal)).toBe("waiting");
    expect(stateOf(journal.ordered("inc1", "v1-t1"))).toBe("dispatched");
    expect(stateOf(journal.claimed("inc1", "v1-t1", "a"))).toBe("running");
    expect(stateOf(journal.ended("inc1", "v1-t1", "a", "OK"))).toBe("done");
  });

  it("keeps its end when a zombie claims it afterwards", () => {
    const journal = started().ordered("inc1", "v1-t1").claimed("inc1", "v1-t1", "a").ended("inc1", "v1-t1", "a", "OK");
    expect(stateOf(journal.claimed("inc1", "v1-t1", "b"))).toBe("done");
  });

  it("does not take the result of an older attempt for the newer one's", () => {
    const journal = started().ordered("inc1", "v1-t1").ordered("inc1", "v1-t1", 2);
    expect(stateOf(journal.ended("inc1", "v1-t1", "a", "FAIL", 1))).toBe("retrying");
  });

  it("waits for a person, then goes on or is skipped", () => {
    const ask = { incident: "inc1", task_id: "v1-t1", binding: "b", action: "restart", target: "orders", why: "risky" };
    const journal = started().say("approval.requested", ask);
    expect(stateOf(journal)).toBe("approval");
    expect(phase(seen(journal).incidents.inc1!).name).toBe("waits for approval");
    journal.say("approval.denied", { incident: "inc1", task_id: "v1-t1", binding: "b", reason: "not now" });
    expect(stateOf(journal)).toBe("skipped");
  });

  it("shows a skipped task as skipped once the plan was executed", () => {
    const journal = started().say("plan.executed", { incident: "inc1", version: 1, completed: [], skipped: ["t1"], failed: [], actions: 0 });
    expect(stateOf(journal)).toBe("skipped");
    expect(phase(seen(journal).incidents.inc1!).name).toBe("verifying");
  });
});

describe("approvals", () => {
  const ask = { incident: "inc1", task_id: "v1-t1", binding: "b1", action: "restart", target: "orders", why: "risky" };
  const key = approvalKey("inc1", "v1-t1");

  it("ignores an answer to something else than was asked for", () => {
    const journal = started().say("approval.requested", ask).say("approval.granted", { incident: "inc1", task_id: "v1-t1", binding: "b2" });
    expect(seen(journal).approvals[key]?.state).toBe("open");
  });

  it("keeps the first of two answers", () => {
    const answer = { incident: "inc1", task_id: "v1-t1", binding: "b1" };
    const journal = started().say("approval.requested", ask).say("approval.granted", answer).say("approval.denied", { ...answer, reason: "late" });
    expect(seen(journal).approvals[key]?.state).toBe("granted");
  });

  const expired = { incident: "inc1", task_id: "v1-t1", binding: "b1", action: "restart", target: "orders", wait_s: 300 };

  it("has expired when nobody decided in time, and its task is not carried out", () => {
    const world = seen(started().say("approval.requested", { ...ask, wait_s: 300 }).say("approval.expired", expired));
    expect(world.approvals[key]).toMatchObject({ state: "expired", waitS: 300, reason: "nobody decided within 5 min 0 s" });
    const step = currentPlan(world.incidents.inc1!)?.tasks.t1;
    expect(step).toMatchObject({ state: "skipped", sentence: "nobody decided within 5 min 0 s" });
    expect(phase(world.incidents.inc1!).name).not.toBe("waits for approval");
  });

  it("is not opened again by a word that comes after its time", () => {
    const late = { incident: "inc1", task_id: "v1-t1", binding: "b1" };
    const journal = started().say("approval.requested", ask).say("approval.expired", expired).say("approval.granted", late);
    expect(seen(journal).approvals[key]?.state).toBe("expired");
  });

  it("gets its whole time again when a halt ends", () => {
    const journal = started().say("approval.requested", { ...ask, wait_s: 300 });
    const asked = seen(journal).timeUs;
    expect(seen(journal).approvals[key]?.clockUs).toBe(asked);
    journal.say("control.halt", { reason: "look" }).wait(60_000).say("control.resume", { reason: "go" });
    expect(seen(journal).approvals[key]?.clockUs).toBe(seen(journal).timeUs);
    expect(seen(journal).approvals[key]?.requestedUs).toBe(asked);
  });

  it("is over when a new plan is asked for", () => {
    const journal = started().say("approval.requested", ask).say("plan.requested", { incident: "inc1", version: 2, attempt: 1, text: "" });
    expect(seen(journal).approvals[key]?.state).toBe("over");
  });
});

describe("a lost agent", () => {
  const subject = "triage.task.action.inc1.v1-t1.a1";
  const lost = () =>
    started()
      .ordered("inc1", "v1-t1")
      .claimed("inc1", "v1-t1", "action-agent-1")
      .say("agent.lost", { instance: "action-agent-1", role: "action", connection: 1, reason: "gone", handed_on: [subject] });

  it("is cued while its task waits, and the time to the next claim is measured", () => {
    const journal = lost();
    const before = seen(journal);
    expect(before.agents["action-agent-1"]?.state).toBe("lost");
    expect(currentPlan(before.incidents.inc1!)?.tasks.t1?.state).toBe("retrying");
    expect(fallbacks(before)).toMatchObject([{ what: "action-agent-1 was lost", over: false }]);
    const after = seen(journal.wait(4).claimed("inc1", "v1-t1", "action-agent-2"));
    expect(reassignedMs(after.reassignments[0]!)).toBe(5);
    expect(meter(after).reassignMs).toBe(5);
    expect(fallbacks(after)[0]?.detail).toContain("action-agent-2 in 5.0 ms");
  });

  it("is no longer cued twenty seconds later", () => {
    const journal = lost().claimed("inc1", "v1-t1", "action-agent-2").wait(21_000).say("control.rotate", { key_version: 2 });
    expect(fallbacks(seen(journal))).toEqual([]);
  });
});

describe("the halt", () => {
  it("holds until it is resumed and notes what still began", () => {
    const journal = started().ordered("inc1", "v1-t1").say("control.halt", { reason: "stop" });
    expect(seen(journal).halt?.lastStartUs).toBeNull();
    journal.claimed("inc1", "v1-t1", "a");
    const halt = seen(journal).halt!;
    expect(halt.lastStartUs! - halt.sinceUs).toBe(1_000);
    journal.say("control.resume", { reason: "go" });
    expect(seen(journal).halt).toBeNull();
    expect(seen(journal).lastHalt?.reason).toBe("stop");
  });
});

describe("an incident", () => {
  it("is open until it is closed", () => {
    const journal = started();
    expect(openIncidents(seen(journal)).map((item) => item.id)).toEqual(["inc1"]);
    journal.say("incident.closed", { incident: "inc1", verdict: "verified", reason: "good", plan_version: 1, actions: 1, merged_into: null });
    expect(openIncidents(seen(journal))).toEqual([]);
  });

  it("cues the rulebook when the model cannot be reached", () => {
    const head = { incident: "inc1", version: 1, attempt: 3 };
    const journal = new Journal().reported("inc1").say("plan.requested", { ...head, text: "", rulebook_only: true });
    expect(fallbacks(seen(journal))[0]?.what).toBe("The rulebook plans");
  });
});

describe("every type of message", () => {
  const types = Object.keys(EXAMPLES) as MessageType[];
  const begun = () =>
    started()
      .say("incident.asked", { ...EXAMPLES["incident.asked"], n: 2 })
      .say("approval.requested", EXAMPLES["approval.requested"])
      .say("control.halt", { reason: "look" });

  it.each(types)("%s changes what the page knows, or is ignored on purpose", (type) => {
    const before = type === "control.halt" ? seen(started()) : seen(begun());
    const journal = type === "control.halt" ? started() : begun();
    const after = seen(journal.say(type, EXAMPLES[type] as never));
    const known = { ...after, head: 0, timeUs: 0, entries: [] };
    const was = { ...before, head: 0, timeUs: 0, entries: [] };
    if (IGNORED.has(type)) expect(known).toEqual(was);
    else expect(known).not.toEqual(was);
  });

  it.each(types)("%s has a look and a sentence of its own as a row", (type) => {
    const entry = new Journal().say(type, EXAMPLES[type] as never).entries[0]!;
    expect(sentenceOf(entry).trim()).not.toBe("");
    expect(lookOfEntry(entry).icon === "dash").toBe(IGNORED.has(type) || isBackground(entry) || type === "audit.checkpoint");
  });
});
