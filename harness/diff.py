"""Where two runs part: the first decision of each machine that the other run's did not make. Pure.

Machines decide side by side, and how their messages interleave means nothing: so each
machine's decisions are laid beside the same machine's in the other run. The parting is the earliest of the first
differences, counted from the incident's report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from broker.gate import Trusted
from harness.decisions import Change, Decision, Run, causes, differences

EXCERPT = 300


@dataclass(frozen=True, slots=True)
class Step:
    """One message of the row that led to a decision."""

    seq: int
    after_s: float
    """Since the incident's report, seconds."""
    subject: str
    text: str
    """Its payload, cut to EXCERPT characters."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one run decided."""

    run: str
    seq: int
    after_s: float
    subject: str
    text: str
    """The whole payload."""
    led_by: tuple[Step, ...]
    """What led to it, the nearest cause first."""


@dataclass(frozen=True, slots=True)
class Parting:
    """The first difference of one machine."""

    machine: str
    number: int
    """Which of its decisions, counted from one."""
    changes: tuple[Change, ...]
    """Where the two differ; empty if one run has no such decision."""
    a: Side | None
    b: Side | None

    @property
    def after_s(self) -> float:
        """Return when the earlier of the two was said, seconds since the report."""
        return min(side.after_s for side in (self.a, self.b) if side is not None)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of comparing two runs."""

    a: str
    b: str
    exact: bool
    same: bool
    decisions: tuple[int, int]
    """How many each run made."""
    first: Parting | None
    machines: Mapping[str, Parting]
    """First difference of every machine that differs."""


def compare(a: Run, b: Run, *, exact: bool = False) -> Comparison:
    """Lay two runs side by side.

    Args:
        exact: compare payloads byte by byte, which only two views of the same run can pass; else by essence.
    """
    machines = {}
    for machine in {**a.decisions, **b.decisions}:
        ours, theirs = a.decisions.get(machine, ()), b.decisions.get(machine, ())
        if (parting := _parting(machine, (a, ours), (b, theirs), exact)) is not None:
            machines[machine] = parting
    first = min(machines.values(), key=lambda parting: parting.after_s, default=None)
    counts = sum(map(len, a.decisions.values())), sum(map(len, b.decisions.values()))
    return Comparison(a.name, b.name, exact, first is None, counts, first, machines)


def _parting(
    machine: str, a: tuple[Run, tuple[Decision, ...]], b: tuple[Run, tuple[Decision, ...]], exact: bool
) -> Parting | None:
    (run_a, ours), (run_b, theirs) = a, b
    for place in range(max(len(ours), len(theirs))):
        one = ours[place] if place < len(ours) else None
        other = theirs[place] if place < len(theirs) else None
        changes = () if one is None or other is None else _changes(one, other, exact)
        if one is None or other is None or changes:
            return Parting(machine, place + 1, changes, _side(run_a, one), _side(run_b, other))
    return None


def _changes(one: Decision, other: Decision, exact: bool) -> tuple[Change, ...]:
    """Return where two decisions differ: in essence, or by every field of their texts and where they stand."""
    if not exact:
        return differences(one.essence, other.essence)
    found = differences(_whole(one), _whole(other))
    return found or (() if one.text == other.text else (Change("text", one.text, other.text),))


def _whole(decision: Decision) -> dict[str, object]:
    return {"subject": decision.subject, **json.loads(decision.text)}


def _side(run: Run, decision: Decision | None) -> Side | None:
    if decision is None:
        return None
    led_by = tuple(_step(run, trusted) for trusted in causes(run, decision.cause))
    after_s = _after_s(run, decision.time_us)
    return Side(run.name, decision.seq, after_s, decision.subject, decision.text, led_by)


def _step(run: Run, trusted: Trusted) -> Step:
    stored = trusted.stored
    text = trusted.envelope.payload.decode(errors="replace")[:EXCERPT]
    return Step(stored.seq, _after_s(run, stored.time_us), stored.subject, text)


def _after_s(run: Run, time_us: int) -> float:
    return round((time_us - run.began_us) / 1_000_000, 3)
