import { useEffect, useRef, useState } from "react";
import { api } from "../api/client";
import { useCommand } from "../api/useCommand";
import { useLive } from "../app/store";
import type { HaltView } from "../world/model";
import { CopyCommand, Moment } from "./basic";
import { span } from "./format";
import { Icon } from "./icons";

/** The one red control, in every view, in a replay too: it stops the live system. */
export function HaltControl() {
  const { world, link } = useLive();
  const { busy, send } = useCommand();
  const pressed = useRef<number | null>(null);
  const [heardMs, setHeardMs] = useState<number | null>(null);
  const halt = world.halt;
  useEffect(() => {
    if (halt && pressed.current !== null) {
      setHeardMs(performance.now() - pressed.current);
      pressed.current = null;
    }
    if (!halt) setHeardMs(null);
  }, [halt]);
  const stop = (): void => {
    pressed.current = performance.now();
    void send((key) => api.halt("halted from the dashboard", key));
  };
  if (!halt) {
    return (
      <>
        <span className="wide-only">
          <CopyCommand line="triage halt" />
        </span>
        <button type="button" className="halt" data-halt disabled={busy || link === "loading"} onClick={stop} title="Nothing acts any more until it is resumed (Shift+H)">
          <Icon name="stop" /> {busy ? "Halting…" : "Halt"}
        </button>
      </>
    );
  }
  return (
    <>
      <div className="halted" role="alert">
        <Icon name="stop" />
        <span>
          <strong>Halted</strong> <Moment us={halt.sinceUs} /> by {halt.by}. {stopTime(halt)}
          {heardMs === null ? "" : ` From the press to this page: ${span(heardMs)}.`}
        </span>
        <button type="button" className="primary" disabled={busy} onClick={() => void send((key) => api.resume("resumed from the dashboard", key))}>
          {busy ? "Resuming…" : "Resume"}
        </button>
      </div>
      <span className="wide-only">
        <CopyCommand line="triage resume" />
      </span>
    </>
  );
}

/** What the journal shows of the stop: when an agent last began something. */
function stopTime(halt: HaltView): string {
  return halt.lastStartUs === null
    ? "No agent has begun anything since."
    : `The last step began ${span((halt.lastStartUs - halt.sinceUs) / 1_000)} after it.`;
}
