/** What a journal entry says, in one line a person reads. Pure. */

import type { Entry, Message } from "../journal/messages";
import { incidentOf, taskOf } from "../journal/messages";
import { argsOf, span } from "./format";
import type { Look } from "./states";

export function lookOfEntry(entry: Entry): Look {
  if (entry.refusal !== null) return { word: "refused", icon: "stop", tone: "bad" };
  switch (entry.type) {
    case "incident.reported":
      return { word: "incident", icon: "report", tone: "warn" };
    case "incident.closed":
      return entry.payload.verdict === "unresolved"
        ? { word: "closed", icon: "cross", tone: "bad" }
        : { word: "closed", icon: "check", tone: "good" };
    case "incident.asked":
    case "incident.answered":
      return { word: "question", icon: "question", tone: "warn" };
    case "plan.rejected":
      return { word: "plan", icon: "cross", tone: "bad" };
    case "plan.requested":
    case "plan.prompted":
    case "plan.answered":
    case "plan.proposed":
    case "plan.accepted":
    case "plan.executed":
      return { word: "plan", icon: "plan", tone: entry.tag === "LLM_DECISION" ? "ai" : "busy" };
    case "task":
      return { word: "task", icon: "stream", tone: "busy" };
    case "claim":
      return { word: "claim", icon: "agent", tone: "busy" };
    case "result":
      return entry.payload.status === "OK"
        ? { word: "result", icon: "check", tone: "good" }
        : { word: "result", icon: "cross", tone: "bad" };
    case "dead":
      return { word: "given up", icon: "stop", tone: "bad" };
    case "deviation":
      return { word: "deviation", icon: "warn", tone: "warn" };
    case "verified":
      return { word: "check", icon: entry.payload.ok ? "check" : "cross", tone: entry.payload.ok ? "good" : "bad" };
    case "agent.up":
      return { word: "agent", icon: "plug", tone: "good" };
    case "agent.lost":
      return { word: "agent", icon: "cross", tone: "bad" };
    case "approval.requested":
    case "approval.granted":
    case "approval.denied":
    case "approval.expired":
      return { word: "approval", icon: "hand", tone: "warn" };
    case "control.halt":
      return { word: "halt", icon: "stop", tone: "bad" };
    case "control.resume":
      return { word: "resume", icon: "play", tone: "good" };
    default:
      return { word: entry.type.split(".").at(-1) ?? "", icon: "dash", tone: "calm" };
  }
}

export function sentenceOf(entry: Entry): string {
  return entry.refusal !== null ? `The gate refused it: ${entry.refusal}` : said(entry);
}

function said(message: Message): string {
  switch (message.type) {
    case "incident.reported":
      return message.payload.text.replaceAll("\n", " ");
    case "incident.asked":
      return `asked: ${message.payload.question}`;
    case "incident.answered":
      return `answered: ${message.payload.text}`;
    case "incident.closed":
      return `${message.payload.verdict}: ${message.payload.reason}`;
    case "telemetry":
      return `${message.payload.device_id} ${message.payload.status} ${message.payload.error_code ?? ""}`;
    case "plan.requested":
      return `plan v${message.payload.version} wanted, attempt ${message.payload.attempt}${message.payload.rulebook_only ? ", of the rulebook only" : ""}`;
    case "plan.prompted":
      return `a model is asked (${message.payload.messages.length} messages)`;
    case "plan.answered":
      return `${message.payload.model || "the model"}: ${message.payload.outcome} after ${span(message.payload.elapsed_ms)}`;
    case "plan.proposed":
      return `${message.payload.origin} proposes: ${message.payload.plan.hypothesis.fault_class} at ${message.payload.plan.hypothesis.target}, ${message.payload.plan.tasks.length} tasks`;
    case "plan.accepted":
      return `plan v${message.payload.version} accepted`;
    case "plan.rejected":
      return `plan v${message.payload.version} refused: ${message.payload.reasons.map((reason) => reason.detail).join("; ")}`;
    case "plan.executed":
      return `plan v${message.payload.version} executed: ${message.payload.completed.length} done, ${message.payload.skipped.length} skipped, ${message.payload.failed.length} failed`;
    case "task":
      return `${message.payload.type} ${message.payload.target} ${argsOf(message.payload.args)}`.trim();
    case "claim":
      return `${message.payload.instance} takes ${message.payload.task_id}`;
    case "result":
      return `${message.payload.instance}: ${message.payload.out}`;
    case "dead":
      return message.payload.reason;
    case "deviation":
      return `${message.payload.device}: ${message.payload.detail}`;
    case "verified":
      return message.payload.ok
        ? `symptoms gone, objective met for ${message.payload.window_s} s`
        : message.payload.reasons.join("; ");
    case "agent.up":
      return `${message.payload.instance} connected`;
    case "agent.lost":
      return `${message.payload.instance} was lost (${message.payload.reason}); ${message.payload.handed_on.length} of its tasks handed on`;
    case "approval.requested":
      return `${message.payload.action} ${message.payload.target} needs a person: ${message.payload.why}`;
    case "approval.granted":
      return `${message.payload.task_id} was approved`;
    case "approval.denied":
      return `${message.payload.task_id} was denied: ${message.payload.reason}`;
    case "approval.expired":
      return `${message.payload.task_id}: nobody decided within ${span(message.payload.wait_s * 1_000)}; ${message.payload.action} ${message.payload.target} is not carried out`;
    case "control.halt":
    case "control.resume":
      return message.payload.reason;
    case "control.rotate":
      return `key version ${message.payload.key_version}`;
    case "control.takeover":
      return `${message.payload.machine} version ${message.payload.version} decides from here`;
    case "timer":
      return `${message.payload.machine}: ${message.payload.purpose}`;
    case "audit.checkpoint":
      return `checkpoint ${message.payload.n}: ${message.payload.rows} rows signed`;
  }
}

/** All that a search may find an entry by, in lower case. */
export function haystack(entry: Entry): string {
  return `${entry.seq} ${entry.type ?? ""} ${entry.subject} ${entry.sender ?? ""} ${incidentOf(entry) ?? ""} ${taskOf(entry) ?? ""} ${sentenceOf(entry)}`.toLowerCase();
}
