"""The decisions of a run, out of its journal, and what of each matters when two runs are compared. Pure.

Two runs of one scenario never have the same bytes: names of incidents, times and measured figures differ. So a decision
is compared by its *essence*: what is decided, about what, in which order; not when, not how sure, not in which words.
Two views of the very same run can be compared by exact payload bytes instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from broker.contracts.base import Contract
from broker.contracts.control import ApprovalRequested
from broker.contracts.incident import IncidentAsked, IncidentClosed, IncidentReported
from broker.contracts.monitor import Deviation, Verified
from broker.contracts.plan import (
    Plan,
    PlanAccepted,
    PlanExecuted,
    PlanPrompted,
    PlanProposed,
    PlanRejected,
    PlanRequested,
    PlanTask,
)
from broker.contracts.task import Task
from broker.gate import Trusted
from broker.runtime.decider import ONLY_DECIDED

Essence = Mapping[str, object]
_NOTHING = object()
DEPTH = 5
"""How many causes are followed back from a decision."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A message that a machine said, and only by deciding it."""

    machine: str
    seq: int
    time_us: int
    subject: str
    cause: int
    """Journal sequence of the event that led to it."""
    text: str
    """Its payload: canonical JSON."""
    essence: Essence


@dataclass(frozen=True, slots=True)
class Run:
    """What one journal holds of one incident."""

    name: str
    """The file, or `live:<incident>`."""
    incident: str
    began_us: int
    """Broker time of the incident's report, or of the first message if it was not seen; microseconds."""
    decisions: Mapping[str, tuple[Decision, ...]]
    """By machine, in the journal's order."""
    said: Mapping[int, Trusted]
    """Every trusted message by its sequence, for the causes."""


def run_of(name: str, incident: str, messages: Iterable[Trusted]) -> Run:
    """Return the decisions about an incident; about every incident if its name is empty."""
    decisions: dict[str, list[Decision]] = {machine: [] for machine in ONLY_DECIDED}
    said: dict[int, Trusted] = {}
    began_us: int | None = None
    for trusted in messages:
        said[trusted.stored.seq] = trusted
        message = trusted.message
        if isinstance(message, IncidentReported) and message.incident == incident:
            began_us = trusted.stored.time_us
        machine = trusted.envelope.role
        if trusted.envelope.type not in ONLY_DECIDED.get(machine, ()):
            continue
        if not incident or getattr(message, "incident", None) == incident:
            decisions[machine].append(_decision(machine, trusted))
    first = next(iter(said.values()), None)
    start_us = 0 if first is None else first.stored.time_us
    made = {machine: tuple(items) for machine, items in decisions.items()}
    return Run(name, incident, start_us if began_us is None else began_us, made, said)


def _decision(machine: str, trusted: Trusted) -> Decision:
    stored, envelope = trusted.stored, trusted.envelope
    text = envelope.payload.decode()
    essence = {"type": envelope.type, **essence_of(trusted.message)}
    return Decision(machine, stored.seq, stored.time_us, stored.subject, envelope.cause, text, essence)


def causes(run: Run, cause: int) -> tuple[Trusted, ...]:
    """Return the messages that led to a decision: its cause, that one's cause, and so on, at most DEPTH of them.

    What is not in the journal at hand, such as a message from before the recording, ends the row.
    """
    found: list[Trusted] = []
    while len(found) < DEPTH and (trusted := run.said.get(cause)) is not None:
        found.append(trusted)
        if trusted.envelope.cause >= cause:
            break  # a cause stands before its effect; a forged one must not lead in circles
        cause = trusted.envelope.cause
    return tuple(found)


def essence_of(message: Contract) -> dict[str, object]:
    """Return what of a decision counts for what happens next."""
    match message:
        case PlanRequested():
            codes = [reason.code for reason in message.rejected]
            return _attempt(message) | {"rulebook_only": message.rulebook_only, "rejected": codes}
        case PlanPrompted():
            return _attempt(message) | {"form": message.form, "template": message.template}
        case PlanProposed():
            codes = [reason.code for reason in message.unusable]
            return _attempt(message) | {"unusable": codes, **essence_of_plan(message.plan)}
        case PlanAccepted():
            return _attempt(message) | {"order": [list(step) for step in message.order]}
        case PlanRejected():
            return _attempt(message) | {"reasons": [reason.code for reason in message.reasons]}
        case PlanExecuted():
            ended = {name: list(getattr(message, name)) for name in ("completed", "skipped", "failed")}
            return {"version": message.version, **ended, "actions": message.actions}
        case Task():
            names = ("kind", "task_id", "attempt", "type", "target", "risk")
            return {name: getattr(message, name) for name in names} | {"args": dict(message.args)}
        case ApprovalRequested():
            return {"task_id": message.task_id, "action": message.action, "target": message.target}
        case IncidentAsked():
            return {"n": message.n, "question": message.question}
        case IncidentReported():
            return {"source": message.source}
        case IncidentClosed():
            return {"verdict": message.verdict, "plan_version": message.plan_version, "actions": message.actions}
        case Deviation():
            return {"n": message.n, "kind": message.kind, "device": message.device}
        case Verified():
            devices = sorted({reason.partition(":")[0] for reason in message.reasons})
            return {"n": message.n, "plan_version": message.plan_version, "ok": message.ok, "against": devices}
        case _:
            return {"text": message.encode().decode()}


def essence_of_plan(plan: Plan) -> dict[str, object]:
    """Return what a plan believes and what it would do."""
    return {
        "target": plan.hypothesis.target,
        "fault_class": plan.hypothesis.fault_class,
        "tasks": [_essence_of_task(task) for task in plan.tasks],
        "asks": plan.clarifying_task is not None,
    }


def _essence_of_task(task: PlanTask) -> dict[str, object]:
    essence = json.loads(task.encode())
    del essence["estimated_cost_ms"]
    return dict(essence)


def _attempt(message: PlanRequested | PlanPrompted | PlanProposed | PlanAccepted | PlanRejected) -> dict[str, object]:
    return {"version": message.version, "attempt": message.attempt}


@dataclass(frozen=True, slots=True)
class Change:
    """One place at which two essences differ."""

    field: str
    """As a dotted path."""
    a: object
    b: object
    """None also where there is nothing."""


def differences(one: object, other: object, at: str = "") -> tuple[Change, ...]:
    """Return every place at which two essences differ; empty if nowhere."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        names = [*one, *(name for name in other if name not in one)]
        pairs = [(str(name), one.get(name, _NOTHING), other.get(name, _NOTHING)) for name in names]
    elif isinstance(one, list) and isinstance(other, list):
        pairs = [(str(n), a, b) for n, (a, b) in enumerate(zip_longest(one, other, fillvalue=_NOTHING))]
    elif one == other and type(one) is type(other):
        return ()
    else:
        return (Change(at or "value", *(None if side is _NOTHING else side for side in (one, other))),)
    found = [change for name, a, b in pairs for change in differences(a, b, f"{at}.{name}" if at else name)]
    return tuple(found)
