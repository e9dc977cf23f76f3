/** The API's answers as the page uses them: made from its OpenAPI document (schema.ts), with journal entries typed. */

import type { Entry } from "../journal/messages";
import type * as schema from "./schema";

export type {
  AgentRow,
  BrokerLook as Broker,
  Device,
  Done,
  FaultKind,
  Faults,
  Figures,
  OpenFault,
  RecordingRow,
  RunRow,
  ScenarioRow,
  Similar,
} from "./schema";

/** The document knows an entry's payload as any JSON; the contracts say more (journal/messages.ts). */
type WithEntries<T, K extends keyof T> = Omit<T, K> & { readonly [key in K]: readonly Entry[] };

export type Snapshot = WithEntries<schema.Snapshot, "entries" | "telemetry">;
export type JournalPage = WithEntries<schema.Journal, "entries">;
export type Recording = WithEntries<schema.RecordingEvents, "entries">;
export type Proof = Omit<schema.Proof, "entry"> & { readonly entry: Entry };
