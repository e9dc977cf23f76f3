/**
 * The one door into the page's state: `fold(world, entries)` returns the next world. Pure: no clock, no network, no
 * randomness. Live view and replay use the same function, so what a replay shows is what the live page showed.
 */

import type { Entry, Message, MessageType, Of } from "../journal/messages";
import { isBackground } from "../journal/messages";
import { foldAgents } from "./agents";
import { foldIncident, undecided } from "./incidents";
import type { ApprovalView, World } from "./model";

/** Most rows the page keeps; the oldest go first. The API has them all. */
export const MAX_ENTRIES = 20_000;
const RECENT = 60;

/** Types that change nothing the page knows: they are rows of the timeline, or timers, and no more. */
export const IGNORED: ReadonlySet<MessageType> = new Set<MessageType>(["control.rotate", "control.takeover", "timer"]);

/** Return the world after these entries, which come in the journal's order. What was seen before is left out. */
export function fold(world: World, entries: readonly Entry[]): World {
  const fresh = entries.filter((entry) => entry.seq > world.head);
  if (fresh.length === 0) return world;
  let next = world;
  for (const entry of fresh) next = entry.refusal === null ? step(next, entry) : { ...next, refused: next.refused + 1 };
  const rows = fresh.filter((entry) => !isBackground(entry));
  const last = fresh[fresh.length - 1]!;
  const all = rows.length ? [...next.entries, ...rows] : next.entries;
  return {
    ...next,
    head: last.seq,
    timeUs: Math.max(next.timeUs, last.time_us),
    entries: all.length > MAX_ENTRIES ? all.slice(all.length - MAX_ENTRIES) : all,
  };
}

function step(world: World, message: Message): World {
  if (IGNORED.has(message.type)) return world;
  switch (message.type) {
    case "telemetry":
      return { ...world, devices: foldDevice(world.devices, message) };
    case "control.halt":
      return halted(world, message);
    case "control.resume":
      return resumed(world, message);
    case "audit.checkpoint":
      return { ...world, checkpoint: message };
    default:
      return foldWork(world, message);
  }
}

function foldWork(world: World, message: Message): World {
  const withAgents = foldAgents(world, message);
  const withIncident = foldIncident(withAgents, message);
  return started(foldApproval(withIncident, message), message);
}

function halted(world: World, message: Extract<Message, { type: "control.halt" }>): World {
  if (world.halt) return world;
  const halt = {
    seq: message.seq,
    sinceUs: message.time_us,
    reason: message.payload.reason,
    by: message.sender,
    lastStartUs: null,
  };
  return { ...world, halt, lastHalt: halt };
}

function resumed(world: World, message: Of<"control.resume">): World {
  const again = ([key, view]: [string, ApprovalView]): [string, ApprovalView] => [
    key,
    world.halt && view.state === "open" ? { ...view, clockUs: message.time_us } : view,
  ];
  const approvals = Object.fromEntries(Object.entries(world.approvals).map(again));
  return { ...world, approvals, halt: null, lastHalt: world.halt ?? world.lastHalt };
}

/** Note what an agent still claimed after a halt: the measured stop time is the last of these. */
function started(world: World, message: Message): World {
  if (!world.halt || message.type !== "claim") return world;
  const halt = { ...world.halt, lastStartUs: message.time_us };
  return { ...world, halt, lastHalt: halt };
}

function foldDevice(devices: World["devices"], message: Extract<Message, { type: "telemetry" }>): World["devices"] {
  const telemetry = message.payload;
  const before = devices[telemetry.device_id];
  const value = telemetry.metrics.success_ratio ?? (telemetry.status === "ERROR" ? 0 : 1);
  const recent = [...(before?.recent ?? []), value].slice(-RECENT);
  return {
    ...devices,
    [telemetry.device_id]: {
      id: telemetry.device_id,
      status: telemetry.status,
      seenUs: message.time_us,
      telemetry,
      recent,
    },
  };
}

export function approvalKey(incident: string, taskId: string): string {
  return `${incident}/${taskId}`;
}

type Decision = Of<"approval.granted"> | Of<"approval.denied"> | Of<"approval.expired">;

function foldApproval(world: World, message: Message): World {
  switch (message.type) {
    case "approval.requested":
      return put(world, requested(message));
    case "approval.granted":
    case "approval.denied":
    case "approval.expired":
      return decided(world, message);
    default:
      return overtaken(world, message);
  }
}

function put(world: World, view: ApprovalView): World {
  return { ...world, approvals: { ...world.approvals, [approvalKey(view.incident, view.taskId)]: view } };
}

function requested(message: Of<"approval.requested">): ApprovalView {
  const { incident, task_id, binding, action, target, why, wait_s } = message.payload;
  return {
    incident,
    taskId: task_id,
    binding,
    action,
    target,
    why,
    requestedUs: message.time_us,
    waitS: wait_s ?? 0,
    clockUs: message.time_us,
    state: "open",
    decidedUs: null,
    decidedBy: null,
    reason: "",
  };
}

/** The first answer counts, and only to exactly what was asked for; the end of the time is one. */
function decided(world: World, message: Decision): World {
  const { incident, task_id, binding } = message.payload;
  const open = world.approvals[approvalKey(incident, task_id)];
  if (!open || open.state !== "open" || open.binding !== binding) return world;
  return put(world, { ...open, ...answer(message), decidedUs: message.time_us });
}

function answer(message: Decision): Pick<ApprovalView, "state" | "decidedBy" | "reason"> {
  switch (message.type) {
    case "approval.granted":
      return { state: "granted", decidedBy: message.sender, reason: "" };
    case "approval.denied":
      return { state: "denied", decidedBy: message.sender, reason: message.payload.reason };
    case "approval.expired":
      return { state: "expired", decidedBy: null, reason: undecided(message.payload.wait_s) };
  }
}

/** A request is over when its incident closed or its plan was replaced without an answer. */
function overtaken(world: World, message: Message): World {
  const ends =
    message.type === "incident.closed" ||
    message.type === "plan.requested" ||
    message.type === "plan.executed" ||
    message.type === "dead";
  if (!ends) return world;
  const stale = Object.entries(world.approvals).filter(
    ([, view]) =>
      view.state === "open" &&
      view.incident === message.payload.incident &&
      (message.type !== "dead" || view.taskId === message.payload.task_id),
  );
  if (stale.length === 0) return world;
  const over = Object.fromEntries(
    stale.map(([key, view]) => [key, { ...view, state: "over" as const, decidedUs: message.time_us }]),
  );
  return { ...world, approvals: { ...world.approvals, ...over } };
}
