/** What changed from one plan to the next. Task ids start anew in each plan, so tasks are matched by what they do. */

import type { Plan, PlanTask } from "../journal/messages";

export type Mark = "same" | "new" | "changed";

export interface PlanDiff {
  /** By task id of the newer plan. */
  readonly marks: Readonly<Record<string, Mark>>;
  /** By task id of the newer plan: what was different before, in words. */
  readonly was: Readonly<Record<string, string>>;
  readonly removed: readonly PlanTask[];
}

const doing = (task: PlanTask): string => `${task.type} ${task.target}`;
const inWords = (task: PlanTask): string =>
  Object.entries(task.args)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${String(value)}`)
    .join(" ");

export function diffPlans(older: Plan, newer: Plan): PlanDiff {
  const left = [...older.tasks];
  const marks: Record<string, Mark> = {};
  const was: Record<string, string> = {};
  const matched = new Map<string, PlanTask>();
  // First those that are wholly alike, then those that do the same with other arguments.
  for (const fits of [
    (a: PlanTask, b: PlanTask) => doing(a) === doing(b) && inWords(a) === inWords(b),
    (a: PlanTask, b: PlanTask) => doing(a) === doing(b),
  ]) {
    for (const task of newer.tasks) {
      if (matched.has(task.task_id)) continue;
      const at = left.findIndex((item) => fits(item, task));
      if (at >= 0) matched.set(task.task_id, left.splice(at, 1)[0]!);
    }
  }
  for (const task of newer.tasks) {
    const before = matched.get(task.task_id);
    const change = before ? difference(older, before, newer, task) : null;
    marks[task.task_id] = !before ? "new" : change ? "changed" : "same";
    if (change) was[task.task_id] = change;
  }
  return { marks, was, removed: left };
}

function difference(older: Plan, before: PlanTask, newer: Plan, task: PlanTask): string | null {
  const found: string[] = [];
  if (inWords(before) !== inWords(task)) found.push(`arguments were ${inWords(before) || "none"}`);
  const [then, now] = [depends(older, before), depends(newer, task)];
  if (then !== now) found.push(`came after ${then || "nothing"}`);
  if (when(before) !== when(task)) found.push(`condition was ${when(before) || "none"}`);
  return found.length ? found.join("; ") : null;
}

function depends(plan: Plan, task: PlanTask): string {
  return task.dependencies
    .map((id) => plan.tasks.find((item) => item.task_id === id))
    .flatMap((item) => (item ? [doing(item)] : []))
    .sort()
    .join(", ");
}

function when(task: PlanTask): string {
  return task.when ? `${task.when.field}=${String(task.when.equals)}` : "";
}
