/** Every state the page shows: its word, its drawing, its tone. The only place that says so. */

import type { DeviceView, TaskState } from "../world/model";
import type { IconName } from "./icons";

export type Tone = "good" | "warn" | "bad" | "busy" | "calm" | "ai";

export interface Look {
  readonly word: string;
  readonly icon: IconName;
  readonly tone: Tone;
}

export const TASK: Readonly<Record<TaskState, Look>> = {
  waiting: { word: "waiting", icon: "clock", tone: "calm" },
  approval: { word: "needs approval", icon: "hand", tone: "warn" },
  dispatched: { word: "queued", icon: "stream", tone: "busy" },
  running: { word: "running", icon: "play", tone: "busy" },
  retrying: { word: "handed on", icon: "retry", tone: "warn" },
  done: { word: "done", icon: "check", tone: "good" },
  failed: { word: "failed", icon: "cross", tone: "bad" },
  skipped: { word: "skipped", icon: "skip", tone: "calm" },
  dead: { word: "given up", icon: "stop", tone: "bad" },
};

const DEVICE: Readonly<Record<string, Look>> = {
  OK: { word: "healthy", icon: "check", tone: "good" },
  WARN: { word: "degraded", icon: "warn", tone: "warn" },
  ERROR: { word: "failing", icon: "cross", tone: "bad" },
};

/** Sensors speak every second: who was not heard of for six is not known to be well. */
const STALE_US = 6_000_000;

export function lookOf(view: DeviceView | undefined, nowUs: number): Look {
  if (!view || nowUs - view.seenUs > STALE_US) return { word: "no news", icon: "question", tone: "calm" };
  return DEVICE[view.status] ?? { word: "unknown", icon: "question", tone: "calm" };
}

const PHASES: Readonly<Record<string, Look>> = {
  verified: { word: "repaired and proved", icon: "check", tone: "good" },
  no_fault: { word: "nothing was broken", icon: "check", tone: "good" },
  unresolved: { word: "unresolved", icon: "cross", tone: "bad" },
  merged: { word: "merged", icon: "link", tone: "calm" },
  reported: { word: "reported", icon: "report", tone: "busy" },
  planning: { word: "planning", icon: "plan", tone: "busy" },
  executing: { word: "executing", icon: "play", tone: "busy" },
  verifying: { word: "verifying", icon: "clock", tone: "busy" },
  "asks you": { word: "asks you", icon: "question", tone: "warn" },
  "waits for approval": { word: "waits for approval", icon: "hand", tone: "warn" },
  "not repaired": { word: "not repaired yet", icon: "warn", tone: "warn" },
};

export function phaseLook(name: string): Look {
  return PHASES[name] ?? { word: name, icon: "dash", tone: "calm" };
}

export const AGENT: Readonly<Record<"up" | "lost" | "unknown", Look>> = {
  up: { word: "connected", icon: "check", tone: "good" },
  lost: { word: "lost", icon: "cross", tone: "bad" },
  unknown: { word: "not seen", icon: "question", tone: "calm" },
};

export const RISK: Readonly<Record<"read" | "safe" | "risky", Look>> = {
  read: { word: "reads only", icon: "dash", tone: "calm" },
  safe: { word: "safe change", icon: "check", tone: "busy" },
  risky: { word: "risky change", icon: "warn", tone: "warn" },
};
