/** One incident as a person follows it: report, questions, planning attempts, plans with their tasks, checks, end. */

import type { Message, Of } from "../journal/messages";
import { span } from "../parts/format";
import type { IncidentView, PlanningRun, PlanView, TaskState, TaskView, World } from "./model";

export function foldIncident(world: World, message: Message): World {
  if (message.type === "incident.reported") return reported(world, message);
  if (message.type === "agent.lost") return handedBack(world, message);
  const payload = message.payload as { incident?: string | null };
  const before = payload.incident ? world.incidents[payload.incident] : undefined;
  if (!before) return world;
  const after = change(before, message);
  if (after === before) return world;
  return {
    ...world,
    incidents: { ...world.incidents, [before.id]: { ...after, changedSeq: message.seq } },
  };
}

function reported(world: World, message: Of<"incident.reported">): World {
  const { incident, text, source } = message.payload;
  if (world.incidents[incident]) return world;
  const view: IncidentView = {
    id: incident,
    text,
    source,
    reportedUs: message.time_us,
    reportedSeq: message.seq,
    deviations: [],
    questions: [],
    plans: [],
    runs: [],
    checks: [],
    closed: null,
    changedSeq: message.seq,
  };
  return {
    ...world,
    incidents: { ...world.incidents, [incident]: view },
    incidentOrder: [incident, ...world.incidentOrder],
  };
}

function change(view: IncidentView, message: Message): IncidentView {
  switch (message.type) {
    case "deviation":
      return { ...view, deviations: [...view.deviations, message] };
    case "incident.asked":
      return { ...view, questions: [...view.questions, asked(message)] };
    case "incident.answered":
      return { ...view, questions: view.questions.map((item) => answered(item, message)) };
    case "incident.closed":
      return { ...view, closed: message };
    case "verified":
      return { ...view, checks: [...view.checks, message] };
    case "plan.requested":
    case "plan.prompted":
    case "plan.answered":
      return { ...view, runs: withRun(view, message) };
    case "plan.proposed":
      return { ...view, runs: withRun(view, message), plans: [...view.plans, proposed(message)] };
    case "plan.accepted":
    case "plan.rejected":
      return { ...view, runs: withRun(view, message), plans: view.plans.map((plan) => decided(plan, message)) };
    case "plan.executed":
      return { ...view, plans: view.plans.map((plan) => executed(plan, message)) };
    case "task":
    case "claim":
    case "result":
    case "dead":
    case "approval.requested":
    case "approval.granted":
    case "approval.denied":
    case "approval.expired":
      return { ...view, plans: view.plans.map((plan) => foldTask(plan, message)) };
    default:
      return view;
  }
}

function asked(message: Of<"incident.asked">): IncidentView["questions"][number] {
  const { n, question, wait_s } = message.payload;
  return { n, question, askedUs: message.time_us, waitS: wait_s, answer: null };
}

function answered(
  item: IncidentView["questions"][number],
  message: Of<"incident.answered">,
): IncidentView["questions"][number] {
  return item.n === message.payload.n && item.answer === null ? { ...item, answer: message.payload.text } : item;
}

type Planning = Extract<
  Message,
  {
    type:
      | "plan.requested"
      | "plan.prompted"
      | "plan.answered"
      | "plan.proposed"
      | "plan.accepted"
      | "plan.rejected";
  }
>;

function withRun(view: IncidentView, message: Planning): readonly PlanningRun[] {
  const { incident, version, attempt } = message.payload;
  const id = `${incident}.v${version}.a${attempt}`;
  const at = view.runs.findIndex((run) => run.id === id);
  const run = advance(view.runs[at] ?? blank(id, incident, version, attempt), message);
  return at < 0 ? [...view.runs, run] : view.runs.with(at, run);
}

function blank(id: string, incident: string, version: number, attempt: number): PlanningRun {
  return {
    id,
    incident,
    version,
    attempt,
    requestedUs: null,
    promptedUs: null,
    answeredUs: null,
    proposedUs: null,
    rulebookOnly: false,
    failures: [],
    messages: [],
    prompt: null,
    answer: null,
    proposal: null,
    decision: null,
    reasons: [],
  };
}

function advance(run: PlanningRun, message: Planning): PlanningRun {
  switch (message.type) {
    case "plan.requested":
      return {
        ...run,
        requestedUs: message.time_us,
        rulebookOnly: message.payload.rulebook_only ?? false,
        failures: message.payload.failures ?? [],
      };
    case "plan.prompted":
      return { ...run, promptedUs: message.time_us, prompt: message.payload, messages: message.payload.messages };
    case "plan.answered":
      return { ...run, answeredUs: message.time_us, answer: message.payload };
    case "plan.proposed":
      return { ...run, proposedUs: message.time_us, proposal: message.payload };
    case "plan.accepted":
      return { ...run, decision: "accepted" };
    case "plan.rejected":
      return { ...run, decision: "rejected", reasons: message.payload.reasons };
  }
}

function proposed(message: Of<"plan.proposed">): PlanView {
  const said = message.payload;
  return {
    version: said.version,
    attempt: said.attempt,
    plan: said.plan,
    origin: said.origin,
    tag: said.decision_tag,
    repairs: said.repairs,
    filled: said.filled ?? [],
    mended: said.mended ?? false,
    agreed: said.agreed ?? false,
    decision: "proposed",
    reasons: [],
    order: [],
    proposedUs: message.time_us,
    decidedUs: null,
    executedUs: null,
    tasks: Object.fromEntries(said.plan.tasks.map((task) => [task.task_id, waiting(said.version, task.task_id)])),
  };
}

function waiting(version: number, id: string): TaskView {
  return {
    id,
    journalId: `v${version}-${id}`,
    state: "waiting",
    risk: null,
    attempt: 0,
    agent: null,
    orderedUs: null,
    claimedUs: null,
    endedUs: null,
    sentence: "",
    evidence: [],
    errorCode: null,
    changed: false,
    args: {},
  };
}

function decided(plan: PlanView, message: Of<"plan.accepted"> | Of<"plan.rejected">): PlanView {
  const { plan_id, version, attempt } = message.payload;
  if (plan.plan.plan_id !== plan_id || plan.version !== version || plan.attempt !== attempt) return plan;
  if (message.type === "plan.rejected") {
    return { ...plan, decision: "rejected", reasons: message.payload.reasons, decidedUs: message.time_us };
  }
  return { ...plan, decision: "accepted", order: message.payload.order, decidedUs: message.time_us };
}

function executed(plan: PlanView, message: Of<"plan.executed">): PlanView {
  if (plan.version !== message.payload.version || plan.decision !== "accepted") return plan;
  const tasks = { ...plan.tasks };
  for (const name of message.payload.skipped) {
    const id = name.replace(/^v\d+-/, "");
    const task = tasks[id];
    if (task) tasks[id] = { ...task, state: "skipped", endedUs: message.time_us };
  }
  return { ...plan, tasks, executedUs: message.time_us };
}

type TaskMessage = Extract<
  Message,
  {
    type:
      | "task"
      | "claim"
      | "result"
      | "dead"
      | "approval.requested"
      | "approval.granted"
      | "approval.denied"
      | "approval.expired";
  }
>;

function foldTask(plan: PlanView, message: TaskMessage): PlanView {
  const prefix = `v${plan.version}-`;
  const { task_id } = message.payload;
  if (plan.decision !== "accepted" || !task_id.startsWith(prefix)) return plan;
  const id = task_id.slice(prefix.length);
  const before = plan.tasks[id];
  if (!before) return plan;
  return { ...plan, tasks: { ...plan.tasks, [id]: moved(before, message) } };
}

function moved(task: TaskView, message: TaskMessage): TaskView {
  switch (message.type) {
    case "task":
      return {
        ...task,
        state: message.payload.attempt > 1 ? "retrying" : "dispatched",
        risk: message.payload.risk,
        attempt: message.payload.attempt,
        args: message.payload.args,
        orderedUs: message.time_us,
        claimedUs: null,
        endedUs: null,
        agent: null,
      };
    case "claim":
      // A claim that comes after the end is a zombie's: the broker's fence refuses its result.
      return ended(task.state) || message.payload.attempt < task.attempt
        ? task
        : { ...task, state: "running", agent: message.payload.instance, claimedUs: message.time_us };
    case "result":
      return message.payload.attempt < task.attempt ? task : finished(task, message);
    case "dead":
      return { ...task, state: "dead", sentence: message.payload.reason, endedUs: message.time_us };
    case "approval.requested":
      return { ...task, state: "approval" };
    case "approval.granted":
      return task.state === "approval" ? { ...task, state: "waiting" } : task;
    case "approval.denied":
      return notApproved(task, `denied: ${message.payload.reason}`, message.time_us);
    case "approval.expired":
      return notApproved(task, undecided(message.payload.wait_s), message.time_us);
  }
}

function notApproved(task: TaskView, sentence: string, endedUs: number): TaskView {
  return task.state === "approval" ? { ...task, state: "skipped", sentence, endedUs } : task;
}

/** Why a task was not carried out that nobody granted or denied. */
export function undecided(waitS: number): string {
  return `nobody decided within ${span(waitS * 1_000)}`;
}

function ended(state: TaskState): boolean {
  return state === "done" || state === "failed" || state === "skipped" || state === "dead";
}

function finished(task: TaskView, message: Of<"result">): TaskView {
  const said = message.payload;
  return {
    ...task,
    state: said.status === "OK" ? "done" : "failed",
    agent: said.instance,
    attempt: said.attempt,
    sentence: said.out,
    evidence: said.evidence ?? [],
    errorCode: said.error_code,
    changed: said.changed,
    endedUs: message.time_us,
  };
}

/** A lost worker's running tasks are in the queue again. */
function handedBack(world: World, message: Of<"agent.lost">): World {
  const { instance, handed_on } = message.payload;
  const incidents = { ...world.incidents };
  for (const subject of handed_on) {
    const [, , , incident = "", taskId = ""] = subject.split(".");
    const view = incidents[incident];
    if (!view) continue;
    incidents[incident] = { ...view, plans: view.plans.map((plan) => back(plan, taskId, instance)) };
  }
  return { ...world, incidents };
}

function back(plan: PlanView, journalId: string, instance: string): PlanView {
  const entry = Object.values(plan.tasks).find((task) => task.journalId === journalId);
  if (!entry || entry.agent !== instance || entry.state !== "running") return plan;
  return { ...plan, tasks: { ...plan.tasks, [entry.id]: { ...entry, state: "retrying", agent: null } } };
}
