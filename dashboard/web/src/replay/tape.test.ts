import { describe, expect, it } from "vitest";
import { Journal, task } from "../testing/journal";
import { NOTHING } from "../world/model";
import { fold } from "../world/reducer";
import { Tape } from "./tape";

function long(): Journal {
  const journal = new Journal();
  for (let n = 0; n < 400; n++) {
    const id = `inc${n}`;
    journal.reported(id).planned(id, 1, [task("t1", "restart", "orders")]);
  }
  return journal;
}

describe("a tape", () => {
  it("shows at every place what folding from the start shows, whichever way it is wound", () => {
    const { entries } = long();
    const tape = new Tape(entries);
    for (const at of [0, 1, 999, 250, 251, 249, 1_600, 3, 750, 1_600]) {
      expect(tape.worldAt(at)).toEqual(fold(NOTHING, entries.slice(0, at)));
    }
  });

  it("jumps from decision to decision and back", () => {
    const journal = new Journal().reported("i").ordered("i", "v1-t1").claimed("i", "v1-t1", "a").say("control.halt", { reason: "x" });
    const tape = new Tape(journal.entries);
    expect(tape.nextDecision(0)).toBe(1);
    expect(tape.nextDecision(1)).toBe(4);
    expect(tape.nextDecision(4)).toBe(4);
    expect(tape.previousDecision(4)).toBe(1);
    expect(tape.previousDecision(1)).toBe(0);
  });

  it("finds the place of a journal sequence", () => {
    const entries = long().entries.filter((entry) => entry.seq % 3 === 0);
    const tape = new Tape(entries);
    expect(tape.indexOf(0)).toBe(0);
    expect(tape.indexOf(3)).toBe(1);
    expect(tape.indexOf(5)).toBe(1);
    expect(tape.indexOf(10_000)).toBe(entries.length);
  });

  it("plays as it was, with long gaps shortened", () => {
    const tape = new Tape(new Journal().reported("a").wait(99).reported("b").wait(60_000).reported("c").entries);
    expect(tape.wait(1, 1, 1_200)).toBe(100);
    expect(tape.wait(1, 4, 1_200)).toBe(25);
    expect(tape.wait(2, 1, 1_200)).toBe(1_200);
  });
});
