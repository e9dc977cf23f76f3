"""Which rows of a chain are missing, foreign or out of place. Told by their numbers; between two rows with the same
number, and beyond the end, by the links. Pure."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import NamedTuple

from auditor_svc.chain import Head, Row
from auditor_svc.report import Fault


class Place(NamedTuple):
    """What the order needs of a row."""

    number: int
    journal_seq: int
    prev_hash: bytes
    row_hash: bytes


@dataclass(slots=True)
class Order:
    """All rows from the one before the first break of the count."""

    before: int
    """Number up to which the count is whole."""
    places: list[Place] = field(default_factory=list)

    @classmethod
    def broken_after(cls, head: Head) -> Order:
        """Return an order for rows that follow `head`, the last one in its place. It may be a stray itself."""
        if head.rows == 0:
            return cls(0)
        return cls(head.rows - 1, [Place(head.rows, head.journal_seq, b"", head.hash)])

    def add(self, number: int, row: Row) -> None:
        """Note the next row under the number it was hashed with."""
        self.places.append(Place(number, row.journal_seq, row.prev_hash, row.row_hash))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the order of the rows shows."""

    strays: frozenset[int]
    """Journal sequences of rows that do not stand in their place."""
    reach: int
    """Number of the last row that belongs to the chain, wherever it stands."""
    faults: tuple[Fault, ...]


def judge_order(order: Order) -> Judgement:
    """Name every stray row and every gap.

    The rows in their place are the longest run of rising numbers; so the fewest possible rows are accused.
    """
    places = order.places
    kept = _in_place(order)
    placed = set(kept)
    strays = [places[i] for i in range(len(places)) if i not in placed]
    gaps = _gaps(order, kept)
    moved_last = _moved_from_the_end(places[kept[-1]], strays) if kept else []
    faults: list[Fault] = []
    for stray in strays:
        gap = next((g for g in gaps if g.first <= stray.number <= g.last and stray.number not in g.found), None)
        if gap is not None:
            gap.found.add(stray.number)
        if gap is not None or stray in moved_last:
            where = f"it belongs before journal_seq {gap.seq}" if gap is not None else "it belongs at the end"
            sentence = f"row {stray.number} at journal_seq {stray.journal_seq} stands in the wrong place; {where}"
            faults.append(Fault("reordered", stray.journal_seq, sentence))
        else:
            sentence = (
                f"the row at journal_seq {stray.journal_seq}, number {stray.number}, does not belong into the chain"
            )
            faults.append(Fault("inserted", stray.journal_seq, sentence))
    faults += [_deleted(gap) for gap in gaps if gap.missing]
    last = places[kept[-1]].number if kept else order.before
    reach = max([last, *(place.number for place in moved_last)])
    return Judgement(frozenset(stray.journal_seq for stray in strays), reach, tuple(faults))


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
        number = order.places[i].number
        if number > previous + 1:
            gaps.append(_Gap(previous + 1, number - 1, order.places[i].journal_seq))
        previous = number
    return gaps


def _moved_from_the_end(last: Place, strays: list[Place]) -> list[Place]:
    """Return strays that continue the chain behind its last row, in order."""
    by_number: dict[int, list[Place]] = {}
    for stray in strays:
        by_number.setdefault(stray.number, []).append(stray)
    moved: list[Place] = []
    while following := [p for p in by_number.get(last.number + 1, ()) if p.prev_hash == last.row_hash]:
        last = following[0]
        moved.append(last)
    return moved


def _deleted(gap: _Gap) -> Fault:
    which = f"row {gap.first} is" if gap.first == gap.last else f"rows {gap.first} to {gap.last} are"
    some = f" ({gap.missing} of them)" if gap.found else ""
    return Fault("deleted", gap.seq, f"{which} missing{some} before the row at journal_seq {gap.seq}")


def _in_place(order: Order) -> list[int]:
    """Return positions of a longest strictly rising run of numbers beyond `before` (patience sorting, n log n)."""
    places = order.places
    ends: list[int] = []
    at: list[int] = []
    back: dict[int, int] = {}
    for i, place in enumerate(places):
        if place.number <= order.before:
            continue
        pile = bisect_left(ends, place.number)
        if pile == len(ends):
            ends.append(place.number)
            at.append(i)
        elif ends[pile] != place.number or (i + 1 < len(places) and places[i + 1].prev_hash == place.row_hash):
            ends[pile], at[pile] = place.number, i
        else:
            continue  # of two with the same number, the row after it is chained to the other
        back[i] = at[pile - 1] if pile else -1
    run: list[int] = []
    i = at[-1] if at else -1
    while i >= 0:
        run.append(i)
        i = back[i]
    return run[::-1]
