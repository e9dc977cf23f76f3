"""A run as a timeline: what the world, the monitor, the planner, a model and the agents did, and when. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from broker.contracts.incident import IncidentClosed, IncidentReported
from broker.contracts.machine import Event
from broker.contracts.monitor import AgentLost, Deviation, Verified
from broker.contracts.plan import (
    PlanAccepted,
    PlanAnswered,
    PlanExecuted,
    PlanPrompted,
    PlanProposed,
    PlanRejected,
    PlanRequested,
)
from broker.contracts.task import Result, Task
from harness.suite.result import Mark
from harness.terminal import one_line

US = 1_000_000
MAX_LABEL = 160
MAX_MARKS = 200
"""Of one run: a plan has at most eight tasks, so this is only reached by a run that went wrong in a loop."""


def timeline(
    incident: str, events: Iterable[Event], *, started_at: float, injected_at: float | None, faults: Sequence[str]
) -> tuple[Mark, ...]:
    """Return the marks of a run in the order of their begin.

    Args:
        events: the journal's trusted messages in order; those of other incidents are ignored.
        started_at: start of the run; `injected_at`: first fault in the world; seconds since the epoch.
        faults: what was injected, for the label.
    """
    teller = _Teller(incident, started_at)
    if injected_at is not None:
        teller.mark("world", f"injected: {', '.join(faults)}", injected_at, ok=False)
    for event in events:
        teller.see(event)
    return tuple(sorted(teller.marks, key=lambda mark: mark.at_s)[:MAX_MARKS])


class _Teller:
    def __init__(self, incident: str, started_at: float) -> None:
        self._incident = incident
        self._start = started_at
        self._open: dict[str, float] = {}
        self._proposed: dict[str, PlanProposed] = {}
        self._orders: dict[tuple[str, int], tuple[float, Task]] = {}
        self.marks: list[Mark] = []

    def mark(self, lane: str, label: str, at: float, until: float | None = None, *, ok: bool = True) -> None:
        said = one_line(label)
        said = said if len(said) <= MAX_LABEL else f"{said[: MAX_LABEL - 1]}…"
        end = None if until is None else round(until - self._start, 6)
        values: Mapping[str, object] = {"lane": lane, "label": said, "at_s": round(at - self._start, 6), "ok": ok}
        self.marks.append(Mark.model_validate({**values, "until_s": end}))

    def see(self, event: Event) -> None:
        message, at = event.payload, event.time_us / US
        if isinstance(message, AgentLost) and message.handed_on:
            self.mark("agents", f"{message.instance} lost, its work handed on", at, ok=False)
        if getattr(message, "incident", None) != self._incident:
            return
        self._see_monitor(event, at)
        self._see_planning(event, at)
        self._see_work(event, at)

    def _see_monitor(self, event: Event, at: float) -> None:
        message = event.payload
        if isinstance(message, IncidentReported):
            self.mark("world", f"reported by {message.source}", at)
        elif isinstance(message, Deviation):
            label = f"{message.kind} on {message.device}: {message.detail}"
            self.mark("monitor", label, message.t_trigger_us / US, ok=False)
        elif isinstance(message, Verified):
            why = "holds" if message.ok else "; ".join(message.reasons)
            self.mark("monitor", f"check {message.n}: {why}", self._open.pop("check", at), at, ok=message.ok)
        elif isinstance(message, IncidentClosed):
            good = message.verdict in ("verified", "no_fault")
            self.mark("verdict", f"{message.verdict}: {message.reason}", at, ok=good)

    def _see_planning(self, event: Event, at: float) -> None:
        message = event.payload
        if isinstance(message, PlanRequested):
            self._open["plan"] = at
        elif isinstance(message, PlanPrompted):
            self._open["model"] = at
        elif isinstance(message, PlanAnswered):
            label = f"{message.model or 'the model'}: {message.outcome}"
            self.mark("model", label, self._open.pop("model", at), at, ok=message.outcome == "ok")
        elif isinstance(message, PlanProposed):
            self._proposed[message.plan.plan_id] = message
        elif isinstance(message, PlanAccepted) and message.plan_id in self._proposed:
            self.mark("planner", _plan_label(self._proposed[message.plan_id]), self._open.pop("plan", at), at)
        elif isinstance(message, PlanRejected):
            why = "; ".join(reason.code for reason in message.reasons)
            self.mark("planner", f"plan refused: {why}", self._open.pop("plan", at), at, ok=False)

    def _see_work(self, event: Event, at: float) -> None:
        message = event.payload
        if isinstance(message, Task):
            self._orders[message.task_id, message.attempt] = at, message
        elif isinstance(message, Result):
            begun, order = self._orders.get((message.task_id, message.attempt), (at, None))
            what = f"{order.type} on {order.target}" if order else message.task_id
            changed = ", changed" if message.changed else ""
            self.mark("agents", f"{what}: {message.status}{changed}", begun, at, ok=message.status == "OK")
        elif isinstance(message, PlanExecuted):
            self._open["check"] = at


def _plan_label(proposed: PlanProposed) -> str:
    guess = proposed.plan.hypothesis
    what = "nothing is broken" if guess.fault_class == "none" else f"{guess.fault_class} on {guess.target}"
    return f"plan v{proposed.version} by the {proposed.origin}: {what} ({guess.confidence:.0%} sure)"
