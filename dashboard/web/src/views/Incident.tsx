import { useState } from "react";
import { api } from "../api/client";
import { useCommand } from "../api/useCommand";
import { useReading } from "../api/useReading";
import { useShown } from "../app/context";
import { go, href } from "../app/route";
import { Badge, CopyCommand, Empty, Facts, Failure, Moment, Panel, Said } from "../parts/basic";
import { command, percent, span } from "../parts/format";
import { Icon } from "../parts/icons";
import { IncidentPicker, useIncident } from "../parts/incident";
import { phaseLook, TASK } from "../parts/states";
import type { IncidentView } from "../world/model";
import { currentPlan, phase } from "../world/select";
import { ApprovalCard } from "./Approvals";

const MAX_TEXT = 8_192;

export default function Incident() {
  const incident = useIncident();
  const { live } = useShown();
  return (
    <>
      {live ? <ReportForm /> : null}
      <IncidentPicker view="incident" />
      {incident ? <Story incident={incident} /> : <Empty>Nothing was reported yet. Say above, in your own words, what is broken.</Empty>}
    </>
  );
}

function ReportForm() {
  const [text, setText] = useState("");
  const { busy, error, send } = useCommand();
  const submit = async (): Promise<void> => {
    const done = await send((key) => api.report(text, key));
    if (!done) return;
    setText("");
    if (done.incident) go("incident", { incident: done.incident });
  };
  return (
    <Panel title="Report an incident" aside={text.trim() ? <CopyCommand line={command("triage", "report", text, "--wait")} /> : null}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <label>
          <span className="hidden">What is broken</span>
          <textarea
            rows={2}
            maxLength={MAX_TEXT}
            placeholder="Say it as you would to a colleague: “cant place orders!! getting 500s since ten, db maybe??”"
            value={text}
            onChange={(event) => setText(event.target.value)}
          />
        </label>
        {error ? <Failure sentence={error} /> : null}
        <button type="submit" className="primary" disabled={busy || !text.trim()}>
          {busy ? "Reporting…" : "Report"}
        </button>
      </form>
    </Panel>
  );
}

function Story({ incident }: { incident: IncidentView }) {
  const now = phase(incident);
  const plan = currentPlan(incident);
  const { world, live } = useShown();
  const approvals = Object.values(world.approvals).filter((item) => item.incident === incident.id && item.state === "open");
  return (
    <>
      <Questions incident={incident} live={live} />
      {approvals.map((item) => (
        <ApprovalCard key={item.taskId} approval={item} />
      ))}
      <div className="columns">
        <Panel title={incident.id} aside={<Badge look={phaseLook(now.name)} />}>
          <Said text={incident.text} />
          <Facts
            rows={[
              ["reported by", incident.source],
              ["reported", <Moment us={incident.reportedUs} day />],
              ["now", now.detail || now.name],
              ["closed", <Moment us={incident.closed?.time_us ?? null} day />],
              ["took", incident.closed ? span((incident.closed.time_us - incident.reportedUs) / 1_000) : "–"],
              ...ending(incident),
            ]}
          />
          <CopyCommand line={command("triage", "tail", "--incident", incident.id)} />
        </Panel>
        <Panel title="Hypothesis" aside={plan ? <a href={href("plan", { incident: incident.id })}>The plan</a> : null}>
          {plan ? (
            <>
              <p className="lead">
                <strong>{plan.plan.hypothesis.fault_class.replaceAll("_", " ")}</strong> at <strong>{plan.plan.hypothesis.target}</strong>,{" "}
                {percent(plan.plan.hypothesis.confidence)} sure
              </p>
              <ul>
                {(plan.plan.hypothesis.evidence ?? []).map((line, index) => (
                  <li key={index}>{line}</li>
                ))}
              </ul>
            </>
          ) : (
            <Empty>None yet.</Empty>
          )}
        </Panel>
      </div>
      <Evidence incident={incident} />
      <Verdict incident={incident} />
      <SimilarOnes incident={incident} />
    </>
  );
}

/** What only some ends have. */
function ending({ closed }: IncidentView): readonly (readonly [string, string])[] {
  const unapproved = closed?.payload.unapproved ?? [];
  const merged = closed?.payload.merged_into;
  return [
    ...(unapproved.length > 0 ? [["nobody decided on", unapproved.join(", ")] as const] : []),
    ...(merged ? [["merged into", merged] as const] : []),
  ];
}

function Questions({ incident, live }: { incident: IncidentView; live: boolean }) {
  if (incident.questions.length === 0) return null;
  const waits = phase(incident).name === "asks you";
  return (
    <Panel title="Clarifying questions">
      {incident.questions.map((item) => (
        <div key={item.n} className="question">
          <p className="lead">
            <Icon name="question" /> {item.question}
          </p>
          {item.answer !== null ? (
            <p>
              Answered: <q>{item.answer}</q>
            </p>
          ) : waits && live ? (
            <AnswerForm incident={incident.id} waitS={item.waitS} askedUs={item.askedUs} />
          ) : (
            <p className="faint">Not answered in time; the rulebook went on.</p>
          )}
        </div>
      ))}
    </Panel>
  );
}

function AnswerForm({ incident, waitS, askedUs }: { incident: string; waitS: number; askedUs: number }) {
  const [text, setText] = useState("");
  const { nowUs } = useShown();
  const { busy, error, send } = useCommand();
  const left = askedUs / 1_000 + waitS * 1_000 - nowUs / 1_000;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void send((key) => api.answer(incident, text, key));
      }}
    >
      <label>
        Your answer
        <input type="text" value={text} maxLength={MAX_TEXT} onChange={(event) => setText(event.target.value)} />
      </label>
      <button type="submit" className="primary" disabled={busy || !text.trim()}>
        Answer
      </button>
      <span className="faint">{left > 0 ? `it waits ${span(left)} more` : "the time is over"}</span>
      {error ? <Failure sentence={error} /> : null}
      {text.trim() ? <CopyCommand line={command("triage", "answer", incident, text)} /> : null}
    </form>
  );
}

function Evidence({ incident }: { incident: IncidentView }) {
  const done = incident.plans.flatMap((plan) =>
    plan.plan.tasks.flatMap((spec) => {
      const task = plan.tasks[spec.task_id];
      return task && task.sentence ? [{ plan, spec, task }] : [];
    }),
  );
  return (
    <Panel title="Evidence and actions">
      {incident.deviations.map((item) => (
        <p key={item.seq}>
          <Badge look={{ word: "deviation", icon: "warn", tone: "warn" }} /> <strong>{item.payload.device}</strong>: {item.payload.detail}{" "}
          <span className="faint">
            <Moment us={item.payload.t_trigger_us} />
          </span>
        </p>
      ))}
      {done.length === 0 ? <Empty>No agent has answered yet.</Empty> : null}
      {done.map(({ plan, spec, task }) => (
        <details key={task.journalId + String(plan.attempt)} className="fold">
          <summary>
            <Badge look={TASK[task.state]} />
            <strong>
              {spec.type} {spec.target}
            </strong>
            {task.changed ? <Badge look={{ word: "changed the world", icon: "bolt", tone: "busy" }} /> : null}
            <span>{task.sentence}</span>
          </summary>
          {task.evidence.length > 0 ? <Said text={task.evidence.join("\n")} lines={14} /> : <Empty>No lines were kept.</Empty>}
        </details>
      ))}
    </Panel>
  );
}

function Verdict({ incident }: { incident: IncidentView }) {
  return (
    <Panel title="Verdict, clause by clause">
      {incident.checks.length === 0 ? <Empty>Not checked yet.</Empty> : null}
      {incident.checks.map((check) => {
        const { ok, reasons, success_ratio, samples, window_s, plan_version } = check.payload;
        return (
          <div key={check.seq}>
            <p>
              <Badge look={ok ? { word: "holds", icon: "check", tone: "good" } : { word: "does not hold", icon: "cross", tone: "bad" }} /> check{" "}
              {check.payload.n} after plan {plan_version}, <Moment us={check.time_us} />
            </p>
            <Facts
              rows={[
                ["users' requests answered well", percent(success_ratio, 2)],
                ["watched for", `${window_s} s, ${samples} samples`],
              ]}
            />
            <ul>
              {reasons.map((reason, index) => (
                <li key={index}>{reason}</li>
              ))}
            </ul>
          </div>
        );
      })}
      {incident.closed ? (
        <p className="lead">
          <Badge look={phaseLook(incident.closed.payload.verdict)} /> {incident.closed.payload.reason}
        </p>
      ) : null}
    </Panel>
  );
}

function SimilarOnes({ incident }: { incident: IncidentView }) {
  const reading = useReading(() => api.similar(incident.id), `similar${incident.id}${incident.closed ? "x" : ""}`, 0);
  return (
    <Panel title="Similar past incidents">
      {reading.error ? <Failure sentence={reading.error} again={reading.again} /> : null}
      {reading.data && reading.data.similar.length === 0 ? <Empty>None that was repaired.</Empty> : null}
      <ul>
        {(reading.data?.similar ?? []).map((item) => (
          <li key={item.incident}>
            <a href={href("incident", { incident: item.incident })}>{item.incident}</a>: {item.fault_class.replaceAll("_", " ")} at {item.target}
            {item.likeness !== null ? `, ${percent(item.likeness)} alike` : ""}. {item.actions.join(", ")}
            <Said text={item.text} lines={2} />
          </li>
        ))}
      </ul>
    </Panel>
  );
}
