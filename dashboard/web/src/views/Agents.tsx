import { useMemo } from "react";
import { api } from "../api/client";
import type { AgentRow } from "../api/types";
import { useReading } from "../api/useReading";
import { useShown } from "../app/context";
import { href } from "../app/route";
import { useLive } from "../app/store";
import { Badge, CopyCommand, Empty, Facts, Failure, Moment, Panel } from "../parts/basic";
import { command, span } from "../parts/format";
import { Icon } from "../parts/icons";
import { KillButton } from "../parts/kill";
import { AGENT } from "../parts/states";
import { number, Table } from "../parts/table";
import { PROMISED_MS, reassignedMs } from "../world/agents";
import type { AgentView } from "../world/model";

export default function Agents() {
  const { world, live } = useShown();
  const { besides } = useLive();
  const lost = Object.values(world.agents).filter((agent) => agent.state === "lost").length;
  const rows = useReading(api.agents, `agents${besides}-${lost}`, 2_000);
  const byName = useMemo(() => new Map((live ? (rows.data?.agents ?? []) : []).map((row) => [row.agent, row])), [rows.data, live]);
  const names = useMemo(
    () => [...new Set([...Object.keys(world.agents), ...byName.keys()])].sort(),
    [world.agents, byName],
  );
  return (
    <>
      <p className="lead">
        Put the focus on an agent (Tab or a click) and press <kbd>F12</kbd> or <kbd>Shift</kbd>+<kbd>K</kbd>: its process is killed for
        real, and its work goes to another one.
      </p>
      {rows.error ? <Failure sentence={rows.error} again={rows.again} /> : null}
      {names.length === 0 ? <Empty>No agent has connected yet.</Empty> : null}
      <ul className="cards">
        {names.map((name) => (
          <AgentCard key={name} name={name} view={world.agents[name]} row={byName.get(name)} live={live} />
        ))}
      </ul>
      <Reassignments />
    </>
  );
}

function AgentCard({ name, view, row, live }: { name: string; view: AgentView | undefined; row: AgentRow | undefined; live: boolean }) {
  const { nowUs } = useShown();
  const look = row?.connected === false ? AGENT.lost : view ? AGENT[view.state] : row?.connected ? AGENT.up : AGENT.unknown;
  const work = view?.works[0];
  return (
    <li className={`card tone-${look.tone}`} tabIndex={0} data-agent={name} aria-label={`Agent ${name}: ${look.word}`}>
      <header>
        <h3>
          <Icon name="agent" /> {name}
        </h3>
        <Badge look={look} detail={view?.reason} />
      </header>
      <Facts
        rows={[
          ["kind", view?.role ?? row?.kind ?? "–"],
          ["heartbeat", row?.heartbeat_ms != null ? `${span(row.heartbeat_ms)} ago` : "–"],
          ["since", <Moment us={view?.sinceUs ?? null} relative />],
          [
            "works on",
            work ? (
              <a href={href("plan", { incident: work.incident, task: work.taskId.replace(/^v\d+-/, "") })}>
                {work.taskId} ({span(Math.max(0, nowUs - work.sinceUs) / 1_000)})
              </a>
            ) : (
              "nothing"
            ),
          ],
          ["ended well / failed", `${view?.done ?? 0} / ${view?.failed ?? 0}`],
        ]}
      />
      {live ? (
        <footer>
          <KillButton instance={name} />
          <CopyCommand line={command("triage", "kill", name)} />
        </footer>
      ) : null}
    </li>
  );
}

function Reassignments() {
  const { world } = useShown();
  const rows = [...world.reassignments].reverse().slice(0, 50);
  return (
    <Panel title="Reassignments" aside={<span className="faint">from the loss in the journal to the next claim; promised: {PROMISED_MS} ms</span>}>
      {rows.length === 0 ? (
        <Empty>No agent was lost with work in its hands.</Empty>
      ) : (
        <Table label="Reassignments" heads={["lost", "agent", "task", "went to", number("after"), "promise"]}>
          {rows.map((item) => {
            const ms = reassignedMs(item);
            const kept = ms !== null && ms <= PROMISED_MS;
            return (
              <tr key={`${item.subject}${item.lostUs}`}>
                <td>
                  <Moment us={item.lostUs} />
                </td>
                <td>{item.from}</td>
                <td>
                  <a href={href("timeline", { q: item.taskId })}>{item.taskId}</a>
                </td>
                <td>{item.to ?? <span className="faint">nobody yet</span>}</td>
                <td className="number">{span(ms)}</td>
                <td>
                  {ms === null ? (
                    <Badge look={{ word: "open", icon: "clock", tone: "warn" }} />
                  ) : (
                    <Badge look={kept ? { word: "kept", icon: "check", tone: "good" } : { word: "missed", icon: "cross", tone: "bad" }} />
                  )}
                </td>
              </tr>
            );
          })}
        </Table>
      )}
    </Panel>
  );
}
