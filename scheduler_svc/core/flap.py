"""Anti-flap (spec 12): the same plan difference, again, from the same origin, within a few seconds.

The difference is the canonical set of edits between the plan committed last (none at first) and the one proposed. Task
ids, plan ids, times and cost estimates do not count: a task is what it does, to what, with which arguments, under
which condition; an edge is a pair of such tasks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from typing import Literal

from broker.contracts.plan import PlanTask
from scheduler_svc.core.state import MAX_FLAPS, Flap


def difference(before: Sequence[PlanTask], after: Sequence[PlanTask]) -> tuple[str, ...]:
    """Return the edits that turn one plan into the other, in canonical order; empty if they do the same."""
    old, new = _elements(before), _elements(after)
    added, removed = (new - old).elements(), (old - new).elements()
    return tuple(sorted([f"+{element}" for element in added] + [f"-{element}" for element in removed]))


def fingerprint(before: Sequence[PlanTask], after: Sequence[PlanTask]) -> str:
    """Return the SHA-256, hex, of the difference."""
    return sha256("\n".join(difference(before, after)).encode()).hexdigest()


def repeats(flaps: Sequence[Flap], mark: str, origin: Literal["rulebook", "llm"], now_us: int, window_s: float) -> bool:
    """Tell whether this origin brought this difference less than `window_s` seconds ago."""
    since = now_us - round(window_s * 1_000_000)
    return any(flap.fingerprint == mark and flap.origin == origin and flap.time_us > since for flap in flaps)


def remember(flaps: Sequence[Flap], new: Flap, window_s: float) -> tuple[Flap, ...]:
    """Return the judged differences that still count, with the new one; at most `MAX_FLAPS`."""
    since = new.time_us - round(window_s * 1_000_000)
    return (*(flap for flap in flaps if flap.time_us > since), new)[-MAX_FLAPS:]


def _elements(tasks: Sequence[PlanTask]) -> Counter[str]:
    content = {task.task_id: _content(task) for task in tasks}
    nodes = [_text("task", content[task.task_id], _condition(task, content)) for task in tasks]
    edges = [
        _text("edge", content.get(name, ""), content[task.task_id])
        for task in tasks
        for name in dict.fromkeys(task.dependencies)
    ]
    return Counter(nodes + edges)


def _content(task: PlanTask) -> str:
    return _text(task.type, task.target, task.args)


def _condition(task: PlanTask, content: dict[str, str]) -> list[object]:
    when = task.when
    return [] if when is None else [content.get(when.task_id, ""), when.field, when.equals]


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def _text(*parts: object) -> str:
    return _CANONICAL.encode(parts)
