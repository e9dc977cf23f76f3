"""A plan that failed is not taken again (docs/adr/0012): what it would do, to what, and for which hypothesis.

Looks do not count, and a plan that only looks has no mark: looking again changes nothing and may see something new.
Task ids, order, conditions and costs do not count either: the same actions in other words are the same attempt.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256

from broker.contracts.catalogue import CATALOGUE
from broker.contracts.plan import Hypothesis, PlanTask, Tried
from scheduler_svc.core.state import Commitment, TaskState, clip

MAX_LINES = 8
MAX_LINE = 120


def mark_of(hypothesis: Hypothesis, tasks: Iterable[PlanTask]) -> str:
    """Return the SHA-256, hex, of what a plan would do; empty if it changes nothing."""
    acts = sorted({_act(task) for task in tasks if _changes_world(task)})
    if not acts:
        return ""
    believed = f"{hypothesis.target} {hypothesis.fault_class}"
    return sha256("\n".join((believed, *acts)).encode()).hexdigest()


def told(commitment: Commitment, outcome: str) -> Tried:
    """Return a committed plan's hypothesis as tried, with what was done for it and what its looks showed."""
    done = tuple(_done(task) for task in commitment.tasks if task.attempt and _changes_world(task.plan_task))
    seen = tuple(
        clip(f"{task.plan_task.type} {task.plan_task.target} {name}={json.dumps(value)}", MAX_LINE)
        for task in commitment.tasks
        if task.status == "ok"
        for name, value in sorted(task.meta.items())
    )
    return Tried(
        hypothesis=commitment.hypothesis, outcome=clip(outcome), actions=done[:MAX_LINES], showed=seen[:MAX_LINES]
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
