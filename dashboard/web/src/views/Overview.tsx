import { api } from "../api/client";
import { useReading } from "../api/useReading";
import { useNow, useShown } from "../app/context";
import { href } from "../app/route";
import { useLive } from "../app/store";
import { Badge, CopyCommand, Empty, Failure, Moment, Panel } from "../parts/basic";
import { ago, percent, span } from "../parts/format";
import { Icon } from "../parts/icons";
import { lookOfEntry, sentenceOf } from "../parts/rows";
import { lookOf, phaseLook, type Look } from "../parts/states";
import { PROMISED_MS } from "../world/agents";
import type { World } from "../world/model";
import { meter, openIncidents, phase } from "../world/select";

export default function Overview() {
  return (
    <>
      <Banner />
      <Meter />
      <div className="columns">
        <Incidents />
        <Health />
      </div>
      <Latest />
    </>
  );
}

/** The start-up banner of the spec: today's figures, large. */
function Banner() {
  const { world } = useShown();
  const closed = Object.values(world.incidents).filter((item) => item.closed).length;
  const figures = useReading(api.figures, `figures${closed}`, 20_000);
  const data = figures.data;
  const rate = data && data.injected > 0 ? data.recovered / data.injected : null;
  return (
    <section className="banner" aria-label="Today">
      <div className="banner-main">
        <p className="banner-figure">{rate === null ? "–" : percent(rate)}</p>
        <p>
          {data
            ? data.injected > 0
              ? `recovered: ${data.recovered} of ${data.injected} injected faults today`
              : "no fault has been injected today"
            : "today's figures"}
        </p>
      </div>
      <dl>
        <div>
          <dt>Success rate (SR)</dt>
          <dd>{percent(data?.sr)}</dd>
        </div>
        <div>
          <dt>Mean replan latency (MRL)</dt>
          <dd>{data?.mrl_s == null ? "–" : span(data.mrl_s * 1_000)}</dd>
        </div>
        <div>
          <dt>Median time to recover</dt>
          <dd>{data?.mttr_s == null ? "–" : span(data.mttr_s * 1_000)}</dd>
        </div>
      </dl>
      {figures.error ? <Failure sentence={figures.error} again={figures.again} /> : null}
    </section>
  );
}

function Meter() {
  const { world } = useShown();
  const { reassignMs, planMs, repairMs } = meter(world);
  return (
    <section className="meter" aria-label="Latency meter">
      <Reading name="Last reassignment" ms={reassignMs} promised={PROMISED_MS} to={href("agents")} />
      <Reading name="Last plan" ms={planMs} to={href("plan")} />
      <Reading name="Last repair, proved" ms={repairMs} to={href("incident")} />
    </section>
  );
}

function Reading({ name, ms, promised, to }: { name: string; ms: number | null; promised?: number; to: string }) {
  const look: Look | null =
    promised === undefined || ms === null
      ? null
      : ms <= promised
        ? { word: `within ${promised} ms`, icon: "check", tone: "good" }
        : { word: `over ${promised} ms`, icon: "cross", tone: "bad" };
  return (
    <a className="reading" href={to}>
      <span>{name}</span>
      <strong>{span(ms)}</strong>
      {look ? <Badge look={look} /> : null}
      {promised === undefined ? null : (
        <span className="gauge" aria-hidden="true">
          <i style={{ width: `${ms === null ? 0 : Math.min(100, (ms / promised) * 100)}%` }} className={look ? `tone-${look.tone}` : ""} />
        </span>
      )}
    </a>
  );
}

const LATEST = 8;

/** What was said last: a glance before the timeline. */
function Latest() {
  const { world } = useShown();
  const rows = world.entries.slice(-LATEST).reverse();
  return (
    <Panel title="Latest" aside={<a href={href("timeline")}>Timeline</a>}>
      {rows.length === 0 ? <Empty>The journal is empty.</Empty> : null}
      <ul className="log">
        {rows.map((entry) => (
          <li key={entry.seq}>
            <a href={href("timeline", { seq: String(entry.seq) })}>
              <Moment us={entry.time_us} />
            </a>{" "}
            <Badge look={lookOfEntry(entry)} /> {sentenceOf(entry)}
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Incidents() {
  const { world, live } = useShown();
  const open = openIncidents(world);
  const recent = world.incidentOrder.filter((id) => world.incidents[id]?.closed).slice(0, 6);
  return (
    <Panel title="Incidents" aside={live ? <a href={href("incident")}>Report one</a> : null}>
      {open.length === 0 ? <Empty>None is open.</Empty> : null}
      <ul className="plain">
        {[...open.map((item) => item.id), ...recent].map((id) => {
          const view = world.incidents[id]!;
          const now = phase(view);
          return (
            <li key={id} className="incident-row">
              <Badge look={phaseLook(now.name)} />
              <a href={href("incident", { incident: id })}>{id}</a>
              <span className="faint">
                <Moment us={view.reportedUs} relative />
              </span>
              <span className="incident-text">{view.closed ? view.text : now.detail || view.text}</span>
            </li>
          );
        })}
      </ul>
      {world.incidentOrder.length === 0 ? <CopyCommand line="triage demo" /> : null}
    </Panel>
  );
}

function Health() {
  const { world, snapshot, nowUs, live } = useShown();
  const { link, heardMs } = useLive();
  const now = useNow(1_000);
  const devices = snapshot?.inventory.devices ?? [];
  const agents = Object.values(world.agents).filter((agent) => agent.state === "up" && AGENT_ROLES.includes(agent.role));
  return (
    <Panel title="Health" aside={<a href={href("topology")}>Topology</a>}>
      <ul className="tiles">
        {devices.map((device) => (
          <li key={device.name}>
            <a href={href("topology", { node: device.name })}>{device.name}</a> <Badge look={lookOf(world.devices[device.name], nowUs)} />
          </li>
        ))}
      </ul>
      <p>
        <Icon name="agent" /> {agents.length} agents connected; the journal is at {world.head.toLocaleString("en-GB")}
        {live && heardMs ? `, last heard of ${ago(Math.max(0, now - heardMs))}` : ""}.
      </p>
      <p>
        <Audit world={world} />
      </p>
      {link === "broken" && live ? <Failure sentence="What stands here is from before the connection was lost." /> : null}
    </Panel>
  );
}

const AGENT_ROLES = ["log", "metric", "action", "runbook"];

function Audit({ world }: { world: World }) {
  const point = world.checkpoint?.payload;
  return (
    <>
      <Icon name="check" /> {point ? `${point.rows.toLocaleString("en-GB")} audit rows signed by checkpoint ${point.n}` : "no checkpoint of the audit seen yet"}
      {world.refused > 0 ? `; ${world.refused} ${world.refused === 1 ? "message" : "messages"} refused` : ""}. <CopyCommand line="triage audit verify" />
    </>
  );
}
