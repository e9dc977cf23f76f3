/** Plays a tape; the address holds what is played (`replay`) and where (`at`, a journal sequence). */

import { useEffect, useMemo, useSyncExternalStore } from "react";
import { api } from "../api/client";
import { adjust, useRoute } from "../app/route";
import type { Entry } from "../journal/messages";
import type { World } from "../world/model";
import { Tape } from "./tape";

/** Entries asked for at once; the API gives no more. */
const PAGE = 500;
/** Messages before an incident that are replayed too: what the world was like. */
const BEFORE = 40;
/** No gap of a replay lasts longer than this, milliseconds. */
const LONGEST_MS = 1_200;

export const SPEEDS = [0.25, 0.5, 1, 2, 4, 8] as const;

export interface Player {
  readonly source: string | null;
  readonly tape: Tape | null;
  readonly error: string | null;
  readonly count: number;
  readonly playing: boolean;
  readonly speed: number;
}

let state: Player = { source: null, tape: null, error: null, count: 0, playing: false, speed: 1 };
const listeners = new Set<() => void>();
let timer = 0;

function set(part: Partial<Player>): void {
  state = { ...state, ...part };
  for (const listener of listeners) listener();
}

export const player = {
  seek(count: number): void {
    set({ count: Math.max(0, Math.min(count, state.tape?.length ?? 0)) });
    mark();
    if (state.playing) schedule();
  },
  play(): void {
    if (!state.tape) return;
    if (state.count >= state.tape.length) set({ count: 0 });
    set({ playing: true });
    schedule();
  },
  pause(): void {
    clearTimeout(timer);
    set({ playing: false });
    mark();
  },
  speed(speed: number): void {
    set({ speed });
    if (state.playing) schedule();
  },
};

function schedule(): void {
  clearTimeout(timer);
  const { tape, count, speed } = state;
  if (!tape || !state.playing) return;
  if (count >= tape.length) return player.pause();
  timer = window.setTimeout(advance, tape.wait(count, speed, LONGEST_MS));
}

/** Show all that falls into one frame at once: at eight times the speed many entries do. */
function advance(): void {
  const { tape, speed } = state;
  if (!tape) return;
  let count = state.count + 1;
  while (count < tape.length && tape.wait(count, speed, LONGEST_MS) < 16) count += 1;
  set({ count });
  schedule();
}

/** Write the place into the address, so that a link or a reload comes back to it. */
function mark(): void {
  const entry = state.tape?.entries[state.count - 1];
  adjust({ at: entry ? String(entry.seq) : "0" });
}

async function load(source: string): Promise<readonly Entry[]> {
  const cut = source.indexOf(":");
  const kind = source.slice(0, cut);
  const name = source.slice(cut + 1);
  if (kind === "recording") return (await api.recording(name)).entries;
  if (kind === "incident") return pages(name);
  throw new Error(`nothing can be replayed from ${source}`);
}

type Wanted = Parameters<typeof api.journal>[0];

/** Every entry of the journal behind `start` and up to `end`, in its order. */
async function all(wanted: Wanted, start: number, end = Infinity): Promise<readonly Entry[]> {
  const found: Entry[] = [];
  let after: number | null = start;
  while (after !== null) {
    const page: Awaited<ReturnType<typeof api.journal>> = await api.journal({ ...wanted, after, limit: PAGE });
    found.push(...page.entries);
    after = page.next !== null && page.next < end ? page.next : null;
  }
  return found.filter((entry) => entry.seq <= end);
}

async function pages(incident: string): Promise<readonly Entry[]> {
  const own = await all({ incident }, 0);
  const first = own[0];
  const last = own.at(-1);
  if (!first || !last) throw new Error(`the journal holds nothing of ${incident} any more`);
  // With what stood around it: telemetry, agents that came and went, the halt.
  return all({ telemetry: true }, Math.max(0, first.seq - BEFORE), last.seq);
}

/** The player, loading what the address names. */
export function usePlayer(): Player {
  const value = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => state,
  );
  const { params } = useRoute();
  const source = params.replay ?? null;
  const at = params.at;
  useEffect(() => {
    if (source === state.source) return;
    clearTimeout(timer);
    set({ source, tape: null, error: null, count: 0, playing: false });
    if (!source) return;
    load(source).then(
      (entries) => {
        if (state.source !== source) return;
        const tape = new Tape(entries);
        set({ tape, count: at ? tape.indexOf(Number(at)) : 0 });
      },
      (error: unknown) => {
        if (state.source === source) set({ error: error instanceof Error ? error.message : "it cannot be read" });
      },
    );
  }, [source, at]);
  return value;
}

export function useShownWorld(current: Player): World | null {
  return useMemo(() => current.tape?.worldAt(current.count) ?? null, [current.tape, current.count]);
}
