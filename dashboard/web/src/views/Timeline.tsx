import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { api, ApiError } from "../api/client";
import { useShown } from "../app/context";
import { adjust, href, useRoute, type Params } from "../app/route";
import type { Entry } from "../journal/messages";
import { incidentOf, taskOf } from "../journal/messages";
import { Badge, CopyButton, CopyCommand, Empty, Facts, Moment, Panel, Said, TagBadge } from "../parts/basic";
import { linesOf, strip, windowOf, type Line } from "../parts/compress";
import { command, span } from "../parts/format";
import { Icon } from "../parts/icons";
import { useNarrow } from "../parts/narrow";
import { ProofPanel } from "../parts/proof";
import { announce } from "../parts/toasts";
import { haystack, lookOfEntry, sentenceOf } from "../parts/rows";

const GAP_US = 5_000_000;
const LONGEST_US = 3_000_000;
const BINS = 96;
const ROW = 34;
const ROW_NARROW = 58;

const GROUPS = ["incident", "plan", "task", "claim", "result", "approval", "agent", "control", "deviation", "verified", "audit", "refused"] as const;

const searched = new WeakMap<Entry, string>();

function found(entry: Entry, words: readonly string[]): boolean {
  let text = searched.get(entry);
  if (text === undefined) searched.set(entry, (text = haystack(entry)));
  return words.every((word) => text.includes(word));
}

/** What the address asks for. */
export function filtered(entries: readonly Entry[], params: Params): readonly Entry[] {
  const words = (params.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const { group, tag } = params;
  const from = Number(params.from ?? 0);
  const to = Number(params.to ?? Infinity);
  return entries.filter(
    (entry) =>
      entry.seq >= from &&
      entry.seq <= to &&
      (!group || (group === "refused" ? entry.refusal !== null : entry.refusal === null && entry.type.split(".")[0] === group)) &&
      (!tag || entry.tag === tag) &&
      (!params.only || incidentOf(entry) === params.only) &&
      (words.length === 0 || found(entry, words)),
  );
}

export default function Timeline() {
  const { world } = useShown();
  const { params } = useRoute();
  const unranged = useMemo(
    () => filtered(world.entries, without(params)),
    [world.entries, params.q, params.group, params.tag, params.only],
  );
  const entries = useMemo(() => filtered(unranged, range(params)), [unranged, params.from, params.to]);
  const lines = useMemo(() => linesOf(entries, GAP_US), [entries]);
  const chosen = params.seq ? Number(params.seq) : null;
  const selected = chosen === null ? null : (world.entries.find((entry) => entry.seq === chosen) ?? null);
  return (
    <div className="split">
      <Panel title="Timeline" aside={<><span className="faint">{entries.length.toLocaleString("en-GB")} of {world.entries.length.toLocaleString("en-GB")} rows</span><Export incident={params.only ?? null} /></>} className="grows fills">
        <Filters params={params} incidents={world.incidentOrder} />
        <RangeStrip entries={unranged} params={params} />
        <Rows lines={lines} chosen={chosen} />
      </Panel>
      {selected ? <Detail entry={selected} /> : chosen !== null ? <Gone seq={chosen} /> : null}
    </div>
  );
}

/** Everything the audit holds, also what is older than this page; of one incident if one is chosen. */
function Export({ incident }: { incident: string | null }) {
  const { live } = useShown();
  const [busy, setBusy] = useState(false);
  if (!live) return null;
  const save = async (): Promise<void> => {
    setBusy(true);
    try {
      keep(await api.exported(incident), incident ? `timeline-${incident}.jsonl` : "timeline.jsonl");
    } catch (error) {
      announce(error instanceof ApiError ? error.message : "The export broke off before its end; try it again.", "bad");
    } finally {
      setBusy(false);
    }
  };
  return (
    <button type="button" className="quiet" disabled={busy} onClick={() => void save()} title="Every message that the audit holds, as JSON lines with the state of its signature">
      {busy ? "Exporting…" : "Export"}
    </button>
  );
}

function keep(file: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function without(params: Params): Params {
  return Object.fromEntries(Object.entries(params).filter(([name]) => name !== "from" && name !== "to"));
}

function range(params: Params): Params {
  return Object.fromEntries(Object.entries(params).filter(([name]) => name === "from" || name === "to"));
}

function Filters({ params, incidents }: { params: Params; incidents: readonly string[] }) {
  return (
    <div className="bar">
      <label className="search">
        <span className="hidden">Search the timeline</span>
        <input
          type="search"
          data-search
          placeholder="Search (press /)" title="By type, sender, task or text"
          value={params.q ?? ""}
          onChange={(event) => adjust({ q: event.target.value })}
        />
      </label>
      <label>
        <span className="hidden">Kind of message</span>
        <select value={params.group ?? ""} onChange={(event) => adjust({ group: event.target.value })}>
          <option value="">all kinds</option>
          {GROUPS.map((group) => (
            <option key={group}>{group}</option>
          ))}
        </select>
      </label>
      <label>
        <span className="hidden">Who decided</span>
        <select value={params.tag ?? ""} onChange={(event) => adjust({ tag: event.target.value })}>
          <option value="">model and code</option>
          <option value="LLM_DECISION">decided by the model</option>
          <option value="DETERMINISTIC">decided by code</option>
        </select>
      </label>
      <label>
        <span className="hidden">Incident</span>
        <select value={params.only ?? ""} onChange={(event) => adjust({ only: event.target.value })}>
          <option value="">every incident</option>
          {incidents.map((id) => (
            <option key={id}>{id}</option>
          ))}
        </select>
      </label>
      {params.from || params.to ? (
        <button type="button" className="quiet" onClick={() => adjust({ from: null, to: null })}>
          <Icon name="cross" size={12} /> range {params.from ?? "…"}–{params.to ?? "…"}
        </button>
      ) : null}
    </div>
  );
}

/** Drag over it to choose a stretch of time; quiet stretches are pressed together. */
function RangeStrip({ entries, params }: { entries: readonly Entry[]; params: Params }) {
  const made = useMemo(() => strip(entries, BINS, LONGEST_US), [entries]);
  const [drag, setDrag] = useState<readonly [number, number] | null>(null);
  const most = Math.max(1, ...made.bins);
  const binAt = (event: React.PointerEvent<SVGSVGElement>): number => {
    const box = event.currentTarget.getBoundingClientRect();
    return Math.max(0, Math.min(BINS - 1, Math.floor(((event.clientX - box.left) / box.width) * BINS)));
  };
  const finish = (): void => {
    if (drag) {
      const [a, b] = drag[0] <= drag[1] ? drag : [drag[1], drag[0]];
      const inside = made.seqs.slice(a, b + 1).filter((pair) => pair !== null);
      if (inside.length > 0 && b > a) adjust({ from: String(inside[0]![0]), to: String(inside.at(-1)![1]) });
    }
    setDrag(null);
  };
  const from = Number(params.from ?? 0);
  const to = Number(params.to ?? Infinity);
  return (
    <svg
      className="strip"
      viewBox={`0 0 ${BINS} 20`}
      preserveAspectRatio="none"
      role="img"
      aria-label="How much happened when. Drag to choose a stretch; with the keyboard: open a row and choose “from here” or “up to here”."
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        setDrag([binAt(event), binAt(event)]);
      }}
      onPointerMove={(event) => {
        if (drag) setDrag([drag[0], binAt(event)]);
      }}
      onPointerUp={finish}
      onPointerCancel={() => setDrag(null)}
    >
      {made.bins.map((value, index) => {
        const pair = made.seqs[index];
        const inside = pair ? pair[1] >= from && pair[0] <= to : false;
        const height = value === 0 ? 0 : 2 + (17 * value) / most;
        return <rect key={index} x={index + 0.1} y={20 - height} width={0.8} height={height} className={inside ? "" : "outside"} />;
      })}
      {drag ? <rect className="chosen" x={Math.min(...drag)} y={0} width={Math.abs(drag[1] - drag[0]) + 1} height={20} /> : null}
    </svg>
  );
}

const keyOf = (line: Line): string => (line.kind === "gap" ? line.key : String(line.entry.seq));

function Rows({ lines, chosen }: { lines: readonly Line[]; chosen: number | null }) {
  const narrow = useNarrow();
  const row = narrow ? ROW_NARROW : ROW;
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState<readonly [number, number]>([0, 600]);
  const before = useRef({ first: "", count: 0 });
  // Who reads further down must not be moved by what arrives at the top.
  useLayoutEffect(() => {
    const element = box.current;
    const { first, count } = before.current;
    const top = lines[0] ? keyOf(lines[0]) : "";
    if (element && first && element.scrollTop > row && first !== top) {
      const added = lines.findIndex((line) => keyOf(line) === first);
      if (added > 0 && lines.length > count) element.scrollTop += added * row;
    }
    before.current = { first: top, count: lines.length };
  }, [lines, row]);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const measure = (): void => setView([element.scrollTop, element.clientHeight]);
    const watcher = new ResizeObserver(measure);
    watcher.observe(element);
    measure();
    return () => watcher.disconnect();
  }, []);
  const move = (by: number): void => {
    const entries = lines.flatMap((line) => (line.kind === "entry" ? [line.entry] : []));
    if (entries.length === 0) return;
    const at = entries.findIndex((entry) => entry.seq === chosen);
    const next = entries[Math.max(0, Math.min(entries.length - 1, at < 0 ? 0 : at + by))]!;
    adjust({ seq: String(next.seq) });
    const line = lines.findIndex((item) => item.kind === "entry" && item.entry.seq === next.seq);
    const element = box.current;
    if (!element) return;
    if (line * row < element.scrollTop) element.scrollTop = line * row;
    if ((line + 1) * row > element.scrollTop + element.clientHeight) element.scrollTop = (line + 1) * row - element.clientHeight;
  };
  if (lines.length === 0) return <Empty>No message fits what is asked for above.</Empty>;
  const [first, last] = windowOf(view[0], view[1], row, lines.length);
  const drawn = lines.slice(first, last);
  return (
    <div
      ref={box}
      className="rows"
      role="listbox"
      tabIndex={0}
      data-list
      aria-label="Messages, newest first. j and k or the arrows move."
      aria-activedescendant={drawn.some((line) => line.kind === "entry" && line.entry.seq === chosen) ? `row-${chosen}` : undefined}
      onScroll={(event) => setView([event.currentTarget.scrollTop, event.currentTarget.clientHeight])}
      onKeyDown={(event) => {
        if (event.key === "ArrowDown" || event.key === "j") move(1);
        else if (event.key === "ArrowUp" || event.key === "k") move(-1);
        else return;
        event.preventDefault();
        event.stopPropagation();
      }}
    >
      <div style={{ height: lines.length * row, position: "relative" }} role="presentation">
        {drawn.map((line, index) => (
          <Row key={keyOf(line)} line={line} top={(first + index) * row} height={row} chosen={chosen} />
        ))}
      </div>
    </div>
  );
}

function Row({ line, top, height, chosen }: { line: Line; top: number; height: number; chosen: number | null }) {
  const style = { transform: `translateY(${top}px)`, height };
  if (line.kind === "gap") {
    return (
      <div className="row gap" style={style} role="presentation">
        {span(line.us / 1_000)} without a message
      </div>
    );
  }
  const { entry } = line;
  const selected = entry.seq === chosen;
  return (
    <div
      id={`row-${entry.seq}`}
      className={`row ${selected ? "selected" : ""}`}
      style={style}
      role="option"
      aria-selected={selected}
      onClick={() => adjust({ seq: String(entry.seq) })}
    >
      <span className="row-time">
        <Moment us={entry.time_us} />
      </span>
      <Badge look={lookOfEntry(entry)} />
      <span className="row-who" title={entry.sender ?? "unknown"}>
        {entry.sender?.split("/").at(-1) ?? "unknown"}
      </span>
      <span className="row-text">{sentenceOf(entry)}</span>
      <span className="row-tag">{entry.tag === "LLM_DECISION" ? <TagBadge tag={entry.tag} /> : null}</span>
    </div>
  );
}

function Detail({ entry }: { entry: Entry }) {
  const incident = incidentOf(entry);
  const task = taskOf(entry);
  const close = (
    <button type="button" className="quiet" onClick={() => adjust({ seq: null })} aria-label="Close the details">
      <Icon name="cross" />
    </button>
  );
  const seq = String(entry.seq);
  return (
    <Panel title={`Message ${entry.seq}`} aside={close} className="side">
      <p>
        <Badge look={lookOfEntry(entry)} /> {entry.tag ? <TagBadge tag={entry.tag} /> : null}
      </p>
      <p>{sentenceOf(entry)}</p>
      <Facts
        rows={[
          ["type", <code>{entry.type ?? "unreadable"}</code>],
          ["subject", <code className="breaks">{entry.subject}</code>],
          ["sender", entry.sender ?? "unknown"],
          ["decided by", entry.tag ?? "unknown"],
          ["broker time", <Moment us={entry.time_us} day />],
          ["key version", entry.key_version ?? "–"],
          ["caused by", entry.cause ? <a href={href("timeline", { seq: String(entry.cause) })}>message {entry.cause}</a> : "nothing in the journal"],
          ["incident", incident ? <a href={href("incident", { incident })}>{incident}</a> : "–"],
          ["task", incident && task ? <a href={href("plan", { incident, task: task.replace(/^v\d+-/, "") })}>{task}</a> : "–"],
        ]}
      />
      <ProofPanel entry={entry} />
      <details className="fold">
        <summary>
          <h3>Content</h3>
        </summary>
        <Said text={JSON.stringify(entry.payload, null, 2)} lines={20} />
      </details>
      <p className="bar">
        <button type="button" className="quiet" onClick={() => adjust({ from: seq })}>
          From here
        </button>
        <button type="button" className="quiet" onClick={() => adjust({ to: seq })}>
          Up to here
        </button>
      </p>
      <CopyCommand line={command("curl", "--silent", `${location.origin}/api/messages/${entry.seq}`)} />
      <CopyButton name="Copy it as JSON" text={JSON.stringify(entry, null, 2)} />
      {incident ? <CopyCommand line={command("triage", "tail", "--incident", incident, "--json")} /> : null}
    </Panel>
  );
}

function Gone({ seq }: { seq: number }) {
  return (
    <Panel title={`Message ${seq}`} className="side">
      <Empty>It is not among the rows of this page: telemetry, a timer, older than what is loaded, or not there yet.</Empty>
      <button type="button" className="quiet" onClick={() => adjust({ seq: null })}>
        Close
      </button>
    </Panel>
  );
}
