import type { ReactNode } from "react";
import { useState } from "react";
import { useClock, useShown } from "../app/context";
import { ago, isoOf, timeOf } from "./format";
import { Icon } from "./icons";
import type { Look } from "./states";
import { announce } from "./toasts";

/** A state: drawing, word and colour together. */
export function Badge({ look, detail }: { look: Look; detail?: string | undefined }) {
  return (
    <span className={`badge tone-${look.tone}`} title={detail}>
      <Icon name={look.icon} size={14} />
      <span>{look.word}</span>
    </span>
  );
}

/** Who decided: a model or code. */
export function TagBadge({ tag }: { tag: string }) {
  const model = tag === "LLM_DECISION";
  return (
    <Badge
      look={model ? { word: "model", icon: "spark", tone: "ai" } : { word: "code", icon: "gear", tone: "calm" }}
      detail={tag}
    />
  );
}

/** A moment of broker time; the exact one is copied with a click. */
export function Moment({ us, relative = false, day = false }: { us: number | null; relative?: boolean; day?: boolean }) {
  const clock = useClock();
  const { nowUs } = useShown();
  if (us === null || us === 0) return <span className="faint">–</span>;
  const text = relative ? ago(Math.max(0, (nowUs - us) / 1_000)) : timeOf(us, clock, day);
  const iso = isoOf(us);
  return (
    <time dateTime={iso} title={`${timeOf(us, clock, true)} ${clock === "utc" ? "UTC" : "local"} · ${iso}`}>
      {text}
    </time>
  );
}

export function Panel(props: {
  title: ReactNode;
  aside?: ReactNode;
  children: ReactNode;
  className?: string;
  id?: string;
}) {
  return (
    <section className={`panel ${props.className ?? ""}`} id={props.id}>
      <header className="panel-head">
        <h2>{props.title}</h2>
        {props.aside ? <div className="panel-aside">{props.aside}</div> : null}
      </header>
      {props.children}
    </section>
  );
}

export function Empty({ children }: { children: ReactNode }) {
  return (
    <p className="empty">
      <Icon name="dash" /> <span>{children}</span>
    </p>
  );
}

export function Loading({ what }: { what: string }) {
  return (
    <p className="empty" role="status">
      <Icon name="clock" /> <span>{what} is loading…</span>
    </p>
  );
}

export function Failure({ sentence, again }: { sentence: string; again?: () => void }) {
  return (
    <p className="failure" role="alert">
      <Icon name="warn" /> <span>{sentence}</span>
      {again ? (
        <button type="button" className="quiet" onClick={again}>
          Try again
        </button>
      ) : null}
    </p>
  );
}

async function copy(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    announce(`${what} was copied`, "good");
  } catch {
    announce(`The browser does not allow copying. It is: ${text}`, "bad");
  }
}

/** The same on the command line, ready to copy. */
export function CopyCommand({ line }: { line: string }) {
  return (
    <button type="button" className="command" title="Copy this command" onClick={() => void copy(line, "The command")}>
      <Icon name="copy" size={13} />
      <code>{line}</code>
    </button>
  );
}

/** Something too long to be shown on its button, ready to copy. */
export function CopyButton({ name, text }: { name: string; text: string }) {
  return (
    <button type="button" className="quiet" onClick={() => void copy(text, "It")}>
      <Icon name="copy" size={13} /> {name}
    </button>
  );
}

/** A hash or id, shortened; the whole is copied with a click. */
export function Hash({ value, keep = 10 }: { value: string | null | undefined; keep?: number }) {
  if (!value) return <span className="faint">–</span>;
  return (
    <button type="button" className="hash" title={`${value}: copy`} onClick={() => void copy(value, "It")}>
      <code>{value.length > keep ? `${value.slice(0, keep)}…` : value}</code>
    </button>
  );
}

/** Text from outside: always text, never markup; long ones folded. */
export function Said({ text, lines = 6 }: { text: string; lines?: number }) {
  const [open, setOpen] = useState(false);
  const many = text.split("\n").length > lines || text.length > lines * 120;
  return (
    <div className="said">
      <pre className={open || !many ? "" : "folded"} style={{ ["--lines" as string]: lines }}>
        {text}
      </pre>
      {many ? (
        <button type="button" className="quiet" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? "Show less" : "Show all of it"}
        </button>
      ) : null}
    </div>
  );
}

export function Facts({ rows }: { rows: readonly (readonly [string, ReactNode])[] }) {
  return (
    <dl className="facts">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A few values as a line, newest right; 0..1. */
export function Spark({ values, label }: { values: readonly number[]; label: string }) {
  if (values.length < 2) return null;
  const points = values
    .map((value, index) => `${((index / (values.length - 1)) * 80).toFixed(1)},${(18 - Math.max(0, Math.min(1, value)) * 16).toFixed(1)}`)
    .join(" ");
  return (
    <svg className="spark" viewBox="0 0 80 20" width="80" height="20" role="img" aria-label={label}>
      <polyline points={points} />
    </svg>
  );
}
