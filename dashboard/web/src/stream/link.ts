/**
 * The one connection to the API's stream. It takes the snapshot, folds what follows, and after any break goes on behind
 * the last entry it has: nothing is lost and nothing is shown twice.
 */

import type { Entry } from "../journal/messages";

export type LinkState = "loading" | "live" | "broken" | "refused";

export interface LinkEvents<Snapshot> {
  /** Fetch the snapshot. Raises what the client raises. */
  snapshot(): Promise<Snapshot>;
  /** Take the snapshot; return the journal sequence to go on behind. `anew`: what is known so far may have gaps. */
  adopt(snapshot: Snapshot, anew: boolean): number;
  /** Open the stream behind a sequence. */
  open(after: number): EventSource;
  entries(batch: readonly Entry[]): void;
  /** Something beside the journal changed: the name says what. */
  notice(name: string, data: unknown): void;
  state(state: LinkState, sentence: string): void;
  /** True if the error says that trying again is no use without the user. */
  final(error: unknown): string | null;
}

const RETRY_MS = [300, 600, 1_200, 2_500, 5_000] as const;
/** Longest time without a sign of life (the API's heartbeat comes more often), milliseconds. */
const SILENCE_MS = 45_000;
const FLUSH_MS = 40;

/** Start the connection; the returned function ends it. */
export function connect<Snapshot>(events: LinkEvents<Snapshot>): () => void {
  const link = new Link(events);
  void link.start();
  return () => link.end();
}

class Link<Snapshot> {
  private source: EventSource | null = null;
  private waiting: Entry[] = [];
  private flushTimer = 0;
  private retryTimer = 0;
  private silenceTimer = 0;
  private failures = 0;
  private head = 0;
  private over = false;

  constructor(private readonly events: LinkEvents<Snapshot>) {}

  async start(anew = false): Promise<void> {
    if (this.over) return;
    try {
      const snapshot = await this.events.snapshot();
      if (this.over) return;
      this.head = this.events.adopt(snapshot, anew);
      this.listen();
    } catch (error) {
      if (this.over) return;
      const why = this.events.final(error);
      if (why !== null) this.events.state("refused", why);
      else this.again(() => void this.start(anew), error instanceof Error ? error.message : "the API does not answer");
    }
  }

  end(): void {
    this.over = true;
    this.close();
    clearTimeout(this.flushTimer);
    clearTimeout(this.retryTimer);
  }

  private close(): void {
    this.source?.close();
    this.source = null;
    clearTimeout(this.silenceTimer);
  }

  private listen(): void {
    const source = this.events.open(this.head);
    this.source = source;
    source.onopen = () => {
      this.failures = 0;
      this.events.state("live", "");
      this.alive();
    };
    source.onerror = () => this.lost(source);
    source.addEventListener("entry", (event) => this.take(event));
    source.addEventListener("reset", () => {
      this.close();
      this.flush();
      void this.start(true);
    });
    for (const name of ["beat", "faults", "stack"]) {
      source.addEventListener(name, (event) => {
        this.alive();
        this.events.notice(name, parse((event as MessageEvent<string>).data));
      });
    }
  }

  private take(event: Event): void {
    this.alive();
    const entry = parse((event as MessageEvent<string>).data) as Entry | null;
    if (!entry || entry.seq <= this.head) return;
    this.head = entry.seq;
    this.waiting.push(entry);
    // One fold for all that came within a few frames: at 50 entries a second the page draws 25 times, not 50.
    if (!this.flushTimer) this.flushTimer = window.setTimeout(() => this.flush(), FLUSH_MS);
  }

  private flush(): void {
    clearTimeout(this.flushTimer);
    this.flushTimer = 0;
    const batch = this.waiting;
    this.waiting = [];
    if (batch.length && !this.over) this.events.entries(batch);
  }

  private alive(): void {
    clearTimeout(this.silenceTimer);
    this.silenceTimer = window.setTimeout(() => {
      if (this.source) this.lost(this.source);
    }, SILENCE_MS);
  }

  private lost(source: EventSource): void {
    if (source !== this.source || this.over) return;
    this.close();
    this.flush();
    // The snapshot first: a stack that came back may have another journal.
    this.again(() => void this.start(), "the connection to the API is lost");
  }

  private again(act: () => void, sentence: string): void {
    const wait = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)]!;
    this.failures += 1;
    this.events.state("broken", sentence);
    clearTimeout(this.retryTimer);
    this.retryTimer = window.setTimeout(act, wait);
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
