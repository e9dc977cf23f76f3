/** Figures and times as people read them. Pure. */

export type Clock = "local" | "utc";

const pad = (value: number, size = 2): string => String(value).padStart(size, "0");

/** `14:03:22.417`, with the day in front if `day`. */
export function timeOf(us: number, clock: Clock, day = false): string {
  const at = new Date(us / 1_000);
  const utc = clock === "utc";
  const time = [
    pad(utc ? at.getUTCHours() : at.getHours()),
    pad(utc ? at.getUTCMinutes() : at.getMinutes()),
    pad(utc ? at.getUTCSeconds() : at.getSeconds()),
  ].join(":");
  const milli = pad(utc ? at.getUTCMilliseconds() : at.getMilliseconds(), 3);
  if (!day) return `${time}.${milli}`;
  const date = [
    utc ? at.getUTCFullYear() : at.getFullYear(),
    pad((utc ? at.getUTCMonth() : at.getMonth()) + 1),
    pad(utc ? at.getUTCDate() : at.getDate()),
  ].join("-");
  return `${date} ${time}`;
}

/** ISO 8601 with microseconds, UTC: what is copied. */
export function isoOf(us: number): string {
  const whole = new Date(Math.floor(us / 1_000)).toISOString();
  return `${whole.slice(0, -1)}${pad(Math.floor(us % 1_000), 3)}Z`;
}

/** `4.2 ms`, `810 ms`, `3.4 s`, `2 min 5 s`. */
export function span(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "–";
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3_600)} h`;
}

/** `just now`, `12 s ago`, `3 min ago`. */
export function ago(ms: number): string {
  if (ms < 1_500) return "just now";
  return `${span(Math.floor(ms / 1_000) * 1_000).replace(/\.0+ s/, " s")} ago`;
}

export function percent(ratio: number | null | undefined, digits = 0): string {
  return ratio === null || ratio === undefined ? "–" : `${(ratio * 100).toFixed(digits)} %`;
}

export function bytes(count: number | null | undefined): string {
  if (count === null || count === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB"];
  let value = count;
  let unit = 0;
  while (value >= 1_024 && unit < units.length - 1) {
    value /= 1_024;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : value.toLocaleString("en-GB");
}

/** A word for a shell: quoted where it must be. */
export function quoted(text: string): string {
  return /^[A-Za-z0-9_./:=@-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A command line. */
export function command(...words: readonly string[]): string {
  return words.map(quoted).join(" ");
}

/** Arguments of a task: `pattern=ERROR lookback=5m`. */
export function argsOf(args: Readonly<Record<string, unknown>>): string {
  return Object.entries(args)
    .map(([name, value]) => `${name}=${String(value)}`)
    .join(" ");
}
