"""The actions of the catalogue: each with its precondition, its `is_done` check, and what it does.

An action looks at the world before it acts. If the world is already as it should be since the order was given, the
action counts as done: a redelivered order never has its effect twice (the platform's ledger holds the same line a
second time, at the resource).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agents.base import Order
from agents.errors import PreconditionError
from services.platform.port import Drift, Effect, Platform, Workload

Check = Callable[[Order, Workload], str | None]
Done = Callable[[Order, Workload], bool]
Do = Callable[[Platform, Order], Awaitable[Effect]]


@dataclass(frozen=True, slots=True)
class Action:
    """One changing entry of the catalogue."""

    precondition: Check
    """Why the action does not apply, in one sentence, or None."""
    is_done: Done
    do: Do
    past: str
    """What has been done, for the sentence: `restarted`."""
    of_no_use: Check = lambda _order, _workload: None
    """Why it would help nobody, in one sentence, or None: it then changes nothing, and that is no failure."""


def _always(_order: Order, _workload: Workload) -> str | None:
    return None


def _started_since(order: Order, workload: Workload) -> bool:
    return workload.state == "running" and (workload.started_at_us or 0) > order.time_us


def _not_frozen(_order: Order, workload: Workload) -> str | None:
    return f"{workload.name} is paused: it needs resume, not start" if workload.state == "paused" else None


def _would_end_again(_order: Order, workload: Workload) -> str | None:
    """A stopped workload with a command or environment that nobody declared would end again, or serve wrongly."""
    wrong = sorted({item.what for item in workload.drift if item.what in ("command", "environment")})
    if workload.state == "running" or not wrong:
        return None
    return f"{workload.name} was given another {' and '.join(wrong)}: reconcile starts it as declared"


def _is_paused_or_runs(_order: Order, workload: Workload) -> str | None:
    if workload.state in ("paused", "running"):
        return None
    return f"{workload.name} is {workload.state}: there is nothing to resume"


def _runs(_order: Order, workload: Workload) -> str | None:
    return None if workload.state == "running" else f"{workload.name} is {workload.state}, so nothing can run in it"


async def _flush(platform: Platform, order: Order) -> Effect:
    prefix = str(order.task.args["prefix"])
    return await platform.exec(order.task.target, "flush_prefix", {"prefix": prefix}, key=order.task.effect_key)


ACTIONS: dict[str, Action] = {
    "start": Action(
        _not_frozen,
        lambda _order, workload: workload.state == "running",
        lambda platform, order: platform.start(order.task.target, key=order.task.effect_key),
        "started",
        _would_end_again,
    ),
    "resume": Action(
        _is_paused_or_runs,
        lambda _order, workload: workload.state == "running",
        lambda platform, order: platform.resume(order.task.target, key=order.task.effect_key),
        "resumed",
    ),
    "restart": Action(
        _always,
        _started_since,
        lambda platform, order: platform.restart(order.task.target, key=order.task.effect_key),
        "restarted",
    ),
    "reconcile": Action(
        _always,
        lambda _order, workload: workload.state == "running" and not workload.drift,
        lambda platform, order: platform.reconcile(order.task.target, key=order.task.effect_key),
        "brought back to its declaration",
    ),
    "flush_cache": Action(_runs, lambda _order, _workload: False, _flush, "flushed"),
}


def drift_lines(drift: tuple[Drift, ...]) -> tuple[str, ...]:
    """Return one line per difference; with the declared value it is enough to put a change back."""
    return tuple(f"{item.what} {item.name}: declared {item.declared}, is {item.actual}" for item in drift)


def require(action: Action, order: Order, workload: Workload) -> None:
    """Raise PreconditionError if the action does not apply to the world as it is."""
    reason = action.precondition(order, workload)
    if reason is not None:
        raise PreconditionError(reason)
