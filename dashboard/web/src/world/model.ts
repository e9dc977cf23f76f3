/** What the page knows: values made from the journal alone, entry by entry, by `fold` (reducer.ts). All of it is frozen. */

import type {
  AgentKind,
  Args,
  ChatMessage,
  DeviceStatus,
  Entry,
  Of,
  Payloads,
  Plan,
  Reason,
  Risk,
  Tag,
} from "../journal/messages";

export type TaskState =
  | "waiting"
  | "approval"
  | "dispatched"
  | "running"
  | "retrying"
  | "done"
  | "failed"
  | "skipped"
  | "dead";

export interface TaskView {
  /** As in the plan: `t1`. */
  readonly id: string;
  /** As in the journal: `v1-t1`. */
  readonly journalId: string;
  readonly state: TaskState;
  readonly risk: Risk | null;
  readonly attempt: number;
  readonly agent: string | null;
  readonly orderedUs: number | null;
  readonly claimedUs: number | null;
  readonly endedUs: number | null;
  readonly sentence: string;
  readonly evidence: readonly string[];
  readonly errorCode: string | null;
  readonly changed: boolean;
  readonly args: Args;
}

export interface PlanView {
  readonly version: number;
  readonly attempt: number;
  readonly plan: Plan;
  readonly origin: "rulebook" | "llm";
  readonly tag: Tag;
  readonly repairs: readonly string[];
  readonly filled: readonly string[];
  readonly mended: boolean;
  readonly agreed: boolean;
  readonly decision: "proposed" | "accepted" | "rejected";
  readonly reasons: readonly Reason[];
  readonly order: readonly (readonly string[])[];
  readonly proposedUs: number;
  readonly decidedUs: number | null;
  readonly executedUs: number | null;
  readonly tasks: Readonly<Record<string, TaskView>>;
}

/** One planning attempt: what was asked, what a model said, what became of it. */
export interface PlanningRun {
  /** `<incident>.v<k>.a<n>` */
  readonly id: string;
  readonly incident: string;
  readonly version: number;
  readonly attempt: number;
  readonly requestedUs: number | null;
  readonly promptedUs: number | null;
  readonly answeredUs: number | null;
  readonly proposedUs: number | null;
  readonly rulebookOnly: boolean;
  readonly failures: readonly string[];
  readonly messages: readonly ChatMessage[];
  readonly prompt: Payloads["plan.prompted"] | null;
  readonly answer: Payloads["plan.answered"] | null;
  readonly proposal: Payloads["plan.proposed"] | null;
  readonly decision: "accepted" | "rejected" | null;
  readonly reasons: readonly Reason[];
}

export interface Question {
  readonly n: number;
  readonly question: string;
  readonly askedUs: number;
  readonly waitS: number;
  readonly answer: string | null;
}

export interface IncidentView {
  readonly id: string;
  readonly text: string;
  readonly source: "operator" | "harness" | "monitor";
  readonly reportedUs: number;
  readonly reportedSeq: number;
  readonly deviations: readonly Of<"deviation">[];
  readonly questions: readonly Question[];
  readonly plans: readonly PlanView[];
  readonly runs: readonly PlanningRun[];
  readonly checks: readonly Of<"verified">[];
  readonly closed: Of<"incident.closed"> | null;
  /** Journal sequence of the last entry that changed it. */
  readonly changedSeq: number;
}

export interface ApprovalView {
  readonly incident: string;
  readonly taskId: string;
  readonly binding: string;
  readonly action: string;
  readonly target: string;
  readonly why: string;
  readonly requestedUs: number;
  /** How long a person is waited for, seconds; 0: for ever. */
  readonly waitS: number;
  /** When the wait began that counts: the end of a halt gives the whole time again (docs/adr/0018). */
  readonly clockUs: number;
  /** `over`: its incident was closed, or planned anew. `expired`: nobody decided in time. */
  readonly state: "open" | "granted" | "denied" | "expired" | "over";
  readonly decidedUs: number | null;
  readonly decidedBy: string | null;
  readonly reason: string;
}

export interface DeviceView {
  readonly id: string;
  readonly status: DeviceStatus;
  readonly seenUs: number;
  readonly telemetry: Payloads["telemetry"];
  /** Success ratio or, where there is none, 1 for OK and 0 for ERROR: newest last, at most 60. */
  readonly recent: readonly number[];
}

export interface AgentView {
  readonly instance: string;
  readonly role: string;
  readonly state: "up" | "lost";
  readonly sinceUs: number;
  readonly reason: string;
  /** What it holds: journal task ids with their incident. */
  readonly works: readonly { incident: string; taskId: string; sinceUs: number }[];
  readonly done: number;
  readonly failed: number;
}

/** A lost worker's task, and how long it took until another one had it. */
export interface Reassignment {
  readonly subject: string;
  readonly incident: string;
  readonly taskId: string;
  readonly from: string;
  readonly lostUs: number;
  readonly to: string | null;
  readonly takenUs: number | null;
}

export interface HaltView {
  readonly seq: number;
  readonly sinceUs: number;
  readonly reason: string;
  readonly by: string;
  /** Broker time of the last thing an agent began after the halt; null if none did. */
  readonly lastStartUs: number | null;
}

export interface World {
  readonly head: number;
  readonly timeUs: number;
  /** All but telemetry and timers, in the journal's order. */
  readonly entries: readonly Entry[];
  readonly incidents: Readonly<Record<string, IncidentView>>;
  /** Newest first. */
  readonly incidentOrder: readonly string[];
  readonly devices: Readonly<Record<string, DeviceView>>;
  readonly agents: Readonly<Record<string, AgentView>>;
  readonly approvals: Readonly<Record<string, ApprovalView>>;
  readonly reassignments: readonly Reassignment[];
  readonly refused: number;
  readonly halt: HaltView | null;
  readonly lastHalt: HaltView | null;
  readonly checkpoint: Of<"audit.checkpoint"> | null;
}

export const NOTHING: World = {
  head: 0,
  timeUs: 0,
  entries: [],
  incidents: {},
  incidentOrder: [],
  devices: {},
  agents: {},
  approvals: {},
  reassignments: [],
  refused: 0,
  halt: null,
  lastHalt: null,
  checkpoint: null,
};

export const KIND_OF_AGENT: Readonly<Record<string, AgentKind>> = {
  LogAgent: "log",
  MetricAgent: "metric",
  ActionAgent: "action",
  RAGAgent: "runbook",
};
