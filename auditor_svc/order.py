"""Which rows of a chain are missing, foreign or out of place, told by their numbers alone. Pure."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from auditor_svc.report import Fault


@dataclass(slots=True)
class Order:
    """Numbers and journal sequences of all rows since the count first broke."""

    before: int
    """Number of the last row before that; 0 if there is none."""
    numbers: list[int] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)

    def add(self, number: int, journal_seq: int) -> None:
        """Note the next row."""
        self.numbers.append(number)
        self.seqs.append(journal_seq)

    @property
    def highest(self) -> int:
        """Number of the last row that stands in its place."""
        kept = _in_place(self)
        return self.numbers[kept[-1]] if kept else self.before


def judge_order(order: Order) -> tuple[frozenset[int], list[Fault]]:
    """Return the journal sequences of stray rows, and a fault for every stray and every gap.

    The rows that stand in their place are the longest run of rising numbers; the fewest possible rows are accused.
    """
    kept = _in_place(order)
    gaps = _gaps(order, kept)
    placed = set(kept)
    strays = [i for i in range(len(order.numbers)) if i not in placed]
    faults: list[Fault] = []
    for i in strays:
        number, seq = order.numbers[i], order.seqs[i]
        gap = next((g for g in gaps if g.first <= number <= g.last and number not in g.found), None)
        if gap is None:
            sentence = f"the row at journal_seq {seq} (number {number}) does not belong into the chain"
            faults.append(Fault("inserted", seq, sentence))
        else:
            gap.found.add(number)
            sentence = f"row {number} at journal_seq {seq} stands in the wrong place; it belongs before {gap.seq}"
            faults.append(Fault("reordered", seq, sentence))
    faults += [_deleted(gap) for gap in gaps if gap.missing]
    return frozenset(order.seqs[i] for i in strays), faults


@dataclass(slots=True)
class _Gap:
    """Numbers `first`..`last` are not before the row at `seq`, where they belong."""

    first: int
    last: int
    seq: int
    found: set[int] = field(default_factory=set)

    @property
    def missing(self) -> int:
        return self.last - self.first + 1 - len(self.found)


def _gaps(order: Order, kept: list[int]) -> list[_Gap]:
    gaps, previous = [], order.before
    for i in kept:
        number = order.numbers[i]
        if number > previous + 1:
            gaps.append(_Gap(previous + 1, number - 1, order.seqs[i]))
        previous = number
    return gaps


def _deleted(gap: _Gap) -> Fault:
    which = f"row {gap.first} is" if gap.first == gap.last else f"rows {gap.first} to {gap.last} are"
    some = f" ({gap.missing} of them)" if gap.found else ""
    return Fault("deleted", gap.seq, f"{which} missing{some} before the row at journal_seq {gap.seq}")


def _in_place(order: Order) -> list[int]:
    """Return positions of a longest strictly rising run of numbers beyond `before` (patience sorting, n log n)."""
    ends: list[int] = []
    at: list[int] = []
    back: dict[int, int] = {}
    for i, number in enumerate(order.numbers):
        if number <= order.before:
            continue
        pile = bisect_left(ends, number)
        if pile == len(ends):
            ends.append(number)
            at.append(i)
        else:
            ends[pile], at[pile] = number, i
        back[i] = at[pile - 1] if pile else -1
    run: list[int] = []
    i = at[-1] if at else -1
    while i >= 0:
        run.append(i)
        i = back[i]
    return run[::-1]
