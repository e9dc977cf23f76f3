/** A stretch of the journal that can be looked at from any place in it. Pure. */

import type { Entry } from "../journal/messages";
import { isBackground } from "../journal/messages";
import { fold } from "../world/reducer";
import { NOTHING, type World } from "../world/model";

/** A world is kept after so many entries: to seek folds at most this many. */
const MARK = 250;

export class Tape {
  private readonly marks: World[] = [NOTHING];
  private last: { at: number; world: World } = { at: 0, world: NOTHING };

  constructor(readonly entries: readonly Entry[]) {}

  get length(): number {
    return this.entries.length;
  }

  /** The world after the first `count` entries. */
  worldAt(count: number): World {
    const wanted = Math.max(0, Math.min(count, this.length));
    const known = Math.min(Math.floor(wanted / MARK), this.marks.length - 1);
    let from = known * MARK;
    let world = this.marks[known]!;
    if (this.last.at <= wanted && this.last.at >= from) ({ at: from, world } = this.last);
    while (from < wanted) {
      const to = Math.min(wanted, (Math.floor(from / MARK) + 1) * MARK);
      world = fold(world, this.entries.slice(from, to));
      from = to;
      if (to % MARK === 0 && this.marks.length === to / MARK) this.marks.push(world);
    }
    this.last = { at: wanted, world };
    return world;
  }

  /** How many entries come before or at a journal sequence. */
  indexOf(seq: number): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.entries[middle]!.seq <= seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Count after the next entry that shows something to decide on; the end if none comes. */
  nextDecision(count: number): number {
    const at = this.entries.findIndex((entry, index) => index >= count && isDecision(entry));
    return at < 0 ? this.length : at + 1;
  }

  /** Count after the previous such entry; 0 if there is none. */
  previousDecision(count: number): number {
    return this.entries.findLastIndex((entry, index) => index < count - 1 && isDecision(entry)) + 1;
  }

  /** Count after the next or previous entry that is a row of the timeline. */
  step(count: number, by: 1 | -1): number {
    let at = count + by;
    while (at > 0 && at < this.length && isBackground(this.entries[at - 1]!)) at += by;
    return Math.max(0, Math.min(at, this.length));
  }

  /** Milliseconds to wait before the entry at `count` is shown: as it was, but no gap longer than `longest`. */
  wait(count: number, speed: number, longestMs: number): number {
    const before = this.entries[count - 1];
    const next = this.entries[count];
    if (!before || !next) return 0;
    return Math.min((next.time_us - before.time_us) / 1_000 / speed, longestMs);
  }
}

const DECISIONS: ReadonlySet<string> = new Set([
  "incident.reported",
  "incident.asked",
  "incident.closed",
  "plan.proposed",
  "plan.accepted",
  "plan.rejected",
  "approval.requested",
  "approval.granted",
  "approval.denied",
  "agent.lost",
  "control.halt",
  "control.resume",
  "verified",
]);

/** True for what somebody or something decided. */
export function isDecision(entry: Entry): boolean {
  return entry.type !== null && DECISIONS.has(entry.type);
}
