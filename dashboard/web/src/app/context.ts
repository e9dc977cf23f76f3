/** What every view shares: the world that is shown (live, or a place in a replay) and how times are written. */

import { createContext, useContext, useEffect, useState } from "react";
import type { Clock } from "../parts/format";
import type { World } from "../world/model";
import { NOTHING } from "../world/model";
import type { Snapshot } from "../api/types";

export interface Shown {
  readonly world: World;
  /** False in a replay: nothing can be commanded there. */
  readonly live: boolean;
  /** What time it is for the world that is shown, microseconds. */
  readonly nowUs: number;
  readonly snapshot: Snapshot | null;
}

export const ShownContext = createContext<Shown>({ world: NOTHING, live: true, nowUs: 0, snapshot: null });
export const ClockContext = createContext<Clock>("local");

export const useShown = (): Shown => useContext(ShownContext);
export const useClock = (): Clock => useContext(ClockContext);

/** Page time in milliseconds, renewed every `everyMs`. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const id = window.setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(id);
  }, [everyMs]);
  return now;
}

/** A setting of this browser; what cannot be stored holds until the page is closed. */
export function useSetting<T extends string>(name: string, start: T, known: readonly T[]): [T, (value: T) => void] {
  const [value, setValue] = useState<T>(() => {
    const kept = readSetting(`triage-${name}`);
    return known.find((item) => item === kept) ?? start;
  });
  const keep = (next: T): void => {
    setValue(next);
    try {
      localStorage.setItem(`triage-${name}`, next);
    } catch {
      return;
    }
  };
  return [value, keep];
}

function readSetting(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}
