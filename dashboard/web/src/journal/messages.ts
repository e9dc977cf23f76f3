/** What stands in the journal, as the API hands it on: the public contracts of `broker/contracts`, one type each. */

import type { Contracts } from "./contracts";

export type Tag = "LLM_DECISION" | "DETERMINISTIC";
export type Scalar = string | number | boolean;
export type Args = Readonly<Record<string, Scalar>>;
export type AgentKind = "log" | "metric" | "action" | "runbook";
export type Risk = "read" | "safe" | "risky";
export type DeviceStatus = "OK" | "WARN" | "ERROR";

export interface Condition {
  task_id: string;
  field: string;
  equals: Scalar;
}

export interface Hypothesis {
  target: string;
  fault_class: string;
  confidence: number;
  evidence?: readonly string[];
}

export interface PlanTask {
  task_id: string;
  type: string;
  target: string;
  args: Args;
  dependencies: readonly string[];
  assigned_to: string;
  estimated_cost_ms: number;
  when: Condition | null;
}

export interface Plan {
  plan_id: string;
  root_goal: string;
  created_at: string;
  plan_version: number;
  hypothesis: Hypothesis;
  tasks: readonly PlanTask[];
  clarifying_task?: { task_id: string; question: string } | null;
}

export interface Reason {
  code: string;
  detail: string;
}

interface Attempt {
  incident: string;
  version: number;
  attempt: number;
}

interface TaskAttempt {
  incident: string;
  task_id: string;
  attempt: number;
}

/** A hypothesis that was acted on before and did not hold. */
export interface Tried {
  hypothesis: Hypothesis;
  outcome: string;
  actions?: readonly string[];
  showed?: readonly string[];
}

export interface ChatMessage {
  role: "system" | "user" | "assistant";
  content: string;
}

/** Payloads by the message's type. */
export interface Payloads {
  "incident.reported": { incident: string; text: string; source: "operator" | "harness" | "monitor" };
  "incident.asked": {
    incident: string;
    n: number;
    question: string;
    version: number;
    attempt: number;
    plan_id: string;
    wait_s: number;
  };
  "incident.answered": { incident: string; n: number; text: string };
  "incident.closed": {
    incident: string;
    verdict: "verified" | "no_fault" | "unresolved" | "merged";
    reason: string;
    plan_version: number;
    actions: number;
    merged_into: string | null;
    unapproved?: readonly string[];
  };
  telemetry: {
    device_id: string;
    timestamp: string;
    status: DeviceStatus;
    metrics: {
      cpu_load: number | null;
      mem_usage: number | null;
      latency_ms: number | null;
      success_ratio: number | null;
      request_rate: number | null;
    };
    error_code: string | null;
    log_sample: string | null;
    note: string | null;
  };
  "plan.requested": Attempt & {
    text: string;
    tried?: readonly Tried[];
    failures?: readonly string[];
    rejected?: readonly Reason[];
    rulebook_only?: boolean;
    dialogue?: readonly { question: string; answer?: string | null }[];
  };
  "plan.prompted": Attempt & {
    messages: readonly ChatMessage[];
    prompt_hash: string;
    form?: string;
    template?: string;
    template_hash?: string;
    targets?: readonly string[];
    fault_classes?: readonly string[];
  };
  "plan.answered": Attempt & {
    outcome: "ok" | "unreachable" | "timeout" | "error";
    response: string;
    prompt_hash: string;
    response_hash: string;
    model: string;
    settings: Args;
    prompt_tokens: number;
    completion_tokens: number;
    elapsed_ms: number;
    error: string;
    template?: string;
    template_hash?: string;
    structured?: boolean | null;
    schema_hash?: string;
    fingerprint?: string;
    finish_reason?: string;
    timings?: Readonly<Record<string, number>>;
  };
  "plan.proposed": Attempt & {
    plan: Plan;
    origin: "rulebook" | "llm";
    decision_tag: Tag;
    repairs: readonly string[];
    filled?: readonly string[];
    mended?: boolean;
    agreed?: boolean;
    unusable?: readonly Reason[];
  };
  "plan.accepted": Attempt & { plan_id: string; order: readonly (readonly string[])[] };
  "plan.rejected": Attempt & { plan_id: string; reasons: readonly Reason[] };
  "plan.executed": {
    incident: string;
    version: number;
    completed: readonly string[];
    skipped: readonly string[];
    failed: readonly string[];
    actions: number;
  };
  task: TaskAttempt & {
    kind: AgentKind;
    type: string;
    target: string;
    args: Args;
    plan_version: number;
    risk: Risk;
    timeout_s: number;
    timer_id: string;
  };
  claim: TaskAttempt & { kind: AgentKind; instance: string; task_seq: number; delivery: string };
  result: TaskAttempt & {
    kind: AgentKind;
    instance: string;
    status: "OK" | "FAIL";
    out: string;
    meta: Args;
    evidence: readonly string[];
    error_code: string | null;
    changed: boolean;
    elapsed_ms: number;
  };
  dead: TaskAttempt & { reason: string };
  deviation: { incident: string; n: number; kind: string; device: string; t_trigger_us: number; detail: string };
  verified: {
    incident: string;
    n: number;
    plan_version: number;
    ok: boolean;
    reasons: readonly string[];
    window_s: number;
    samples: number;
    success_ratio: number | null;
  };
  "agent.up": { instance: string; role: string; connection: number };
  "agent.lost": { instance: string; role: string; connection: number; reason: string; handed_on: readonly string[] };
  "control.halt": { reason: string };
  "control.resume": { reason: string };
  "control.rotate": { key_version: number };
  "control.takeover": { machine: string; version: number };
  "approval.requested": {
    incident: string;
    task_id: string;
    binding: string;
    action: string;
    target: string;
    why: string;
    wait_s?: number;
  };
  "approval.granted": { incident: string; task_id: string; binding: string };
  "approval.denied": { incident: string; task_id: string; binding: string; reason: string };
  "approval.expired": {
    incident: string;
    task_id: string;
    binding: string;
    action: string;
    target: string;
    wait_s: number;
  };
  timer: {
    machine: string;
    timer_id: string;
    due_us: number;
    purpose: string;
    incident: string | null;
    task_id: string | null;
    number: number;
  };
  "audit.checkpoint": { n: number; rows: number; journal_seq: number; head: string; signature: string };
}

export type MessageType = keyof Payloads;

/** What the contracts have and this page does not know, `type.field` each, and types that no contract has. */
type Unknown = {
  [T in keyof Contracts]: T extends MessageType
    ? `${T}.${Exclude<Contracts[T], keyof Payloads[T]> | Exclude<keyof Payloads[T] & string, Contracts[T]>}`
    : `${T}.*`;
}[keyof Contracts];

type Nothing<T extends never> = T;

/** Does not compile while the page and `broker/contracts` differ; the error names what is missing where. */
export type SameAsContracts = Nothing<Unknown | Exclude<MessageType, keyof Contracts>>;

interface Head {
  /** Place in the journal; also the id of the event in the stream. */
  seq: number;
  /** Broker time, microseconds since the epoch. */
  time_us: number;
  subject: string;
  sender: string;
  tag: Tag;
  key_version: number;
  /** Journal sequence that led to it; 0 if none did. */
  cause: number;
}

/** A message that the gate let in. */
export type Message = { [T in MessageType]: Head & { type: T; refusal: null; payload: Payloads[T] } }[MessageType];

/** A message that the gate refused; nothing in it may be believed, so it carries no payload. */
export type Refused = Partial<Head> & Pick<Head, "seq" | "time_us" | "subject"> & {
  type: string | null;
  refusal: string;
  payload: null;
};

export type Entry = Message | Refused;

export type Of<T extends MessageType> = Extract<Message, { type: T }>;

/** The incident an entry belongs to, or null. */
export function incidentOf(entry: Entry): string | null {
  const payload = entry.payload as { incident?: unknown } | null;
  return typeof payload?.incident === "string" ? payload.incident : null;
}

/** The task an entry belongs to, such as `v1-t2`, or null. */
export function taskOf(entry: Entry): string | null {
  const payload = entry.payload as { task_id?: unknown } | null;
  return typeof payload?.task_id === "string" ? payload.task_id : null;
}

/** Messages that come by themselves and say nothing about decisions: shown as states, not as rows. */
export function isBackground(entry: Entry): boolean {
  return entry.refusal === null && (entry.type === "telemetry" || entry.type === "timer");
}
