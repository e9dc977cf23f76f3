import { useMemo, useState } from "react";
import { api } from "../api/client";
import type { Broker as BrokerState } from "../api/types";
import { useReading } from "../api/useReading";
import { useShown } from "../app/context";
import { href } from "../app/route";
import type { Entry } from "../journal/messages";
import { Badge, CopyCommand, Empty, Failure, Loading, Moment, Panel, TagBadge } from "../parts/basic";
import { bytes, count, span } from "../parts/format";
import { lookOfEntry, sentenceOf } from "../parts/rows";
import { number, Table } from "../parts/table";

export default function Broker() {
  const { world } = useShown();
  const reading = useReading(api.broker, "broker", 3_000);
  const data = reading.data;
  const dead = useMemo(() => deadOf(world.entries), [world.entries]);
  return (
    <>
      {reading.error ? <Failure sentence={reading.error} again={reading.again} /> : null}
      {!data && !reading.error ? <Loading what="The broker's state" /> : null}
      {data?.error ? <Failure sentence={data.error} again={reading.again} /> : null}
      {data ? <Server state={data} /> : null}
      <Panel title="Dead letters" aside={<span className="faint">tasks that no agent finished</span>}>
        {dead.length === 0 ? <Empty>None: every task found an agent that finished it.</Empty> : <Messages entries={dead} />}
      </Panel>
      <Browse />
    </>
  );
}

function deadOf(entries: readonly Entry[]): readonly Entry[] {
  return entries.filter((entry) => entry.refusal === null && entry.type === "dead").slice(-50);
}

function Server({ state }: { state: BrokerState }) {
  return (
    <>
      <Panel
        title="Streams"
        aside={
          state.monitor_url ? (
            <a href={state.monitor_url} target="_blank" rel="noreferrer">
              The server's own monitoring
            </a>
          ) : null
        }
      >
        <Table label="Streams" heads={["stream", number("messages"), number("size"), number("first"), number("last"), number("subjects")]}>
          {state.streams.map((stream) => (
            <tr key={stream.name}>
              <td>{stream.name}</td>
              <td className="number">{count(stream.messages)}</td>
              <td className="number">{bytes(stream.bytes)}</td>
              <td className="number">{count(stream.first_seq)}</td>
              <td className="number">{count(stream.last_seq)}</td>
              <td className="number">{count(stream.subjects)}</td>
            </tr>
          ))}
        </Table>
      </Panel>
      <Panel title="Consumers" aside={<span className="faint">lag is what nobody has taken yet</span>}>
        <Table label="Consumers" heads={["consumer", "stream", "state", number("lag"), number("in hand"), number("redelivered"), number("pulls waiting")]}>
          {state.consumers.map((item) => (
            <tr key={`${item.stream}/${item.name}`}>
              <td>{item.name}</td>
              <td>{item.stream}</td>
              <td>
                <Badge look={item.pending > 0 && item.waiting === 0 ? { word: "behind", icon: "warn", tone: "warn" } : { word: "keeps up", icon: "check", tone: "good" }} />
              </td>
              <td className="number">{count(item.pending)}</td>
              <td className="number">{count(item.ack_pending)}</td>
              <td className="number">{count(item.redelivered)}</td>
              <td className="number">{count(item.waiting)}</td>
            </tr>
          ))}
        </Table>
      </Panel>
      <Panel title="Connections" aside={<span className="faint">{state.connections.length}</span>}>
        <Table label="Connections" heads={["name", "user", "state", number("round trip"), number("idle"), number("in"), number("out")]}>
          {state.connections.map((item, index) => (
            <tr key={`${item.name}${index}`}>
              <td>{item.name}</td>
              <td>{item.user}</td>
              <td>
                <Badge look={item.slow ? { word: "slow", icon: "warn", tone: "warn" } : { word: "well", icon: "check", tone: "good" }} />
              </td>
              <td className="number">{span(item.rtt_ms)}</td>
              <td className="number">{item.idle_s === null ? "–" : span(item.idle_s * 1_000)}</td>
              <td className="number">{count(item.in_msgs)}</td>
              <td className="number">{count(item.out_msgs)}</td>
            </tr>
          ))}
        </Table>
      </Panel>
    </>
  );
}

const PAGE = 50;

/** The journal page by page, telemetry and timers too, as the broker holds it. */
function Browse() {
  const { world } = useShown();
  const [before, setBefore] = useState<number | null>(null);
  const [all, setAll] = useState(false);
  const reading = useReading(
    () => api.journal({ limit: PAGE, telemetry: all, ...(before === null ? {} : { before }) }),
    `browse${before ?? "newest"}${String(all)}`,
    before === null ? 2_000 : 0,
  );
  const entries = reading.data?.entries ?? [];
  const oldest = entries[0]?.seq ?? 0;
  return (
    <Panel title="Messages" aside={<CopyCommand line="triage tail --last 50 --telemetry --json" />}>
      <div className="bar">
        <label className="check">
          <input type="checkbox" checked={all} onChange={(event) => setAll(event.target.checked)} /> telemetry and timers too
        </label>
        <button type="button" className="quiet" disabled={before === null} onClick={() => setBefore(null)}>
          Newest
        </button>
        <button type="button" className="quiet" disabled={entries.length < PAGE} onClick={() => setBefore(oldest)}>
          Older
        </button>
        <span className="faint">
          the journal's head is {count(world.head)}; refused messages on this page: {entries.filter((entry) => entry.refusal !== null).length}
        </span>
      </div>
      {reading.error ? <Failure sentence={reading.error} again={reading.again} /> : null}
      {reading.data ? entries.length ? <Messages entries={entries} /> : <Empty>Nothing stands here.</Empty> : <Loading what="The journal" />}
    </Panel>
  );
}

function Messages({ entries }: { entries: readonly Entry[] }) {
  return (
    <Table label="Messages" heads={[number("seq"), "time", "kind", "signature", "sender", number("key"), "decided by", "subject", "says"]}>
      {[...entries].reverse().map((entry) => (
        <tr key={entry.seq}>
          <td className="number">
            <a href={href("timeline", { seq: String(entry.seq) })}>{entry.seq}</a>
          </td>
          <td>
            <Moment us={entry.time_us} />
          </td>
          <td>
            <Badge look={lookOfEntry(entry)} />
          </td>
          <td>
            <Badge
              look={entry.refusal === null ? { word: "verified", icon: "check", tone: "good" } : { word: entry.refusal, icon: "stop", tone: "bad" }}
            />
          </td>
          <td>{entry.sender ?? "–"}</td>
          <td className="number">{entry.key_version ?? "–"}</td>
          <td>{entry.tag ? <TagBadge tag={entry.tag} /> : "–"}</td>
          <td>
            <code>{entry.subject}</code>
          </td>
          <td className="wraps">{sentenceOf(entry)}</td>
        </tr>
      ))}
    </Table>
  );
}
