import { useEffect, useMemo } from "react";
import { adjust } from "../app/route";
import { isDecision } from "../replay/tape";
import { player, SPEEDS, type Player } from "../replay/player";
import { Moment } from "./basic";
import { Icon } from "./icons";
import { sentenceOf } from "./rows";

/** The scrubber: at the foot of every view while something is replayed. */
export function ReplayBar({ state }: { state: Player }) {
  const { tape, count, playing, speed } = state;
  const marks = useMemo(
    () => (tape ? tape.entries.flatMap((entry, index) => (isDecision(entry) ? [{ at: (index + 1) / tape.length, seq: entry.seq }] : [])) : []),
    [tape],
  );
  useEffect(() => player.pause, []);
  const last = tape?.entries[count - 1];
  return (
    <section className="replay" aria-label="Replay">
      <div className="replay-row">
        <button type="button" title="Previous decision ([)" aria-label="Previous decision" disabled={!tape} onClick={() => tape && player.seek(tape.previousDecision(count))}>
          <Icon name="first" />
        </button>
        <button type="button" title="One message back (,)" aria-label="−1: one message back" disabled={!tape} onClick={() => tape && player.seek(tape.step(count, -1))}>
          −1
        </button>
        <button type="button" className="primary" title="Play or pause (space)" aria-label={playing ? "Pause" : "Play"} disabled={!tape} onClick={() => (playing ? player.pause() : player.play())}>
          <Icon name={playing ? "pause" : "play"} />
        </button>
        <button type="button" title="One message on (.)" aria-label="+1: one message on" disabled={!tape} onClick={() => tape && player.seek(tape.step(count, 1))}>
          +1
        </button>
        <button type="button" title="Next decision (])" aria-label="Next decision" disabled={!tape} onClick={() => tape && player.seek(tape.nextDecision(count))}>
          <Icon name="last" />
        </button>
        <label>
          <span className="hidden">Speed</span>
          <select value={speed} onChange={(event) => player.speed(Number(event.target.value))}>
            {SPEEDS.map((item) => (
              <option key={item} value={item}>
                {item}×
              </option>
            ))}
          </select>
        </label>
        <span className="replay-now">
          {state.error ?? (tape ? <>{last ? <Moment us={last.time_us} /> : "start"} · {last && last.payload ? sentenceOf(last) : ""}</> : "loading…")}
        </span>
        <button type="button" onClick={() => adjust({ replay: null, at: null })}>
          Back to live
        </button>
      </div>
      <div className="scrubber">
        <input
          type="range"
          min={0}
          max={tape?.length ?? 0}
          value={count}
          disabled={!tape}
          aria-label="Place in the replay"
          aria-valuetext={`message ${count} of ${tape?.length ?? 0}`}
          onChange={(event) => player.seek(Number(event.target.value))}
        />
        <div className="marks" aria-hidden="true">
          {marks.map((mark) => (
            <i key={mark.seq} style={{ left: `${mark.at * 100}%` }} />
          ))}
        </div>
      </div>
    </section>
  );
}
