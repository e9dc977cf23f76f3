"""What came of a run, and what is told of it beside the oracle's word: the scenario's own clauses, whether the fault
was located, what was done. Pure, over the journal's events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.contracts.incident import IncidentClosed
from broker.contracts.machine import Event
from broker.contracts.plan import Hypothesis, PlanAccepted, PlanProposed
from broker.contracts.task import Result
from harness.scenario import Draw
from harness.score import Score
from harness.verdict import Clause, Judgement
from injector.registry import check


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    scenario: str
    seed: int
    noise: float
    incident: str
    started_at: float
    """Seconds since the epoch, as `injected_at`."""
    injected_at: float | None
    """When the first injection began; None without one."""
    verdict: str
    reason: str
    judgement: Judgement
    score: Score
    located: bool | None
    """Whether the last accepted hypothesis names the device and the class of the fault; None without a fault."""
    refused: int
    signed: int
    hypothesis: Hypothesis | None = None
    """What the last accepted plan believed; None if no plan was accepted."""
    actions: tuple[str, ...] = ()
    """One sentence for every task that changed the world, in order."""

    @property
    def ok(self) -> bool:
        """Tell whether the run is recovered: the oracle agrees and nothing was done that was not called for."""
        return self.judgement.ok


def expected(
    draw: Draw, closed: IncidentClosed, figures: Score, *, done: int, missing: tuple[str, ...]
) -> tuple[Clause, ...]:
    """Return the scenario's own clauses: its verdict, its bounds, and that everything in it has happened.

    Args:
        done: how many actions changed the world.
        missing: what the scenario holds and has not happened, one sentence each.
    """
    expect = draw.scenario.expect
    said = closed.verdict if closed.verdict == expect.verdict else f"{closed.verdict}, not {expect.verdict}"
    clauses = [
        Clause("verdict as expected", closed.verdict == expect.verdict, f"{said}: {closed.reason}"),
        Clause(
            "no more actions than called for", done <= expect.max_actions, f"{done} done, at most {expect.max_actions}"
        ),
    ]
    if draw.scenario.kills or any(step.when for step in draw.faults):
        clauses.append(Clause("the scenario happened", not missing, "; ".join(missing) or "as written", missing))
    if expect.within_s is not None:
        clauses.append(_in_time(figures.time_to_recover_s, expect.within_s))
    return tuple(clauses)


def located(draw: Draw, guess: Hypothesis | None) -> bool | None:
    """Tell whether a hypothesis names device and class of a fault, or one of the causes that the scenario names in its
    place; None without a fault."""
    if not draw.specs:
        return None
    named = {(cause.target, cause.fault_class) for cause in draw.scenario.expect.causes}
    truths = named or {check(spec).truth(spec) for spec in draw.specs}
    return guess is not None and (guess.target, guess.fault_class) in truths


def hypothesis_of(events: Sequence[Event], incident: str) -> Hypothesis | None:
    """Return what the last accepted plan of an incident believed; None if no plan was accepted."""
    plans = {e.payload.plan.plan_id: e.payload.plan for e in events if isinstance(e.payload, PlanProposed)}
    accepted = [
        plans[e.payload.plan_id].hypothesis
        for e in events
        if isinstance(e.payload, PlanAccepted) and e.payload.incident == incident and e.payload.plan_id in plans
    ]
    return accepted[-1] if accepted else None


def actions_of(events: Sequence[Event]) -> tuple[str, ...]:
    """Return what changed the world, over all incidents of the run."""
    results = [e.payload for e in events if isinstance(e.payload, Result)]
    return tuple(result.out for result in results if result.changed and result.status == "OK")


def _in_time(took_s: float | None, within_s: float) -> Clause:
    said = "never recovered" if took_s is None else f"{took_s:.1f} s"
    ok = took_s is not None and took_s <= within_s
    return Clause("recovered in time", ok, f"{said}, at most {within_s:g} s")
