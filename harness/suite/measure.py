"""From what a run came to (harness/run.py) and its journal to the result that a suite keeps. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from broker.contracts.machine import Event
from broker.contracts.plan import Hypothesis, PlanAccepted, PlanAnswered, PlanProposed
from harness.oracle import UNCHANGED, Clause
from harness.run import Outcome
from harness.scenario import Draw
from harness.score import Score, false_actions, is_success
from harness.suite.result import ClauseSaid, CleanUp, Key, ReplanSaid, RunFigures, RunResult
from harness.suite.timeline import timeline
from injector.registry import check

MAX_TEXT = 2_000


@dataclass(frozen=True, slots=True)
class Run:
    """One run as the suite's shell saw it. Times in seconds, `started_at` since the epoch."""

    key: Key
    draw: Draw
    family: str
    started_at: float
    wall_s: float
    clean_up: CleanUp
    outcome: Outcome | None = None
    """None: it could not be measured, and `error` says why."""
    error: str | None = None
    events: Sequence[Event] = ()
    notes: tuple[str, ...] = field(default=())


def result(run: Run) -> RunResult:
    """Return what is kept of a run."""
    head: dict[str, Any] = {
        "key": run.key,
        "family": run.family,
        "faults": tuple(f"{step.fault} on {step.target}" for step in run.draw.faults),
        "noise": run.draw.noise,
        "text": run.draw.text,
        "started_at": datetime.fromtimestamp(run.started_at, UTC),
        "wall_s": run.wall_s,
        "error": run.error,
        "notes": run.notes,
        "clean_up": run.clean_up,
    }
    return RunResult(**head) if run.outcome is None else RunResult(**head, **_measured(run, run.outcome))


def _measured(run: Run, outcome: Outcome) -> dict[str, Any]:
    events, incident = run.events, outcome.incident
    return {
        "incident": incident,
        "verdict": outcome.verdict,
        "reason": outcome.reason[:MAX_TEXT],
        "ok": outcome.ok,
        "clauses": tuple(
            ClauseSaid(name=c.name, ok=c.ok, detail=c.detail[:MAX_TEXT]) for c in outcome.judgement.clauses
        ),
        "figures": run_figures(outcome.score, recovered=outcome.ok),
        "located": outcome.located,
        "hypothesis": _words(outcome.hypothesis),
        "planned_by": _planned_by(events, incident),
        "models": _models(events, incident),
        "actions": tuple(sentence[:MAX_TEXT] for sentence in outcome.actions),
        "false_actions": false_actions(incident, events, _devices(run.draw)),
        "collateral": collateral(outcome.judgement.clauses),
        "refused": outcome.refused,
        "marks": timeline(
            incident,
            events,
            started_at=outcome.started_at,
            injected_at=outcome.injected_at,
            faults=[f"{step.fault} on {step.target}" for step in run.draw.faults],
        ),
    }


def run_figures(score: Score, *, recovered: bool) -> RunFigures:
    """Return the figures of one run. The root is verified only if the oracle agrees: the triage's own word is no proof.

    Args:
        recovered: the oracle's judgement of the whole run.
    """
    verified = score.root_verified and recovered
    return RunFigures(
        root_verified=verified,
        tasks_total=score.tasks_total,
        tasks_completed=score.tasks_completed,
        leaf_fail=score.leaf_fail_pct,
        success=is_success(
            verified=verified, completed=score.tasks_completed, total=score.tasks_total, leaf_fail=score.leaf_fail_pct
        ),
        replans=tuple(ReplanSaid(latency_s=r.t_replan_complete - r.t_trigger, tged=r.tged) for r in score.replans),
        detect_s=score.time_to_detect_s,
        repair_s=score.time_to_repair_s,
        recover_s=score.time_to_recover_s,
        model_s=score.model_s,
        platform_s=score.platform_s,
        model_seconds=score.model_seconds,
        prompt_tokens=score.prompt_tokens,
        completion_tokens=score.completion_tokens,
    )


def collateral(clauses: Sequence[Clause]) -> tuple[str, ...]:
    """Return what the oracle found changed that should not be; a failed clause that lists nothing counts as one."""
    found: list[str] = []
    for clause in clauses:
        if clause.name == UNCHANGED and not clause.ok:
            found += clause.items or (clause.detail,)
    return tuple(sentence[:MAX_TEXT] for sentence in found)


def _devices(draw: Draw) -> frozenset[str]:
    return frozenset(check(spec).truth(spec)[0] for spec in draw.specs)


def _words(guess: Hypothesis | None) -> str:
    if guess is None:
        return "no plan was accepted"
    if guess.fault_class == "none":
        return f"nothing is broken ({guess.confidence:.0%} sure)"
    return f"{guess.fault_class} on {guess.target} ({guess.confidence:.0%} sure)"


def _planned_by(events: Sequence[Event], incident: str) -> Literal["rulebook", "llm", "nobody"]:
    made = {e.payload.plan.plan_id: e.payload.origin for e in events if isinstance(e.payload, PlanProposed)}
    accepted = [e.payload for e in events if isinstance(e.payload, PlanAccepted) and e.payload.incident == incident]
    return made.get(accepted[-1].plan_id, "nobody") if accepted else "nobody"


def _models(events: Sequence[Event], incident: str) -> tuple[str, ...]:
    answers = [e.payload for e in events if isinstance(e.payload, PlanAnswered) and e.payload.incident == incident]
    return tuple(sorted({answer.model for answer in answers if answer.model}))


def endpoints(events: Sequence[Event], incident: str) -> frozenset[str]:
    """Return the endpoints that were asked for plans of an incident, as their answers name them."""
    answers = [e.payload for e in events if isinstance(e.payload, PlanAnswered) and e.payload.incident == incident]
    return frozenset(str(answer.settings["endpoint"]) for answer in answers if "endpoint" in answer.settings)
