/** What the API answers beside journal entries (dashboard/api/CONTRACT.md). */

import type { Entry, Scalar } from "../journal/messages";

export interface Device {
  readonly name: string;
  readonly kind: "service" | "database" | "cache" | "queue" | "traffic";
  readonly managed: boolean;
  readonly depends_on: readonly string[];
}

export interface Objective {
  readonly success_ratio: number;
  readonly latency_ms: number;
  readonly window_s: number;
}

export interface CatalogueEntry {
  readonly agent: string;
  readonly risk: "read" | "safe" | "risky";
  readonly summary: string;
  readonly undo: string | null;
}

export interface Snapshot {
  readonly journal: string;
  readonly head: number;
  readonly now_us: number;
  readonly entries: readonly Entry[];
  readonly telemetry: readonly Entry[];
  readonly inventory: { readonly devices: readonly Device[]; readonly objective: Objective };
  readonly catalogue: Readonly<Record<string, CatalogueEntry>>;
  readonly token_needed: boolean;
}

export interface Figures {
  readonly injected: number;
  readonly recovered: number;
  readonly sr: number | null;
  readonly mrl_s: number | null;
  readonly mttr_s: number | null;
  readonly since_us: number | null;
}

export interface AgentRow {
  readonly agent: string;
  readonly kind: string;
  readonly state: string;
  readonly connected: boolean | null;
  readonly heartbeat_ms: number | null;
  readonly up_s: number | null;
  readonly works_on: readonly string[];
}

export interface FaultKind {
  readonly name: string;
  readonly summary: string;
  readonly targets: readonly string[];
  readonly args: Readonly<Record<string, { default: number; low: number; high: number }>>;
}

export interface OpenFault {
  readonly id: string;
  readonly fault: string;
  readonly target: string;
  readonly args: Readonly<Record<string, Scalar>>;
  readonly since_us: number;
}

export interface Faults {
  readonly catalogue: readonly FaultKind[];
  readonly open: readonly OpenFault[];
  readonly can_inject: boolean;
  readonly why_not: string | null;
}

export interface Stream {
  readonly name: string;
  readonly messages: number;
  readonly bytes: number;
  readonly first_seq: number;
  readonly last_seq: number;
  readonly subjects: number | null;
}

export interface Consumer {
  readonly stream: string;
  readonly name: string;
  readonly pending: number;
  readonly ack_pending: number;
  readonly redelivered: number;
  readonly waiting: number;
}

export interface Connection {
  readonly name: string;
  readonly user: string;
  readonly rtt_ms: number | null;
  readonly idle_s: number | null;
  readonly in_msgs: number;
  readonly out_msgs: number;
  readonly slow: boolean;
}

export interface Broker {
  readonly monitor_url: string | null;
  /** Why the broker's state is not known; null if it is. */
  readonly error: string | null;
  readonly streams: readonly Stream[];
  readonly consumers: readonly Consumer[];
  readonly connections: readonly Connection[];
}

export interface ScenarioRow {
  readonly name: string;
  readonly summary: string;
}

export interface RunRow {
  readonly id: string;
  readonly scenario: string;
  readonly seed: number;
  readonly noise: number;
  readonly incident: string | null;
  readonly started_us: number;
  readonly ended_us: number;
  readonly verdict: string;
  readonly score: Readonly<Record<string, unknown>>;
}

export interface RecordingRow {
  readonly name: string;
  readonly scenario: string;
  readonly incident: string;
  readonly seed: number;
}

export interface Similar {
  readonly incident: string;
  readonly text: string;
  readonly target: string;
  readonly fault_class: string;
  readonly actions: readonly string[];
  readonly likeness: number | null;
}

/** What a command was answered with. */
export interface Done {
  readonly seq: number | null;
  readonly sentence: string;
  readonly incident?: string;
}
