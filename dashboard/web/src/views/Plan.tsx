import { useMemo } from "react";
import { useShown } from "../app/context";
import { adjust, href, useRoute } from "../app/route";
import type { Structure } from "../layout/engine";
import { useLayout } from "../layout/useLayout";
import { Badge, Empty, Facts, Moment, Panel, Said, TagBadge } from "../parts/basic";
import type { FlowEdge, FlowNode } from "../parts/flow";
import { Graph } from "../parts/graph";
import { argsOf, percent, span } from "../parts/format";
import { Icon } from "../parts/icons";
import { IncidentPicker, useIncident } from "../parts/incident";
import { useNarrow } from "../parts/narrow";
import { RISK, TASK } from "../parts/states";
import { number, Table } from "../parts/table";
import { diffPlans, type Mark, type PlanDiff } from "../world/diff";
import type { IncidentView, PlanView, TaskView } from "../world/model";
import { currentPlan } from "../world/select";

const WIDTH = 210;
const HEIGHT = 98;

export default function Plan() {
  const incident = useIncident();
  return (
    <>
      <IncidentPicker view="plan" />
      {incident ? <Plans incident={incident} /> : <Empty>No incident yet: nothing is planned.</Empty>}
    </>
  );
}

function Plans({ incident }: { incident: IncidentView }) {
  const { params } = useRoute();
  const plans = incident.plans;
  const shown = chosen(plans, params.plan) ?? currentPlan(incident);
  if (!shown) return <Empty>{incident.closed ? "It was closed without a plan." : "The planner has not proposed anything yet."}</Empty>;
  const index = plans.indexOf(shown);
  const against = params.diff === "no" ? null : (plans[index - 1] ?? null);
  return (
    <>
      {plans.length > 1 ? <VersionSlider plans={plans} index={index} against={against} /> : null}
      <PlanGraph plan={shown} older={against} selected={params.task ?? null} />
    </>
  );
}

const nameOf = (plan: PlanView): string => `v${plan.version}.a${plan.attempt}`;

function chosen(plans: readonly PlanView[], name: string | undefined): PlanView | null {
  return plans.find((plan) => nameOf(plan) === name) ?? null;
}

function VersionSlider({ plans, index, against }: { plans: readonly PlanView[]; index: number; against: PlanView | null }) {
  const { params } = useRoute();
  const shown = plans[index]!;
  return (
    <div className="bar">
      <label className="slider">
        <span>Plan version</span>
        <input
          type="range"
          min={0}
          max={plans.length - 1}
          value={index}
          aria-valuetext={`version ${shown.version}, attempt ${shown.attempt}, ${shown.decision}`}
          onChange={(event) => adjust({ plan: nameOf(plans[Number(event.target.value)]!), task: null })}
        />
      </label>
      <span>
        {index + 1} of {plans.length}: version {shown.version}, attempt {shown.attempt}
      </span>
      {index > 0 ? (
        <label className="check">
          <input
            type="checkbox"
            checked={params.diff !== "no"}
            onChange={(event) => adjust({ diff: event.target.checked ? null : "no" })}
          />
          difference to the one before{against ? ` (version ${against.version})` : ""}
        </label>
      ) : null}
    </div>
  );
}

const MARK: Readonly<Record<Mark, string>> = { same: "", new: "+ new", changed: "~ changed" };

function PlanGraph({ plan, older, selected }: { plan: PlanView; older: PlanView | null; selected: string | null }) {
  const narrow = useNarrow();
  const structure = useMemo(() => structureOf(plan, narrow), [plan.plan, narrow]);
  const places = useLayout(structure);
  const diff = useMemo(() => (older ? diffPlans(older.plan, plan.plan) : null), [older, plan.plan]);
  const { nowUs } = useShown();
  const nodes = useMemo(() => nodesOf(plan, diff), [plan, diff]);
  const edges = useMemo(() => edgesOf(plan), [plan]);
  const task = selected ? plan.tasks[selected] : undefined;
  return (
    <div className="split">
      <Panel title={plan.plan.root_goal || "Plan"} aside={<PlanState plan={plan} />} className="grows">
        <Head plan={plan} />
        <Graph
        nodes={nodes}
        edges={edges}
        places={places}
        down={narrow}
        selected={selected}
        onSelect={(id) => adjust({ task: id })}
        label="Plan as a graph. The same as a table stands below."
        />
        <TaskTable plan={plan} diff={diff} nowUs={nowUs} />
        {diff && diff.removed.length > 0 ? (
          <p>
            <strong>− no longer there:</strong> {diff.removed.map((item) => `${item.type} ${item.target}`).join(", ")}
          </p>
        ) : null}
      </Panel>
      {task ? <TaskDetail plan={plan} task={task} was={diff?.was[task.id]} /> : null}
    </div>
  );
}

function PlanState({ plan }: { plan: PlanView }) {
  const look =
    plan.decision === "rejected"
      ? ({ word: "refused", icon: "cross", tone: "bad" } as const)
      : plan.decision === "proposed"
        ? ({ word: "proposed", icon: "clock", tone: "busy" } as const)
        : plan.executedUs !== null
          ? ({ word: "executed", icon: "check", tone: "good" } as const)
          : ({ word: "accepted", icon: "play", tone: "busy" } as const);
  return (
    <>
      <Badge look={look} />
      <TagBadge tag={plan.tag} />
    </>
  );
}

function Head({ plan }: { plan: PlanView }) {
  const guess = plan.plan.hypothesis;
  return (
    <>
      <p className="lead">
        {guess.fault_class === "none" ? "Nothing is thought to be broken" : <>Suspects <strong>{guess.fault_class.replaceAll("_", " ")}</strong> at <strong>{guess.target}</strong></>}
        , {percent(guess.confidence)} sure. Made by {plan.origin === "llm" ? "the model" : "the rulebook"}
        {plan.agreed ? ", and both agree" : ""}
        {plan.mended ? "; mended by code, so whatever acts waits for a person" : ""}.
      </p>
      {plan.reasons.length > 0 ? (
        <ul className="reasons">
          {plan.reasons.map((reason) => (
            <li key={reason.code + reason.detail}>
              <code>{reason.code}</code> {reason.detail}
            </li>
          ))}
        </ul>
      ) : null}
    </>
  );
}

function structureOf(plan: PlanView, narrow: boolean): Structure {
  return {
    boxes: plan.plan.tasks.map((task) => ({ id: task.task_id, width: WIDTH, height: HEIGHT })),
    edges: plan.plan.tasks.flatMap((task) => task.dependencies.map((from) => ({ from, to: task.task_id }))),
    direction: narrow ? "DOWN" : "RIGHT",
  };
}

function nodesOf(plan: PlanView, diff: PlanDiff | null): readonly FlowNode[] {
  return plan.plan.tasks.map((task) => {
    const view = plan.tasks[task.task_id]!;
    const look = TASK[view.state];
    const mark = diff ? MARK[diff.marks[task.task_id] ?? "same"] : "";
    return {
      id: task.task_id,
      width: WIDTH,
      height: HEIGHT,
      label: `${task.task_id}: ${task.type} ${task.target}, ${look.word}${mark ? `, ${mark.slice(2)}` : ""}`,
      content: (
        <div className={`node task tone-${look.tone}`} data-state={view.state}>
          <div className="node-head">
            <code>{task.task_id}</code>
            <strong>{task.type}</strong>
          </div>
          <div className="node-sub">{task.target}{task.when ? " · if" : ""}</div>
          <div className="node-foot">
            <Badge look={look} />
            {mark ? <span className="chip tone-ai">{mark}</span> : <span className="faint">{view.agent ?? task.assigned_to}</span>}
          </div>
        </div>
      ),
    };
  });
}

function edgesOf(plan: PlanView): readonly FlowEdge[] {
  return plan.plan.tasks.flatMap((task) =>
    task.dependencies.map((from) => {
      const condition = task.when?.task_id === from ? `if ${task.when.field} = ${String(task.when.equals)}` : "";
      return {
        from,
        to: task.task_id,
        ...(condition ? { label: condition } : {}),
        moving: plan.tasks[task.task_id]?.state === "running",
      };
    }),
  );
}

export function lasted(task: TaskView, nowUs: number): number | null {
  if (task.orderedUs === null) return null;
  return ((task.endedUs ?? Math.max(nowUs, task.orderedUs)) - task.orderedUs) / 1_000;
}

function TaskTable({ plan, diff, nowUs }: { plan: PlanView; diff: PlanDiff | null; nowUs: number }) {
  return (
    <Table label="Plan as a table" heads={["task", "what", "state", "agent", "after", number("took"), "found or did"]}>
      {plan.plan.tasks.map((task) => {
        const view = plan.tasks[task.task_id]!;
        const mark = diff ? MARK[diff.marks[task.task_id] ?? "same"] : "";
        return (
          <tr key={task.task_id}>
            <td>
              <a href={href("plan", { plan: nameOf(plan), task: task.task_id })}>{view.journalId}</a>
            </td>
            <td>
              {task.type} {task.target} {mark ? <span className="chip tone-ai">{mark}</span> : null}
            </td>
            <td>
              <Badge look={TASK[view.state]} />
            </td>
            <td>{view.agent ?? <span className="faint">{task.assigned_to}</span>}</td>
            <td>{task.dependencies.join(", ") || <span className="faint">–</span>}</td>
            <td className="number">{span(lasted(view, nowUs))}</td>
            <td className="wraps">{view.sentence || <span className="faint">–</span>}</td>
          </tr>
        );
      })}
    </Table>
  );
}

function TaskDetail({ plan, task, was }: { plan: PlanView; task: TaskView; was: string | undefined }) {
  const spec = plan.plan.tasks.find((item) => item.task_id === task.id)!;
  const { nowUs } = useShown();
  const close = (
    <button type="button" className="quiet" onClick={() => adjust({ task: null })} aria-label="Close the details">
      <Icon name="cross" />
    </button>
  );
  return (
    <Panel title={`${task.journalId}: ${spec.type} ${spec.target}`} aside={close} className="side">
      <p>
        <Badge look={TASK[task.state]} /> {task.risk ? <Badge look={RISK[task.risk]} /> : null}
      </p>
      <Facts
        rows={[
          ["arguments", argsOf(spec.args) || "none"],
          ["after", spec.dependencies.join(", ") || "nothing"],
          ["condition", spec.when ? `${spec.when.task_id}: ${spec.when.field} = ${String(spec.when.equals)}` : "none"],
          ["agent", task.agent ?? spec.assigned_to],
          ["attempt", task.attempt || "–"],
          ["ordered", <Moment us={task.orderedUs} />],
          ["claimed", <Moment us={task.claimedUs} />],
          ["ended", <Moment us={task.endedUs} />],
          ["took", span(lasted(task, nowUs))],
          ["changed the world", task.changed ? "yes" : "no"],
          ["error", task.errorCode ?? "none"],
        ]}
      />
      {was ? <p>Before: {was}</p> : null}
      {task.sentence ? <p>{task.sentence}</p> : null}
      {task.evidence.length > 0 ? <Said text={task.evidence.join("\n")} /> : null}
      <a href={href("timeline", { q: task.journalId })}>Its messages in the timeline</a>
    </Panel>
  );
}
