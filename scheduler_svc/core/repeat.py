"""A plan that failed is not taken again (docs/adr/0012): what it would do, to what, and for which hypothesis.

The hypothesis counts only where the rulebook names it: a model could give the same actions another name each time. A
plan of which nothing was done, since no condition held, has not failed in this sense.

A repair after which an agent saw its device healthy did help, at that device: what is wrong there now has come back
(docs/adr/0027). The rulebook, which asks for fresh signs of it, may take it again; a model may not.

Looks do not count, and a plan that only looks has no mark: looking again changes nothing and may see something new.
Task ids, order, conditions and costs do not count either: the same actions in other words are the same attempt.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable
from hashlib import sha256

from broker.contracts.catalogue import CATALOGUE
from broker.contracts.plan import Hypothesis, PlanProposed, PlanTask, Tried
from scheduler_svc.core.state import SATISFIED, Commitment, TaskState, clip

MAX_LINES = 8
MAX_LINE = 120


def marks_of(commitment: Commitment, well: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the marks of a committed plan that did not help: what it would have done for its hypothesis, the same
    without the hypothesis, and what of it was done. None if nothing was dispatched or denied.

    Args:
        well: devices that were healthy after it; then the first mark, the one that binds the rulebook, is left out.
    """
    tasks = [task.plan_task for task in commitment.tasks]
    acts = [task for task in commitment.tasks if _changes_world(task.plan_task)]
    done = [task.plan_task for task in acts if task.attempt or task.status == "failed"]
    if not done:
        return ()
    believed = () if well else (mark_of(commitment.hypothesis, tasks),)
    return (*believed, mark_of(None, tasks), mark_of(None, done))


def well_after(commitment: Commitment) -> tuple[str, ...]:
    """Return the devices that an agent saw healthy after the plan had changed something, by the plan's own order; none
    of a plan that did not come to its end."""
    if not all(task.status in SATISFIED for task in commitment.tasks):
        return ()
    changed = {task.plan_task.task_id for task in commitment.tasks if task.changed and _changes_world(task.plan_task)}
    seen = (
        task.plan_task.target
        for task in commitment.tasks
        if task.status == "ok" and task.meta.get("healthy") is True and changed & set(task.plan_task.dependencies)
    )
    return tuple(dict.fromkeys(seen))


def has_failed(failed: Container[str], proposal: PlanProposed) -> bool:
    """Tell whether a plan is among those whose marks are given; a model's by its actions alone."""
    plan = proposal.plan
    return mark_of(None if proposal.origin == "llm" else plan.hypothesis, plan.tasks) in failed


def mark_of(hypothesis: Hypothesis | None, tasks: Iterable[PlanTask]) -> str:
    """Return the SHA-256, hex, of what a plan would do, for a hypothesis or for any; empty if it changes nothing."""
    acts = sorted({_act(task) for task in tasks if _changes_world(task)})
    if not acts:
        return ""
    believed = f"{hypothesis.target} {hypothesis.fault_class}" if hypothesis is not None else "any"
    return sha256("\n".join((believed, *acts)).encode()).hexdigest()


def told(commitment: Commitment, outcome: str, well: tuple[str, ...] = ()) -> Tried:
    """Return a committed plan's hypothesis as tried, with what was done for it, what its looks showed and what was well
    after it."""
    done = tuple(_done(task) for task in commitment.tasks if task.attempt and _changes_world(task.plan_task))
    seen = tuple(
        clip(f"{task.plan_task.type} {task.plan_task.target} {name}={json.dumps(value)}", MAX_LINE)
        for task in commitment.tasks
        if task.status == "ok"
        for name, value in sorted(task.meta.items())
    )
    return Tried(
        hypothesis=commitment.hypothesis,
        outcome=clip(outcome),
        actions=done[:MAX_LINES],
        showed=seen[:MAX_LINES],
        well=well[:MAX_LINES],
    )


def _done(task: TaskState) -> str:
    changed = ", changed" if task.changed else ", changed nothing"
    return clip(f"{task.plan_task.type} {task.plan_task.target}: {task.status}{changed}", MAX_LINE)


def _act(task: PlanTask) -> str:
    return json.dumps([task.type, task.target, task.args], sort_keys=True, separators=(",", ":"))


def _changes_world(task: PlanTask) -> bool:
    """A type that the catalogue does not know changes nothing: no plan with one is ever carried out."""
    entry = CATALOGUE.get(task.type)
    return entry is not None and entry.changes_world
