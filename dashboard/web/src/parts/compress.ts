/** Time with the quiet taken out: no gap between two entries is longer than `longestUs`. Pure. */

import type { Entry } from "../journal/messages";

export interface Strip {
  /** Entries by bin, oldest left. */
  readonly bins: readonly number[];
  /** First and last journal sequence of each bin; null where it is empty. */
  readonly seqs: readonly (readonly [number, number] | null)[];
}

export function strip(entries: readonly Entry[], binCount: number, longestUs: number): Strip {
  const bins = new Array<number>(binCount).fill(0);
  const seqs = new Array<readonly [number, number] | null>(binCount).fill(null);
  const at: number[] = [];
  let total = 0;
  entries.forEach((entry, index) => {
    const before = entries[index - 1];
    if (before) total += Math.min(Math.max(0, entry.time_us - before.time_us), longestUs);
    at.push(total);
  });
  entries.forEach((entry, index) => {
    const bin = total === 0 ? 0 : Math.min(binCount - 1, Math.floor((at[index]! / total) * binCount));
    bins[bin] = bins[bin]! + 1;
    const known = seqs[bin];
    seqs[bin] = known ? [known[0], entry.seq] : [entry.seq, entry.seq];
  });
  return { bins, seqs };
}

export type Line = { readonly kind: "entry"; readonly entry: Entry } | { readonly kind: "gap"; readonly us: number; readonly key: string };

/** Rows to show, newest first, with one row for each stretch in which nothing happened. */
export function linesOf(entries: readonly Entry[], gapUs: number): readonly Line[] {
  const lines: Line[] = [];
  for (let index = entries.length - 1; index >= 0; index--) {
    const entry = entries[index]!;
    lines.push({ kind: "entry", entry });
    const before = entries[index - 1];
    if (before && entry.time_us - before.time_us > gapUs) {
      lines.push({ kind: "gap", us: entry.time_us - before.time_us, key: `gap${entry.seq}` });
    }
  }
  return lines;
}

/** Which rows of a long list are drawn. */
export function windowOf(scroll: number, height: number, row: number, count: number, spare = 8): readonly [number, number] {
  const first = Math.max(0, Math.floor(scroll / row) - spare);
  const last = Math.min(count, Math.ceil((scroll + height) / row) + spare);
  return [Math.min(first, Math.max(0, count - 1)), Math.max(last, 0)];
}
