"""One event into the state: which handler answers which message."""

from __future__ import annotations

from broker.contracts.base import Contract
from broker.contracts.control import ApprovalDenied, ApprovalGranted, Halt, Resume, Timer
from broker.contracts.incident import IncidentAnswered, IncidentReported
from broker.contracts.machine import Command, Event
from broker.contracts.monitor import Deviation, Verified
from broker.contracts.plan import PlanProposed
from broker.contracts.task import Result
from scheduler_svc.core.approvals import on_denied, on_granted
from scheduler_svc.core.config import SchedulerConfig
from scheduler_svc.core.control import on_due, on_resume
from scheduler_svc.core.incidents import on_deviation, on_reported, on_verified, settle
from scheduler_svc.core.planning import on_proposed
from scheduler_svc.core.questions import on_answered
from scheduler_svc.core.state import Incident, SchedulerState
from scheduler_svc.core.tasks import on_result
from scheduler_svc.core.turn import Change, Turn

Stepped = tuple[SchedulerState, tuple[Command, ...]]


def reduce(config: SchedulerConfig, state: SchedulerState, event: Event) -> Stepped:
    """Return the next state and what to say. A message that fits nothing leaves the state as it is."""
    turn = Turn(config, event.time_us, state.halted)
    payload = event.payload
    if isinstance(payload, IncidentReported):
        return on_reported(turn, state, payload)
    if isinstance(payload, Halt):
        return state.model_copy(update={"halted": True}), ()
    if isinstance(payload, Resume):
        return _resume(config, state, event)
    active = state.active
    if active is None or getattr(payload, "incident", None) != active.incident:
        return state, ()
    change, said = _of_incident(turn, active, payload)
    return settle(state, change), said


def _resume(config: SchedulerConfig, state: SchedulerState, event: Event) -> Stepped:
    resumed = state.model_copy(update={"halted": False})
    if not state.halted or state.active is None:
        return resumed, ()
    change, said = on_resume(Turn(config, event.time_us, halted=False), state.active)
    return settle(resumed, change), said


def _of_incident(turn: Turn, active: Incident, payload: Contract) -> Change:
    match payload:
        case PlanProposed():
            return on_proposed(turn, active, payload)
        case Result():
            return on_result(turn, active, payload)
        case Timer():
            return on_due(turn, active, payload)
        case Verified():
            return on_verified(turn, active, payload)
        case Deviation():
            return on_deviation(turn, active, payload)
        case IncidentAnswered():
            return on_answered(turn, active, payload)
        case ApprovalGranted():
            return on_granted(turn, active, payload)
        case ApprovalDenied():
            return on_denied(turn, active, payload)
        case _:
            return active, ()
