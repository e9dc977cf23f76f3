// Made from openapi.json by scripts/client.mjs; not edited by hand.

export interface AgentRow {
  readonly agent: string;
  readonly connected: boolean | null;
  readonly heartbeat_ms: number | null;
  readonly kind: string;
  readonly state: string;
  readonly up_s: number | null;
  readonly works_on: readonly string[];
}

export interface AgentView {
  readonly connected: boolean;
  readonly instance: string;
  readonly role: string;
  readonly since_us: number;
  readonly works_on: readonly string[];
}

export interface Agents {
  readonly agents: readonly AgentRow[];
}

export interface Alert {
  readonly annotations?: Readonly<Record<string, string>>;
  readonly fingerprint?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly startsAt?: string;
  readonly status?: string;
}

export interface AlertGroup {
  readonly alerts?: readonly Alert[];
  readonly groupKey?: string;
  readonly receiver?: string;
  readonly status?: string;
  readonly version?: string;
}

export interface ApprovalView {
  readonly action: string;
  readonly asked_us: number;
  readonly binding: string;
  readonly seq: number;
  readonly state: "open" | "granted" | "denied" | "expired";
  readonly target: string;
  readonly task_id: string;
  readonly version: number;
  readonly why: string;
}

export interface Bounds {
  readonly default: number;
  readonly high: number;
  readonly low: number;
}

export interface BrokerLook {
  readonly connections: readonly ConnectionRow[];
  readonly consumers: readonly ConsumerRow[];
  readonly dead_letters: readonly DeadLetterRow[];
  readonly error: string | null;
  readonly monitor_url: string | null;
  readonly streams: readonly StreamRow[];
}

export interface CatalogueEntry {
  readonly agent: string;
  readonly risk: string;
  readonly summary: string;
  readonly undo: string | null;
}

export interface ConnectionRow {
  readonly idle_s: number | null;
  readonly in_msgs: number;
  readonly name: string;
  readonly out_msgs: number;
  readonly rtt_ms: number | null;
  readonly slow: boolean;
  readonly user: string;
}

export interface ConsumerRow {
  readonly ack_pending: number;
  readonly name: string;
  readonly pending: number;
  readonly redelivered: number;
  readonly stream: string;
  readonly waiting: number;
}

export interface DeadLetterRow {
  readonly dead_letters: number;
  readonly incident: string;
}

export interface Decision {
  readonly binding?: string | null;
  readonly decision: "grant" | "deny";
  readonly reason?: string;
}

export interface Device {
  readonly cache_prefix: string | null;
  readonly depends_on: readonly string[];
  readonly host: string;
  readonly kind: "service" | "database" | "cache" | "queue" | "traffic";
  readonly managed: boolean;
  readonly name: string;
  readonly port: number;
  readonly probe: "http" | "postgres" | "valkey" | "nats" | "traffic";
}

export interface DeviceView {
  readonly error_code: string | null;
  readonly name: string;
  readonly since_us: number;
  readonly status: string;
}

export interface Done {
  readonly incident: string | null;
  readonly sentence: string;
  readonly seq: number | null;
}

export interface Entry {
  readonly cause: number;
  readonly hmac: string;
  readonly key_version: number;
  readonly message: string;
  readonly payload: Readonly<Record<string, unknown>> | null;
  readonly refusal: string | null;
  readonly sender: string | null;
  readonly seq: number;
  readonly subject: string;
  readonly tag: string | null;
  readonly time_us: number;
  readonly type: string | null;
  readonly verified: boolean;
}

export interface Error {
  readonly error: string;
  readonly message: string;
  readonly next: string;
}

export interface FaultKind {
  readonly args: Readonly<Record<string, Bounds>>;
  readonly name: string;
  readonly summary: string;
  readonly targets: readonly string[];
}

export interface Faults {
  readonly can_inject: boolean;
  readonly catalogue: readonly FaultKind[];
  readonly open: readonly OpenFault[];
  readonly why_not: string | null;
}

export interface Figures {
  readonly injected: number;
  readonly mrl_s: number | null;
  readonly mttr_s: number | null;
  readonly recovered: number;
  readonly since_us: number | null;
  readonly sr: number | null;
}

export interface HaltView {
  readonly reason: string;
  readonly seq: number;
  readonly since_us: number;
  readonly stop_ms: number;
}

export interface Health {
  readonly connected: boolean;
  readonly head: number;
  readonly ok: boolean;
  readonly ring_bytes: number;
  readonly subscribers: number;
}

export interface IncidentRow {
  readonly actions: number | null;
  readonly closed_us: number | null;
  readonly incident: string;
  readonly merged_into: string | null;
  readonly reason: string | null;
  readonly reported_us: number;
  readonly seq: number;
  readonly source: string;
  readonly text: string;
  readonly verdict: string | null;
}

export interface IncidentView {
  readonly approvals: readonly ApprovalView[];
  readonly checks: number;
  readonly closed_us: number | null;
  readonly dead_letters: number;
  readonly incident: string;
  readonly merged_into: string | null;
  readonly phase: "open" | "closed";
  readonly plans: readonly PlanView[];
  readonly question: QuestionView | null;
  readonly reason: string | null;
  readonly reported_us: number;
  readonly seq: number;
  readonly source: string;
  readonly text: string;
  readonly verdict: string | null;
}

export interface Incidents {
  readonly incidents: readonly IncidentRow[];
  readonly next: number | null;
}

export interface Inject {
  readonly args?: Readonly<Record<string, number>>;
  readonly fault: string;
  readonly target?: string | null;
}

export interface Journal {
  readonly entries: readonly Entry[];
  readonly next: number | null;
}

export interface Kill {
  readonly signal?: "KILL" | "STOP";
}

export interface LlmRecords {
  readonly records: readonly (Readonly<Record<string, unknown>>)[];
}

export interface LlmRunRow {
  readonly created_us: number;
  readonly elapsed_ms: number;
  readonly error: string;
  readonly incident: string;
  readonly model: string;
  readonly outcome: string;
  readonly prompt_hash: string;
  readonly response_hash: string;
  readonly run_id: string;
  readonly seq: number;
  readonly tokens: number;
}

export interface LlmRuns {
  readonly next: number | null;
  readonly runs: readonly LlmRunRow[];
}

export interface Meters {
  readonly plan_ms: number | null;
  readonly reassign_ms: number | null;
  readonly repair_s: number | null;
  readonly stop_ms: number | null;
}

export type Nothing = Readonly<Record<string, never>>;

export interface Objective {
  readonly latency_ms: number;
  readonly success_ratio: number;
  readonly window_s: number;
}

export interface OpenFault {
  readonly args: Readonly<Record<string, string | number | boolean>>;
  readonly fault: string;
  readonly id: string;
  readonly since_us: number;
  readonly state: string;
  readonly target: string;
}

export interface PlanView {
  readonly attempt: number;
  readonly confidence: number | null;
  readonly decided_us: number | null;
  readonly fault_class: string;
  readonly origin: string;
  readonly plan_id: string;
  readonly requested_us: number;
  readonly state: "requested" | "prompted" | "answered" | "proposed" | "accepted" | "rejected" | "executed";
  readonly target: string;
  readonly tasks: readonly TaskView[];
  readonly version: number;
}

export interface Proof {
  readonly entry: Entry;
  readonly envelope: string;
  readonly envelope_hash: string | null;
  readonly hmac_ok: boolean | null;
  readonly number: number | null;
  readonly prev_hash: string | null;
  readonly row_hash: string | null;
  readonly seq: number;
  readonly subject: string;
  readonly time_us: number;
  readonly verdict: string;
}

export interface QuestionView {
  readonly n: number;
  readonly question: string;
  readonly until_us: number;
}

export interface Reason {
  readonly reason?: string;
}

export interface RecordingEvents {
  readonly entries: readonly Entry[];
  readonly header: RecordingHeader;
}

export interface RecordingHeader {
  readonly incident: string;
  readonly noise: number;
  readonly scenario: string;
  readonly seed: number;
}

export interface RecordingRow {
  readonly incident: string;
  readonly name: string;
  readonly scenario: string;
  readonly seed: number;
}

export interface Recordings {
  readonly recordings: readonly RecordingRow[];
}

export interface Reply {
  readonly text: string;
}

export interface Report {
  readonly text: string;
}

export interface RunRow {
  readonly ended_us: number;
  readonly id: string;
  readonly incident: string | null;
  readonly noise: number;
  readonly scenario: string;
  readonly score: Readonly<Record<string, unknown>>;
  readonly seed: number;
  readonly started_us: number;
  readonly verdict: string;
}

export interface Runs {
  readonly runs: readonly RunRow[];
}

export interface ScenarioRow {
  readonly name: string;
  readonly summary: string;
}

export interface Scenarios {
  readonly scenarios: readonly ScenarioRow[];
}

export interface Similar {
  readonly actions: readonly string[];
  readonly fault_class: string;
  readonly incident: string;
  readonly likeness: number | null;
  readonly target: string;
  readonly text: string;
}

export interface SimilarIncidents {
  readonly similar: readonly Similar[];
}

export interface Snapshot {
  readonly catalogue: Readonly<Record<string, CatalogueEntry>>;
  readonly connected: boolean;
  readonly entries: readonly Entry[];
  readonly faults_open: readonly OpenFault[] | null;
  readonly head: number;
  readonly inventory: World;
  readonly journal: string;
  readonly now_us: number;
  readonly telemetry: readonly Entry[];
  readonly token_needed: boolean;
  readonly view: View;
}

export interface Story {
  readonly llm_runs: readonly (Readonly<Record<string, unknown>>)[];
  readonly plans: readonly (Readonly<Record<string, unknown>>)[];
  readonly refusals: number;
  readonly summary: Readonly<Record<string, unknown>>;
  readonly tasks: readonly (Readonly<Record<string, unknown>>)[];
  readonly timeline: readonly (Readonly<Record<string, unknown>>)[];
}

export interface StreamRow {
  readonly bytes: number;
  readonly first_seq: number;
  readonly last_seq: number;
  readonly messages: number;
  readonly name: string;
  readonly subjects: number | null;
}

export interface TaskView {
  readonly agent: string;
  readonly attempt: number;
  readonly dependencies: readonly string[];
  readonly dispatched_us: number | null;
  readonly ended_us: number | null;
  readonly state: "waiting" | "approval" | "dispatched" | "running" | "done" | "failed";
  readonly target: string;
  readonly task_id: string;
  readonly type: string;
}

export interface Timeline {
  readonly next: number | null;
  readonly rows: readonly TimelineRow[];
}

export interface TimelineRow {
  readonly cause: number;
  readonly hmac: string;
  readonly message: string;
  readonly refusal: string | null;
  readonly row_hash: string | null;
  readonly sender: string | null;
  readonly seq: number;
  readonly subject: string;
  readonly tag: string | null;
  readonly time_us: number;
  readonly type: string | null;
}

export interface View {
  readonly agents: Readonly<Record<string, AgentView>>;
  readonly devices: Readonly<Record<string, DeviceView>>;
  readonly halt: HaltView | null;
  readonly handed_on: Readonly<Record<string, number>>;
  readonly head: number;
  readonly incidents: Readonly<Record<string, IncidentView>>;
  readonly meters: Meters;
  readonly time_us: number;
}

export interface World {
  readonly devices: readonly Device[];
  readonly objective: Objective;
}

export interface Operations {
  "GET /api/agents": { answer: Agents; body: undefined };
  "POST /api/agents/{instance}/kill": { answer: Done; body: Kill };
  "POST /api/alerts": { answer: Done; body: AlertGroup };
  "POST /api/approvals/{incident}/{task_id}": { answer: Done; body: Decision };
  "GET /api/broker": { answer: BrokerLook; body: undefined };
  "GET /api/faults": { answer: Faults; body: undefined };
  "POST /api/faults": { answer: Done; body: Inject };
  "POST /api/faults/{fault_id}/heal": { answer: Done; body: Nothing };
  "GET /api/figures": { answer: Figures; body: undefined };
  "POST /api/halt": { answer: Done; body: Reason };
  "GET /api/health": { answer: Health; body: undefined };
  "GET /api/incidents": { answer: Incidents; body: undefined };
  "POST /api/incidents": { answer: Done; body: Report };
  "GET /api/incidents/{incident}": { answer: Story; body: undefined };
  "POST /api/incidents/{incident}/answer": { answer: Done; body: Reply };
  "GET /api/incidents/{incident}/similar": { answer: SimilarIncidents; body: undefined };
  "GET /api/journal": { answer: Journal; body: undefined };
  "GET /api/llm-runs": { answer: LlmRuns; body: undefined };
  "GET /api/llm-runs/{run_id}": { answer: LlmRecords; body: undefined };
  "GET /api/messages/{seq}": { answer: Proof; body: undefined };
  "GET /api/recordings": { answer: Recordings; body: undefined };
  "GET /api/recordings/{name}": { answer: RecordingEvents; body: undefined };
  "POST /api/resume": { answer: Done; body: Reason };
  "GET /api/runs": { answer: Runs; body: undefined };
  "GET /api/scenarios": { answer: Scenarios; body: undefined };
  "GET /api/snapshot": { answer: Snapshot; body: undefined };
  "GET /api/timeline": { answer: Timeline; body: undefined };
}
