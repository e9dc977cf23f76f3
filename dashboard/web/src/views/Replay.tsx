import { api } from "../api/client";
import { useReading } from "../api/useReading";
import { useShown } from "../app/context";
import { format, href, useRoute } from "../app/route";
import { useLive } from "../app/store";
import { Badge, CopyCommand, Empty, Failure, Loading, Moment, Panel } from "../parts/basic";
import { Icon } from "../parts/icons";
import { lookOfEntry, sentenceOf } from "../parts/rows";
import { phaseLook } from "../parts/states";
import { isDecision } from "../replay/tape";
import { usePlayer } from "../replay/player";
import { phase } from "../world/select";

export default function Replay() {
  const { params } = useRoute();
  return params.replay ? <Playing /> : <Choose />;
}

function Choose() {
  const { world } = useLive();
  const recordings = useReading(api.recordings, "recordings", 0);
  return (
    <>
      <p className="lead">
        Choose what to look at again. The bar at the bottom then drives every view together: topology, plan, timeline, model. Nothing can be
        commanded in a replay but the halt.
      </p>
      <Panel title="From the journal">
        {world.incidentOrder.length === 0 ? <Empty>No incident stands in the journal.</Empty> : null}
        <ul className="plain">
          {world.incidentOrder.map((id) => {
            const view = world.incidents[id]!;
            return (
              <li key={id}>
                <a href={format("replay", { replay: `incident:${id}`, incident: id })}>{id}</a> <Badge look={phaseLook(phase(view).name)} />{" "}
                <Moment us={view.reportedUs} day /> <span className="faint">{view.text.slice(0, 100)}</span>
              </li>
            );
          })}
        </ul>
      </Panel>
      <Panel title="Recordings" aside={<CopyCommand line="triage demo" />}>
        {recordings.error ? <Failure sentence={recordings.error} again={recordings.again} /> : null}
        {!recordings.data && !recordings.error ? <Loading what="The list of recordings" /> : null}
        {recordings.data?.recordings.length === 0 ? <Empty>None lies in the folder recordings of the stack's home; every triage demo puts one there.</Empty> : null}
        <ul className="plain">
          {(recordings.data?.recordings ?? []).map((item) => (
            <li key={item.name}>
              <a href={format("replay", { replay: `recording:${item.name}`, incident: item.incident })}>{item.name}</a> {item.scenario}, seed{" "}
              {item.seed}, incident {item.incident}
            </li>
          ))}
        </ul>
      </Panel>
    </>
  );
}

const AROUND = 12;

function Playing() {
  const { tape, error, count, source } = usePlayer();
  const { world } = useShown();
  if (error) return <Failure sentence={error} />;
  if (!tape) return <Loading what="What is replayed" />;
  const rows = world.entries.slice(-AROUND).reverse();
  return (
    <div className="columns">
      <Panel title="Where it is" aside={<span className="faint">{source}</span>}>
        <p>
          Entry {count} of {tape.length}, <Moment us={world.timeUs} day />
        </p>
        <p className="bar">
          <a href={href("topology")}>Topology there</a>
          <a href={href("plan")}>Plan there</a>
          <a href={href("timeline")}>Timeline there</a>
          <a href={href("model")}>Model there</a>
          <a href={href("incident")}>Incident there</a>
        </p>
        <ul className="log" aria-label="Log at this place">
          {rows.map((entry) => (
            <li key={entry.seq}>
              <Moment us={entry.time_us} /> <Badge look={lookOfEntry(entry)} /> {sentenceOf(entry)}
            </li>
          ))}
        </ul>
        {rows.length === 0 ? <Empty>Before the first message.</Empty> : null}
      </Panel>
      <Panel title="Decisions" aside={<span className="faint">a link jumps there</span>}>
        <ul className="plain">
          {tape.entries.filter(isDecision).map((entry) => (
            <li key={entry.seq} className={entry.seq > world.head ? "faint" : ""}>
              <a href={href("replay", { at: String(entry.seq) })} data-jump={entry.seq}>
                <Moment us={entry.time_us} />
              </a>{" "}
              <Icon name={lookOfEntry(entry).icon} size={13} /> {sentenceOf(entry)}
            </li>
          ))}
        </ul>
      </Panel>
    </div>
  );
}
