/** Journals for tests: entries as the API gives them, one after another. */

import type { Entry, Message, MessageType, Payloads, Plan, PlanTask, Tag } from "../journal/messages";

export const T0 = 1_700_000_000_000_000;

export class Journal {
  readonly entries: Entry[] = [];
  private us = T0;

  /** Let broker time pass, milliseconds. */
  wait(ms: number): this {
    this.us += ms * 1_000;
    return this;
  }

  say<T extends MessageType>(type: T, payload: Payloads[T], tag: Tag = "DETERMINISTIC", subject = `triage.${type}`): this {
    this.us += 1_000;
    this.entries.push({
      seq: this.entries.length + 1,
      time_us: this.us,
      subject,
      sender: "scheduler/scheduler-1",
      tag,
      key_version: 1,
      cause: 0,
      type,
      refusal: null,
      payload,
    } as Message);
    return this;
  }

  refuse(refusal: string): this {
    this.us += 1_000;
    this.entries.push({ seq: this.entries.length + 1, time_us: this.us, subject: "triage.control.halt", type: null, refusal, payload: null });
    return this;
  }

  reported(incident: string): this {
    return this.say("incident.reported", { incident, text: "checkout is dead", source: "operator" });
  }

  /** Request, proposal and acceptance of a plan. */
  planned(incident: string, version: number, tasks: readonly PlanTask[]): this {
    const plan = planOf(version, tasks);
    const head = { incident, version, attempt: 1 };
    return this.say("plan.requested", { ...head, text: "checkout is dead" })
      .wait(30)
      .say("plan.proposed", { ...head, plan, origin: "rulebook", decision_tag: "DETERMINISTIC", repairs: [] })
      .say("plan.accepted", { ...head, plan_id: plan.plan_id, order: [tasks.map((task) => task.task_id)] });
  }

  ordered(incident: string, taskId: string, attempt = 1): this {
    return this.say("task", {
      incident,
      task_id: taskId,
      attempt,
      kind: "action",
      type: "restart",
      target: "orders",
      args: {},
      plan_version: 1,
      risk: "risky",
      timeout_s: 30,
      timer_id: "x",
    });
  }

  claimed(incident: string, taskId: string, instance: string, attempt = 1): this {
    return this.say("claim", { incident, task_id: taskId, attempt, kind: "action", instance, task_seq: 1, delivery: "d" });
  }

  ended(incident: string, taskId: string, instance: string, status: "OK" | "FAIL", attempt = 1): this {
    return this.say("result", {
      incident,
      task_id: taskId,
      attempt,
      kind: "action",
      instance,
      status,
      out: "restarted",
      meta: {},
      evidence: [],
      error_code: null,
      changed: status === "OK",
      elapsed_ms: 5,
    });
  }
}

export function task(id: string, type: string, target: string, more: Partial<PlanTask> = {}): PlanTask {
  return { task_id: id, type, target, args: {}, dependencies: [], assigned_to: "ActionAgent", estimated_cost_ms: 1, when: null, ...more };
}

export function planOf(version: number, tasks: readonly PlanTask[]): Plan {
  return {
    plan_id: `00000000-0000-0000-0000-00000000000${version}`,
    root_goal: "orders answer again",
    created_at: "2026-01-01T00:00:00Z",
    plan_version: version,
    hypothesis: { target: "orders", fault_class: "process_down", confidence: 0.9 },
    tasks,
  };
}

const attempt = { incident: "inc1", version: 1, attempt: 1 };
const tried = { incident: "inc1", task_id: "v1-t1", attempt: 1 };
const asks = { incident: "inc1", task_id: "v1-t1", binding: "b1" };
const metrics = { cpu_load: 0.1, mem_usage: 1, latency_ms: 2, success_ratio: 0.5, request_rate: 3 };

/** One message of every type, to be said in an incident `inc1` that has a plan with the task `t1`. */
export const EXAMPLES: { readonly [T in MessageType]: Payloads[T] } = {
  "incident.reported": { incident: "inc9", text: "checkout is dead", source: "operator" },
  "incident.asked": { incident: "inc1", n: 1, question: "Since when?", version: 1, attempt: 1, plan_id: "p", wait_s: 60 },
  "incident.answered": { incident: "inc1", n: 2, text: "since ten" },
  "incident.closed": { incident: "inc1", verdict: "verified", reason: "good", plan_version: 1, actions: 1, merged_into: null },
  telemetry: { device_id: "orders", timestamp: "", status: "WARN", metrics, error_code: "gaierror", log_sample: null, note: null },
  "plan.requested": { ...attempt, text: "checkout is dead", version: 2 },
  "plan.prompted": { ...attempt, messages: [{ role: "user", content: "x" }], prompt_hash: "h" },
  "plan.answered": {
    ...attempt,
    outcome: "ok",
    response: "{}",
    prompt_hash: "h",
    response_hash: "h",
    model: "m",
    settings: {},
    prompt_tokens: 1,
    completion_tokens: 1,
    elapsed_ms: 1,
    error: "",
  },
  "plan.proposed": { ...attempt, version: 2, plan: planOf(2, [task("t1", "restart", "orders")]), origin: "rulebook", decision_tag: "DETERMINISTIC", repairs: [] },
  "plan.accepted": { ...attempt, plan_id: "00000000-0000-0000-0000-000000000001", order: [["t1"], ["t2"]] },
  "plan.rejected": { ...attempt, plan_id: "00000000-0000-0000-0000-000000000001", reasons: [{ code: "cycle", detail: "t1 waits for itself" }] },
  "plan.executed": { incident: "inc1", version: 1, completed: [], skipped: ["t1"], failed: [], actions: 0 },
  task: { ...tried, kind: "action", type: "restart", target: "orders", args: {}, plan_version: 1, risk: "risky", timeout_s: 30, timer_id: "x" },
  claim: { ...tried, kind: "action", instance: "action-agent-1", task_seq: 1, delivery: "d" },
  result: {
    ...tried,
    kind: "action",
    instance: "action-agent-1",
    status: "OK",
    out: "restarted",
    meta: {},
    evidence: [],
    error_code: null,
    changed: true,
    elapsed_ms: 5,
  },
  dead: { ...tried, reason: "no agent finished it" },
  deviation: { incident: "inc1", n: 1, kind: "service_down", device: "orders", t_trigger_us: T0, detail: "orders does not answer" },
  verified: { incident: "inc1", n: 1, plan_version: 1, ok: true, reasons: [], window_s: 5, samples: 5, success_ratio: 1 },
  "agent.up": { instance: "action-agent-1", role: "action", connection: 1 },
  "agent.lost": { instance: "action-agent-1", role: "action", connection: 1, reason: "gone", handed_on: [] },
  "control.halt": { reason: "look" },
  "control.resume": { reason: "go" },
  "control.rotate": { key_version: 2 },
  "control.takeover": { machine: "scheduler", version: 2 },
  "approval.requested": { ...asks, action: "restart", target: "orders", why: "risky", wait_s: 300 },
  "approval.granted": asks,
  "approval.denied": { ...asks, reason: "not now" },
  "approval.expired": { ...asks, action: "restart", target: "orders", wait_s: 300 },
  timer: { machine: "scheduler", timer_id: "x", due_us: T0, purpose: "backoff", incident: "inc1", task_id: "v1-t1", number: 2 },
  "audit.checkpoint": { n: 1, rows: 10, journal_seq: 10, head: "h", signature: "s" },
};
