import type { ReactNode } from "react";
import { adjust, useRoute } from "../app/route";
import { Badge, CopyCommand, Empty, Facts, Hash, Moment, Said, TagBadge } from "../parts/basic";
import { argsOf, count, span } from "../parts/format";
import { IncidentPicker, useIncident } from "../parts/incident";
import type { Look } from "../parts/states";
import type { PlanningRun } from "../world/model";

export default function Model() {
  const incident = useIncident();
  const { params } = useRoute();
  const runs = [...(incident?.runs ?? [])].reverse();
  return (
    <>
      <IncidentPicker view="model" />
      {runs.length === 0 ? <Empty>No planning run yet.</Empty> : null}
      {runs.map((run, index) => (
        <Run key={run.id} run={run} open={params.run ? params.run === run.id : index === 0} />
      ))}
    </>
  );
}

function lookOf(run: PlanningRun): Look {
  if (run.decision === "accepted") return { word: "accepted", icon: "check", tone: "good" };
  if (run.decision === "rejected") return { word: "refused", icon: "cross", tone: "bad" };
  if (run.proposal?.unusable?.length) return { word: "unusable", icon: "cross", tone: "bad" };
  if (run.answer && run.answer.outcome !== "ok") return { word: run.answer.outcome, icon: "warn", tone: "warn" };
  if (run.prompt && !run.answer) return { word: "the model thinks", icon: "clock", tone: "busy" };
  return { word: run.proposal ? "proposed" : "asked", icon: "clock", tone: "busy" };
}

function Run({ run, open }: { run: PlanningRun; open: boolean }) {
  const title = `Version ${run.version}, attempt ${run.attempt}`;
  return (
    <details className="panel" open={open}>
      <summary
        onClick={(event) => {
          event.preventDefault();
          adjust({ run: open ? "none" : run.id });
        }}
      >
        <h2>{title}</h2>
        <Badge look={lookOf(run)} />
        {run.proposal ? <TagBadge tag={run.proposal.decision_tag} /> : null}
        <span className="faint">{run.answer ? `${run.answer.model} · ${span(run.answer.elapsed_ms)}` : run.prompt ? "" : "the rulebook, no model"}</span>
      </summary>
      {open ? <Body run={run} /> : null}
    </details>
  );
}

function Body({ run }: { run: PlanningRun }) {
  return (
    <>
      <Facts rows={facts(run)} />
      {run.answer ? <CopyCommand line={`triage llm show ${run.id}`} /> : null}
      {run.failures.length > 0 ? <Notes title="What failed before" lines={run.failures} /> : null}
      {run.proposal ? (
        <>
          <Notes title="Repaired or thought of by code" lines={run.proposal.repairs} />
          <Notes title="Filled in by code" lines={run.proposal.filled ?? []} />
          <Notes title="Why the answer is no plan" lines={(run.proposal.unusable ?? []).map((item) => `${item.code}: ${item.detail}`)} />
        </>
      ) : null}
      <Notes title="Why the scheduler refused it" lines={run.reasons.map((item) => `${item.code}: ${item.detail}`)} />
      <div className="columns">
        <Fold title={`Prompt (${run.messages.length} messages)`} start={false}>
          {run.messages.length === 0 ? <Empty>No model was asked in this run.</Empty> : null}
          {run.messages.map((message, index) => (
            <div key={index} className={`turn turn-${message.role}`}>
              <h4>{message.role}</h4>
              <Said text={message.content} lines={12} />
            </div>
          ))}
        </Fold>
        <Fold title="Response" start>
          {run.answer ? <Response run={run} /> : <Empty>No answer of a model.</Empty>}
        </Fold>
      </div>
    </>
  );
}

function Response({ run }: { run: PlanningRun }) {
  const answer = run.answer!;
  if (answer.outcome !== "ok") return <p>{answer.error || `The endpoint gave no answer: ${answer.outcome}.`}</p>;
  return <Said text={pretty(answer.response)} lines={24} />;
}

/** Indented if it is JSON; otherwise exactly as it came. */
function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function facts(run: PlanningRun): readonly (readonly [string, ReactNode])[] {
  const { answer, prompt } = run;
  const rows: (readonly [string, ReactNode])[] = [
    ["run", <code>{run.id}</code>],
    ["asked", <Moment us={run.requestedUs} />],
    ["plan after", span(run.requestedUs !== null && run.proposedUs !== null ? (run.proposedUs - run.requestedUs) / 1_000 : null)],
  ];
  if (prompt) {
    rows.push(["form", prompt.form ?? "hypothesis"], ["template", prompt.template || "–"], ["prompt hash", <Hash value={prompt.prompt_hash} />]);
  }
  if (answer) {
    rows.push(
      ["model", answer.model],
      ["settings", argsOf(answer.settings)],
      ["tokens", `${count(answer.prompt_tokens)} in, ${count(answer.completion_tokens)} out`],
      ["seconds", (answer.elapsed_ms / 1_000).toFixed(2)],
      ["held to the schema", answer.structured === true ? "yes" : answer.structured === false ? "no" : "–"],
      ["ended because", answer.finish_reason || "–"],
      ["response hash", <Hash value={answer.response_hash} />],
    );
    if (answer.timings) rows.push(["the server's timings", argsOf(answer.timings)]);
  }
  return rows;
}

function Notes({ title, lines }: { title: string; lines: readonly string[] }) {
  if (lines.length === 0) return null;
  return (
    <section>
      <h3>{title}</h3>
      <ul>
        {lines.map((line, index) => (
          <li key={index}>{line}</li>
        ))}
      </ul>
    </section>
  );
}

function Fold({ title, start, children }: { title: string; start: boolean; children: ReactNode }) {
  return (
    <details className="fold" open={start}>
      <summary>
        <h3>{title}</h3>
      </summary>
      {children}
    </details>
  );
}
