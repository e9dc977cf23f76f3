import { useState } from "react";
import { api } from "../api/client";
import type { FaultKind, Faults as FaultsState, OpenFault, RunRow } from "../api/types";
import { useCommand } from "../api/useCommand";
import { useReading } from "../api/useReading";
import { useShown } from "../app/context";
import { href } from "../app/route";
import { useLive } from "../app/store";
import { Badge, CopyCommand, Empty, Failure, Loading, Moment, Panel } from "../parts/basic";
import { argsOf, command, count, percent, span } from "../parts/format";
import { Icon } from "../parts/icons";
import { phaseLook } from "../parts/states";
import { number, Table } from "../parts/table";

export default function Faults() {
  const { besides } = useLive();
  const { live } = useShown();
  const faults = useReading(api.faults, `faults${besides}`, 10_000);
  return (
    <>
      {faults.error ? <Failure sentence={faults.error} again={faults.again} /> : null}
      {!faults.data && !faults.error ? <Loading what="The catalogue of faults" /> : null}
      {faults.data ? (
        <>
          <Open open={faults.data.open} live={live} changed={faults.again} />
          <Inject state={faults.data} live={live} changed={faults.again} />
        </>
      ) : null}
      <Scenarios />
      <Runs />
    </>
  );
}

function Open({ open, live, changed }: { open: readonly OpenFault[]; live: boolean; changed: () => void }) {
  return (
    <Panel title="Open faults" aside={open.length > 0 ? <CopyCommand line="triage heal --all" /> : null}>
      {open.length === 0 ? <Empty>None: the world is as it should be, as far as the injector knows.</Empty> : null}
      <ul className="cards">
        {open.map((fault) => (
          <OpenCard key={fault.id} fault={fault} live={live} changed={changed} />
        ))}
      </ul>
    </Panel>
  );
}

function OpenCard({ fault, live, changed }: { fault: OpenFault; live: boolean; changed: () => void }) {
  const { busy, error, send } = useCommand();
  const heal = async (): Promise<void> => {
    if (await send((key) => api.heal(fault.id, key))) changed();
  };
  return (
    <li className="card tone-bad">
      <header>
        <h3>
          <Icon name="bolt" /> {fault.fault}
        </h3>
        <span>{fault.target}</span>
      </header>
      <p>
        {argsOf(fault.args)} since <Moment us={fault.since_us} relative />
      </p>
      {live ? (
        <button type="button" disabled={busy} onClick={() => void heal()}>
          {busy ? "Healing…" : "Heal"}
        </button>
      ) : null}
      {live ? <CopyCommand line={command("triage", "heal", fault.id)} /> : null}
      {error ? <Failure sentence={error} /> : null}
    </li>
  );
}

function Inject({ state, live, changed }: { state: FaultsState; live: boolean; changed: () => void }) {
  const [name, setName] = useState(state.catalogue[0]?.name ?? "");
  const kind = state.catalogue.find((item) => item.name === name);
  return (
    <Panel title="Break something for real">
      {!state.can_inject ? <Failure sentence={state.why_not ?? "Faults cannot be injected from here."} /> : null}
      {live && state.can_inject ? (
        <>
          <label>
            Fault{" "}
            <select value={name} onChange={(event) => setName(event.target.value)}>
              {state.catalogue.map((item) => (
                <option key={item.name}>{item.name}</option>
              ))}
            </select>
          </label>
          {kind ? <InjectForm key={kind.name} kind={kind} changed={changed} /> : null}
        </>
      ) : null}
      <details className="fold">
        <summary>
          <h3>The catalogue ({state.catalogue.length})</h3>
        </summary>
        <dl className="facts">
          {state.catalogue.map((item) => (
            <div key={item.name}>
              <dt>{item.name}</dt>
              <dd>{item.summary}</dd>
            </div>
          ))}
        </dl>
      </details>
    </Panel>
  );
}

function InjectForm({ kind, changed }: { kind: FaultKind; changed: () => void }) {
  const [target, setTarget] = useState(kind.targets[0] ?? "");
  const [args, setArgs] = useState<Readonly<Record<string, number>>>(
    Object.fromEntries(Object.entries(kind.args).map(([name, bounds]) => [name, bounds.default])),
  );
  const { busy, error, send } = useCommand();
  const line = command(
    "triage",
    "inject",
    kind.name,
    "--target",
    target,
    ...Object.entries(args).flatMap(([name, value]) => ["--arg", `${name}=${value}`]),
  );
  const inject = async (): Promise<void> => {
    if (await send((key) => api.inject(kind.name, target, args, key))) changed();
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void inject();
      }}
    >
      <p>{kind.summary}</p>
      <label>
        Target{" "}
        <select value={target} onChange={(event) => setTarget(event.target.value)}>
          {kind.targets.map((item) => (
            <option key={item}>{item}</option>
          ))}
        </select>
      </label>
      {Object.entries(kind.args).map(([name, bounds]) => (
        <label key={name}>
          {name} ({bounds.low}–{bounds.high})
          <input
            type="number"
            min={bounds.low}
            max={bounds.high}
            step="any"
            required
            value={args[name]}
            onChange={(event) => setArgs({ ...args, [name]: event.target.valueAsNumber })}
          />
        </label>
      ))}
      <button type="submit" className="danger" disabled={busy}>
        <Icon name="bolt" size={14} /> {busy ? "Injecting…" : "Inject"}
      </button>
      <CopyCommand line={line} />
      {error ? <Failure sentence={error} /> : null}
    </form>
  );
}

function Scenarios() {
  const reading = useReading(api.scenarios, "scenarios", 0);
  return (
    <Panel title="Scenarios" aside={<span className="faint">run on the command line, so that a closed page ends none</span>}>
      {reading.error ? <Failure sentence={reading.error} again={reading.again} /> : null}
      <ul className="plain">
        {(reading.data?.scenarios ?? []).map((item) => (
          <li key={item.name}>
            <CopyCommand line={command("triage", "run", item.name)} /> {item.summary}
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function figure(run: RunRow, name: string): number | null {
  const value = run.score[name];
  return typeof value === "number" ? value : null;
}

function Runs() {
  const reading = useReading(api.runs, "runs", 15_000);
  const runs = reading.data?.runs ?? [];
  const good = runs.filter((run) => run.score.success === true).length;
  return (
    <Panel title="Runs" aside={runs.length ? <span className="faint">{`${good} of ${runs.length} met the spec's condition (${percent(good / runs.length)})`}</span> : null}>
      {reading.error ? <Failure sentence={reading.error} again={reading.again} /> : null}
      {reading.data && runs.length === 0 ? <Empty>No scenario has been run on this stack.</Empty> : null}
      {runs.length > 0 ? (
        <Table label="Runs" heads={["started", "scenario", "verdict", "success", number("recovered after"), number("detected after"), number("MRL"), number("actions"), number("seed"), number("noise"), "incident"]}>
          {runs.map((run) => {
            const seconds = (name: string): string => {
              const value = figure(run, name);
              return value === null ? "–" : span(value * 1_000);
            };
            return (
              <tr key={run.id}>
                <td>
                  <Moment us={run.started_us} day />
                </td>
                <td>{run.scenario}</td>
                <td>
                  <Badge look={phaseLook(run.verdict)} />
                </td>
                <td>
                  <Badge look={run.score.success === true ? { word: "yes", icon: "check", tone: "good" } : { word: "no", icon: "cross", tone: "bad" }} />
                </td>
                <td className="number">{seconds("time_to_recover_s")}</td>
                <td className="number">{seconds("time_to_detect_s")}</td>
                <td className="number">{seconds("mrl_s")}</td>
                <td className="number">{count(figure(run, "actions"))}</td>
                <td className="number">{run.seed}</td>
                <td className="number">{run.noise}</td>
                <td>{run.incident ? <a href={href("incident", { incident: run.incident })}>{run.incident}</a> : "–"}</td>
              </tr>
            );
          })}
        </Table>
      ) : null}
    </Panel>
  );
}
