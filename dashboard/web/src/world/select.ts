/** Questions that views ask of a world. Pure. */

import type { DeviceView, IncidentView, PlanView, TaskView, World } from "./model";
import { reassignedMs } from "./agents";

/** Most recent first: incidents that are not closed. */
export function openIncidents(world: World): readonly IncidentView[] {
  return world.incidentOrder.flatMap((id) => {
    const view = world.incidents[id];
    return view && !view.closed ? [view] : [];
  });
}

export function newestIncident(world: World): IncidentView | null {
  const open = openIncidents(world)[0];
  const id = world.incidentOrder[0];
  return open ?? (id ? (world.incidents[id] ?? null) : null);
}

/** The plan that is carried out: the last accepted one, or else the last one. */
export function currentPlan(view: IncidentView): PlanView | null {
  return view.plans.findLast((plan) => plan.decision === "accepted") ?? view.plans.at(-1) ?? null;
}

export interface Phase {
  readonly name: string;
  readonly detail: string;
}

/** What is happening to an incident right now, in one line. */
export function phase(view: IncidentView): Phase {
  if (view.closed) return { name: view.closed.payload.verdict, detail: view.closed.payload.reason };
  const question = view.questions.find((item) => item.answer === null);
  const run = view.runs.at(-1);
  const plan = view.plans.findLast((item) => item.decision === "accepted");
  if (question && !overtakes(view, question.askedUs)) return { name: "asks you", detail: question.question };
  if (plan && run && plan.version === run.version) return executing(view, plan);
  if (run?.prompt && !run.answer) return { name: "planning", detail: `version ${run.version}: the model is asked` };
  if (run) return { name: "planning", detail: `version ${run.version}, attempt ${run.attempt}` };
  return { name: "reported", detail: "waits for a plan" };
}

function overtakes(view: IncidentView, askedUs: number): boolean {
  return view.runs.some((run) => (run.requestedUs ?? 0) > askedUs);
}

function executing(view: IncidentView, plan: PlanView): Phase {
  const tasks = Object.values(plan.tasks);
  const waits = tasks.find((task) => task.state === "approval");
  if (waits) return { name: "waits for approval", detail: `${waits.journalId} needs a person` };
  if (plan.executedUs !== null) {
    const check = view.checks.at(-1);
    const failed = check && check.time_us > plan.executedUs && !check.payload.ok;
    return failed
      ? { name: "not repaired", detail: check.payload.reasons[0] ?? "the check failed" }
      : { name: "verifying", detail: "the monitor watches a whole window" };
  }
  const over = tasks.filter((task) => task.endedUs !== null).length;
  return { name: "executing", detail: `plan ${plan.version}: ${over} of ${tasks.length} tasks ended` };
}

export interface Meter {
  readonly reassignMs: number | null;
  readonly planMs: number | null;
  readonly repairMs: number | null;
}

/** The latency meter: last reassignment, last plan, last repair; milliseconds. */
export function meter(world: World): Meter {
  const taken = world.reassignments.findLast((item) => item.takenUs !== null);
  let planMs: number | null = null;
  let planAt = -1;
  let repairMs: number | null = null;
  let repairAt = -1;
  for (const view of Object.values(world.incidents)) {
    for (const run of view.runs) {
      if (run.requestedUs !== null && run.proposedUs !== null && run.proposedUs > planAt) {
        planAt = run.proposedUs;
        planMs = (run.proposedUs - run.requestedUs) / 1_000;
      }
    }
    const good = view.checks.find((check) => check.payload.ok);
    const acted = view.plans.some((plan) => Object.values(plan.tasks).some((task) => task.changed));
    if (good && acted && good.time_us > repairAt) {
      repairAt = good.time_us;
      repairMs = (good.time_us - view.reportedUs) / 1_000;
    }
  }
  return { reassignMs: taken ? reassignedMs(taken) : null, planMs, repairMs };
}

export interface Fallback {
  readonly key: string;
  readonly what: string;
  readonly detail: string;
  readonly over: boolean;
}

const SHOWN_US = 20_000_000;

/** The amber cue: what the system fell back to within the last twenty seconds, or falls back to now. */
export function fallbacks(world: World): readonly Fallback[] {
  const lost = world.reassignments
    .filter((item) => item.takenUs === null ? openTask(world, item.incident, item.taskId) : world.timeUs - item.lostUs < SHOWN_US)
    .map((item) => {
      const ms = reassignedMs(item);
      return {
        key: `${item.subject}@${item.lostUs}`,
        what: `${item.from} was lost`,
        detail: ms === null ? `${item.taskId} waits for another agent` : `${item.taskId} went to ${item.to} in ${ms.toFixed(1)} ms`,
        over: ms !== null,
      };
    });
  const rulebook = openIncidents(world).flatMap((view) => {
    const run = view.runs.at(-1);
    const failed = view.runs.findLast((item) => item.answer && item.answer.outcome !== "ok");
    if (!run || !(run.rulebookOnly || (failed && failed === run && run.proposal?.origin === "rulebook"))) return [];
    const why = failed?.answer ? `the model: ${failed.answer.outcome}` : "after two refusals";
    return [{ key: `${run.id}:rulebook`, what: "The rulebook plans", detail: why, over: run.decision === "accepted" }];
  });
  return [...lost, ...rulebook];
}

function openTask(world: World, incident: string, taskId: string): boolean {
  const view = world.incidents[incident];
  if (!view || view.closed) return false;
  const task = view.plans.flatMap((plan) => Object.values(plan.tasks)).findLast((item) => item.journalId === taskId);
  return task !== undefined && task.endedUs === null;
}

/** Dependencies that a device blames for its trouble, from its sensor's note: name and error. */
export function blames(device: DeviceView | undefined): Readonly<Record<string, string>> {
  const note = device?.telemetry.note ?? "";
  const found: Record<string, string> = {};
  for (const pair of note.split(",")) {
    const match = /^\s*(?:slow:)?([a-z0-9][a-z0-9_-]*)=(.*)$/.exec(pair);
    if (match?.[1]) found[match[1]] = match[2] ?? "";
  }
  return found;
}

/** Tasks that are on their way and change the world, by target. */
export function actionsUnderWay(world: World): Readonly<Record<string, { incident: string; task: TaskView; type: string }>> {
  const found: Record<string, { incident: string; task: TaskView; type: string }> = {};
  for (const view of openIncidents(world)) {
    const plan = currentPlan(view);
    for (const item of plan?.plan.tasks ?? []) {
      const task = plan?.tasks[item.task_id];
      if (task && (task.state === "running" || task.state === "dispatched" || task.state === "retrying")) {
        found[item.target] = { incident: view.id, task, type: item.type };
      }
    }
  }
  return found;
}
