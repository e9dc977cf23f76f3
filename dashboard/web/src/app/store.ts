/** The page's one store: the live world, how the connection is, and what the snapshot said of what does not change. */

import { useSyncExternalStore } from "react";
import { api, ApiError } from "../api/client";
import type { Snapshot } from "../api/types";
import type { Entry } from "../journal/messages";
import { connect, type LinkState } from "../stream/link";
import { fold } from "../world/reducer";
import { NOTHING, type World } from "../world/model";

export interface Live {
  readonly world: World;
  readonly link: LinkState;
  readonly sentence: string;
  readonly snapshot: Snapshot | null;
  /** Page time of the last entry, milliseconds since the epoch; 0 before the first. */
  readonly heardMs: number;
  /** How far the page's clock is ahead of the API's, milliseconds. */
  readonly skewMs: number;
  /** Whether the stack's broker answers the API: while it does not, what is shown is what was heard last. */
  readonly connected: boolean;
  /** Counts up when the API says that something beside the journal changed (faults, programs). */
  readonly besides: number;
}

type Listener = () => void;

class Store {
  private value: Live = {
    world: NOTHING,
    link: "loading",
    sentence: "",
    snapshot: null,
    heardMs: 0,
    skewMs: 0,
    connected: true,
    besides: 0,
  };
  private readonly listeners = new Set<Listener>();
  private end: (() => void) | null = null;

  readonly get = (): Live => this.value;

  readonly subscribe = (listener: Listener): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  start(): void {
    this.end?.();
    this.end = connect<Snapshot>({
      snapshot: api.snapshot,
      adopt: (snapshot, anew) => this.adopt(snapshot, anew),
      open: api.events,
      entries: (batch) => this.take(batch),
      notice: (name, data) => this.notice(name, data),
      state: (link, sentence) => this.set({ link, sentence }),
      final: (error) => (error instanceof ApiError && error.final ? error.message : null),
    });
  }

  stop(): void {
    this.end?.();
    this.end = null;
  }

  private set(part: Partial<Live>): void {
    this.value = { ...this.value, ...part };
    for (const listener of this.listeners) listener();
  }

  private notice(name: string, data: unknown): void {
    const connected = (data as { connected?: unknown } | null)?.connected;
    if (typeof connected === "boolean" && connected !== this.value.connected) this.set({ connected });
    if (name !== "beat") this.set({ besides: this.value.besides + 1 });
  }

  private adopt(snapshot: Snapshot, anew: boolean): number {
    const before = this.value;
    const goesOn = !anew && before.snapshot?.journal === snapshot.journal && snapshot.head >= before.world.head;
    // The same journal: what the page has stays, and the stream gives what came since, entry by entry.
    const world = goesOn && before.world.head > 0 ? before.world : worldOf(snapshot);
    this.set({ snapshot, world, connected: snapshot.connected, skewMs: Date.now() - snapshot.now_us / 1_000, besides: before.besides + 1 });
    return world.head;
  }

  private take(batch: readonly Entry[]): void {
    this.set({ world: fold(this.value.world, batch), heardMs: Date.now() });
  }
}

/** Fold a snapshot: its rows and the newest telemetry of each device, in the journal's order. */
export function worldOf(snapshot: Snapshot): World {
  const entries = [...snapshot.entries, ...snapshot.telemetry].sort((a, b) => a.seq - b.seq);
  const world = fold(NOTHING, entries);
  return { ...world, head: Math.max(world.head, snapshot.head), timeUs: Math.max(world.timeUs, 0) };
}

export const store = new Store();

export function useLive(): Live {
  return useSyncExternalStore(store.subscribe, store.get);
}
