import { useMemo } from "react";
import { api } from "../api/client";
import type { Device, OpenFault } from "../api/types";
import { useReading } from "../api/useReading";
import { useShown } from "../app/context";
import { adjust, href, useRoute } from "../app/route";
import { useLive } from "../app/store";
import type { Places, Structure } from "../layout/engine";
import { useLayout } from "../layout/useLayout";
import { Badge, CopyCommand, Empty, Facts, Loading, Moment, Panel, Said, Spark } from "../parts/basic";
import { bytes, percent, span } from "../parts/format";
import { Icon, type IconName } from "../parts/icons";
import { useNarrow } from "../parts/narrow";
import { KillButton } from "../parts/kill";
import { AGENT, lookOf } from "../parts/states";
import type { FlowEdge, FlowNode } from "../parts/flow";
import { Graph } from "../parts/graph";
import { number, Table } from "../parts/table";
import { actionsUnderWay, blames } from "../world/select";
import type { AgentView, DeviceView, World } from "../world/model";

const WIDTH = 190;
const HEIGHT = 92;
const MOST_ON_A_LINE = 18;

const KIND_ICON: Readonly<Record<Device["kind"], IconName>> = {
  service: "box",
  database: "database",
  cache: "bolt",
  queue: "stream",
  traffic: "users",
};

export default function Topology() {
  const { world, snapshot, nowUs, live } = useShown();
  const { params } = useRoute();
  const { besides } = useLive();
  const faults = useReading(api.faults, `faults${besides}`, 15_000);
  const narrow = useNarrow();
  const devices = snapshot?.inventory.devices ?? [];
  const structure = useMemo(() => structureOf(devices, narrow), [devices, narrow]);
  const base = useLayout(structure);
  const rows = useReading(api.agents, `agents${besides}`, 10_000);
  // Who connected before the monitor did is not in the journal.
  const known = useMemo(() => (live ? (rows.data?.agents ?? []) : []).filter((row) => row.connected !== null), [rows.data, live]);
  const agents = useMemo(() => agentNames(world, known.map((row) => row.agent)), [world.agents, known]);
  const open = live ? (faults.data?.open ?? []) : [];
  const nodes = useMemo(
    () => [...devices.map((device) => deviceNode(device, world, open, nowUs)), ...agents.map((name) => agentNode(name, world.agents[name], known.find((row) => row.agent === name)?.connected ?? false))],
    [devices, world, open, nowUs, agents, known],
  );
  const edges = useMemo(() => edgesOf(devices, world), [devices, world]);
  const places = useMemo(() => (base ? withAgents(base, structure, agents) : null), [base, structure, agents]);
  const selected = params.node ?? null;
  if (!snapshot) return <Loading what="The inventory" />;
  return (
    <div className="split">
      <Panel title="Services, dependencies and agents" aside={<Legend />} className="grows">
        <Graph
        nodes={nodes}
        edges={edges}
        places={places}
        down={narrow}
        selected={selected}
        onSelect={(node) => adjust({ node })}
        label="Topology. The same as a table stands below."
        />
        <DeviceTable devices={devices} world={world} faults={open} nowUs={nowUs} />
      </Panel>
      {selected ? <Detail id={selected} devices={devices} world={world} faults={open} nowUs={nowUs} /> : null}
    </div>
  );
}

function Legend() {
  return <span className="faint">An arrow points to what is needed. Figures: requests a second and good answers.</span>;
}

function structureOf(devices: readonly Device[], narrow: boolean): Structure {
  return {
    boxes: devices.map((device) => ({ id: device.name, width: WIDTH, height: HEIGHT })),
    edges: devices.flatMap((device) => device.depends_on.map((to) => ({ from: device.name, to }))),
    direction: narrow ? "DOWN" : "RIGHT",
  };
}

function agentNames(world: World, besides: readonly string[]): readonly string[] {
  const said = Object.values(world.agents)
    .filter((agent) => ["log", "metric", "action", "runbook"].includes(agent.role))
    .map((agent) => agent.instance);
  return [...new Set([...said, ...besides])].sort();
}

/** Agents stand in rows of their own below the services: coming and going moves no service. */
function withAgents(base: Places, structure: Structure, agents: readonly string[]): Places {
  const bottom = Math.max(0, ...structure.boxes.map((box) => (base[box.id]?.y ?? 0) + box.height));
  const right = Math.max(0, ...structure.boxes.map((box) => (base[box.id]?.x ?? 0) + box.width));
  const perRow = Math.max(1, Math.floor((right + 24) / (WIDTH + 24)));
  const placed = agents.map((name, index) => [
    name,
    { x: (index % perRow) * (WIDTH + 24), y: bottom + 56 + Math.floor(index / perRow) * (AGENT_HEIGHT + 20) },
  ]);
  return { ...base, ...(Object.fromEntries(placed) as Places) };
}

const AGENT_HEIGHT = 64;

function deviceNode(device: Device, world: World, faults: readonly OpenFault[], nowUs: number): FlowNode {
  const view = world.devices[device.name];
  const look = lookOf(view, nowUs);
  const fault = faultsAt(device.name, faults)[0];
  const acting = actionsUnderWay(world)[device.name];
  const error = view?.telemetry.error_code;
  return {
    id: device.name,
    width: WIDTH,
    height: HEIGHT,
    label: `${device.name}, ${device.kind}: ${look.word}${fault ? `, fault ${fault.fault} injected` : ""}${acting ? `, ${acting.type} under way` : ""}`,
    content: (
      <div className={`node tone-${look.tone}`}>
        <div className="node-head">
          <Icon name={KIND_ICON[device.kind]} />
          <strong>{device.name}</strong>
        </div>
        <Badge look={look} detail={error ?? undefined} />
        <div className="node-foot">
          {fault ? (
            <span className="chip tone-bad">
              <Icon name="bolt" size={12} /> {fault.fault}
            </span>
          ) : null}
          {acting ? (
            <span className="chip tone-busy">
              <Icon name="play" size={12} /> {acting.type}
            </span>
          ) : null}
          {!fault && !acting ? <span className="faint">{error ?? span(view?.telemetry.metrics.latency_ms)}</span> : null}
        </div>
      </div>
    ),
  };
}

/** Faults on a device, or on a link that starts there (`orders--shop-db`). */
export function faultsAt(name: string, faults: readonly OpenFault[]): readonly OpenFault[] {
  return faults.filter((fault) => fault.target === name || fault.target.split("--")[0] === name);
}

function agentNode(name: string, agent: AgentView | undefined, connected: boolean): FlowNode {
  const look = AGENT[agent?.state ?? (connected ? "up" : "unknown")];
  const work = agent?.works[0];
  return {
    id: name,
    width: WIDTH,
    height: AGENT_HEIGHT,
    label: `Agent ${name}: ${look.word}${work ? `, works on ${work.taskId}` : ""}. F12 or Shift K kills it.`,
    content: (
      <div className={`node agent tone-${look.tone}`} data-agent={name}>
        <div className="node-head">
          <Icon name="agent" />
          <strong>{name}</strong>
        </div>
        <div className="node-foot">
          <Badge look={look} />
          {work ? <span className="chip tone-busy">{work.taskId}</span> : null}
        </div>
      </div>
    ),
  };
}

/** What fits onto a line between two boxes; the whole of it stands in the table and beside the graph. */
function short(error: string): string {
  return error.length > MOST_ON_A_LINE ? `${error.slice(0, MOST_ON_A_LINE - 1)}…` : error;
}

function edgesOf(devices: readonly Device[], world: World): readonly FlowEdge[] {
  const callers = (name: string): number => devices.filter((device) => device.depends_on.includes(name)).length;
  return [
    ...devices.flatMap((device) =>
      device.depends_on.map((to): FlowEdge => {
        const blamed = blames(world.devices[device.name])[to];
        if (blamed !== undefined) return { from: device.name, to, label: `✕ ${short(blamed)}`, tone: "bad", dashed: true };
        const source = device.kind === "traffic" ? world.devices[device.name] : callers(to) === 1 ? world.devices[to] : undefined;
        return { from: device.name, to, ...traffic(source) };
      }),
    ),
    ...agentEdges(world),
  ];
}

/** What a device measured is true of an edge only if nobody else calls it. */
function traffic(source: DeviceView | undefined): Partial<FlowEdge> {
  const metrics = source?.telemetry.metrics;
  if (!metrics || metrics.request_rate === null) return {};
  const good = metrics.success_ratio;
  const bad = good !== null && good < 0.99;
  return {
    label: `${bad ? "✕ " : ""}${metrics.request_rate.toFixed(0)}/s · ${percent(good)}`,
    tone: bad ? "bad" : "good",
    dashed: bad,
  };
}

function agentEdges(world: World): readonly FlowEdge[] {
  return Object.entries(actionsUnderWay(world)).flatMap(([target, { task, type }]): FlowEdge[] =>
    task.agent && world.devices[target] ? [{ from: task.agent, to: target, label: type, tone: "busy", moving: true }] : [],
  );
}

function DeviceTable({ devices, world, faults, nowUs }: { devices: readonly Device[]; world: World; faults: readonly OpenFault[]; nowUs: number }) {
  return (
    <Table label="Services as a table" heads={["service", "state", number("latency"), number("rate"), number("good"), "last minute", "error", "fault"]}>
      {devices.map((device) => {
        const view = world.devices[device.name];
        const metrics = view?.telemetry.metrics;
        const fault = faultsAt(device.name, faults)[0];
        return (
          <tr key={device.name}>
            <td>
              <a href={href("topology", { node: device.name })}>{device.name}</a>
            </td>
            <td>
              <Badge look={lookOf(view, nowUs)} />
            </td>
            <td className="number">{span(metrics?.latency_ms)}</td>
            <td className="number">{metrics?.request_rate != null ? `${metrics.request_rate.toFixed(1)}/s` : "–"}</td>
            <td className="number">{percent(metrics?.success_ratio, 1)}</td>
            <td>
              <Spark values={view?.recent ?? []} label={`${device.name} over the last minute`} />
            </td>
            <td>{view?.telemetry.error_code ?? <span className="faint">–</span>}</td>
            <td>{fault ? fault.fault : <span className="faint">–</span>}</td>
          </tr>
        );
      })}
    </Table>
  );
}

interface DetailProps {
  id: string;
  devices: readonly Device[];
  world: World;
  faults: readonly OpenFault[];
  nowUs: number;
}

function Detail({ id, devices, world, faults, nowUs }: DetailProps) {
  const device = devices.find((item) => item.name === id);
  const agent = world.agents[id];
  const close = (
    <button type="button" className="quiet" onClick={() => adjust({ node: null })} aria-label="Close the details">
      <Icon name="cross" />
    </button>
  );
  if (agent && !device) {
    return (
      <Panel title={id} aside={close} className="side">
        <Badge look={AGENT[agent.state]} detail={agent.reason} />
        <Facts
          rows={[
            ["role", agent.role],
            ["since", <Moment us={agent.sinceUs} relative />],
            ["works on", agent.works.map((work) => work.taskId).join(", ") || "nothing"],
            ["ended well / failed", `${agent.done} / ${agent.failed}`],
          ]}
        />
        <KillButton instance={id} />
        <CopyCommand line={`triage kill ${id}`} />
      </Panel>
    );
  }
  if (!device) {
    return (
      <Panel title={id} aside={close} className="side">
        <Empty>Nothing of this name exists here.</Empty>
      </Panel>
    );
  }
  const view = world.devices[id];
  const metrics = view?.telemetry.metrics;
  return (
    <Panel title={id} aside={close} className="side">
      <Badge look={lookOf(view, nowUs)} />
      <Facts
        rows={[
          ["kind", device.kind],
          ["may be changed by agents", device.managed ? "yes" : "no"],
          ["needs", device.depends_on.join(", ") || "nothing"],
          ["needed by", devices.filter((item) => item.depends_on.includes(id)).map((item) => item.name).join(", ") || "nobody"],
          ["CPU", metrics?.cpu_load != null ? `${metrics.cpu_load.toFixed(2)} cores` : "–"],
          ["memory", bytes(metrics?.mem_usage)],
          ["latency", span(metrics?.latency_ms)],
          ["heard of", <Moment us={view?.seenUs ?? null} relative />],
          ["error", view?.telemetry.error_code ?? "–"],
        ]}
      />
      {view?.telemetry.note ? <p>It blames: {view.telemetry.note}</p> : null}
      {view?.telemetry.log_sample ? <Said text={view.telemetry.log_sample} /> : null}
      {faultsAt(id, faults).map((fault) => (
        <p key={fault.id} className="chip tone-bad">
          <Icon name="bolt" size={12} /> {fault.fault} on {fault.target}
        </p>
      ))}
      <a href={href("timeline", { q: id })}>Its messages in the timeline</a>
    </Panel>
  );
}
