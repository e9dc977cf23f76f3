"""The journal, folded: `fold(view, event) -> view`. Pure; the same events give the same view, live and in replay.

What does not fit (a result of a task nobody planned, a second verdict) changes nothing: the journal is other people's
word, and a view must not fall over it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from broker.contracts.base import Contract
from broker.contracts.control import Halt, Resume
from broker.contracts.incident import IncidentAnswered, IncidentAsked, IncidentClosed, IncidentReported
from broker.contracts.machine import Event
from broker.contracts.monitor import AgentLost, AgentUp, Verified
from broker.contracts.task import Claim, DeadLetter, Result
from broker.contracts.telemetry import Telemetry
from broker.subjects import claim_of
from dashboard.api.core.planning import FOLDS as PLANNING
from dashboard.api.core.view import AgentView, DeviceView, HaltView, IncidentView, QuestionView, View

KEPT_INCIDENTS = 50
"""So many of the newest incidents are kept, and every open one; older ones are in the audit."""
KEPT_AGENTS = 200
"""Instances that came and went; the least recently seen go first."""
US_PER_MS = 1_000.0

Fold = Callable[[View, Event, Any], View]


def fold(view: View, event: Event) -> View:
    """Return the view after one more message; one that was folded before changes nothing."""
    if event.seq <= view.head:
        return view
    view = view.model_copy(update={"head": event.seq, "time_us": max(view.time_us, event.time_us)})
    step = _FOLDS.get(type(event.payload))
    if step is not None:
        return step(view, event, event.payload)
    planning = PLANNING.get(type(event.payload))
    return view if planning is None else _with_planning(view, event, planning)


def _with_planning(view: View, event: Event, step: Callable[[IncidentView, Event, Any], IncidentView]) -> View:
    incident = view.incidents.get(getattr(event.payload, "incident", ""))
    if incident is None:
        return view
    after = step(incident, event, event.payload)
    view = _put(view, after)
    return _measure_plan(view, incident, after)


def _measure_plan(view: View, before: IncidentView, after: IncidentView) -> View:
    """Note how long planning took when a plan was just accepted."""
    newest = after.plans[-1] if after.plans else None
    known = {(plan.version, plan.attempt) for plan in before.plans if plan.decided_us is not None}
    if newest is None or newest.state != "accepted" or (newest.version, newest.attempt) in known:
        return view
    taken = ((newest.decided_us or 0) - newest.requested_us) / US_PER_MS
    return _metered(view, plan_ms=taken)


def _put(view: View, incident: IncidentView) -> View:
    found = {**view.incidents, incident.incident: incident}
    closed = (name for name, item in found.items() if item.phase == "closed" and name != incident.incident)
    if len(found) > KEPT_INCIDENTS and (oldest := next(closed, None)) is not None:
        del found[oldest]
    return view.model_copy(update={"incidents": found})


def _metered(view: View, **values: float) -> View:
    return view.model_copy(update={"meters": view.meters.model_copy(update=values)})


def _reported(view: View, event: Event, message: IncidentReported) -> View:
    if message.incident in view.incidents:
        return view
    incident = IncidentView(
        incident=message.incident,
        text=message.text,
        source=message.source,
        reported_us=event.time_us,
        seq=event.seq,
    )
    return _put(view, incident)


def _asked(view: View, event: Event, message: IncidentAsked) -> View:
    until = event.time_us + round(message.wait_s * 1e6)
    return _changed(view, message, question=QuestionView(n=message.n, question=message.question, until_us=until))


def _answered(view: View, event: Event, message: IncidentAnswered) -> View:
    incident = view.incidents.get(message.incident)
    if incident is None or incident.question is None or incident.question.n != message.n:
        return view
    return _changed(view, message, question=None)


def _closed(view: View, event: Event, message: IncidentClosed) -> View:
    incident = view.incidents.get(message.incident)
    if incident is None or incident.phase == "closed":
        return view
    view = _changed(
        view,
        message,
        phase="closed",
        verdict=message.verdict,
        reason=message.reason,
        merged_into=message.merged_into,
        closed_us=event.time_us,
        question=None,
        approvals=tuple(
            item.model_copy(update={"state": "expired"}) if item.state == "open" else item
            for item in incident.approvals
        ),
    )
    if message.verdict != "verified":
        return view
    return _metered(view, repair_s=(event.time_us - incident.reported_us) / 1e6)


def _changed(view: View, message: Any, **values: object) -> View:
    incident = view.incidents.get(message.incident)
    return view if incident is None else _put(view, incident.model_copy(update=values))


def _up(view: View, event: Event, message: AgentUp) -> View:
    return _agent(view, message.instance, role=message.role, connected=True, since_us=event.time_us)


def _lost(view: View, event: Event, message: AgentLost) -> View:
    view = _agent(view, message.instance, role=message.role, connected=False, since_us=event.time_us, works_on=())
    waiting = {**view.handed_on, **{claim_of(subject): event.time_us for subject in message.handed_on}}
    return view.model_copy(update={"handed_on": dict(list(waiting.items())[-KEPT_AGENTS:])})


def _agent(view: View, instance: str, **values: object) -> View:
    known = view.agents.get(instance) or AgentView(instance=instance, role="", connected=True, since_us=0)
    others = {name: agent for name, agent in view.agents.items() if name != instance}
    kept = dict(list(others.items())[-(KEPT_AGENTS - 1) :])
    return view.model_copy(update={"agents": {**kept, instance: known.model_copy(update=values)}})


def _claimed(view: View, event: Event, message: Claim) -> View:
    subject = message.subject()
    known = view.agents.get(message.instance)
    works = tuple(name for name in (known.works_on if known else ()) if name != subject)
    since = known.since_us if known and known.since_us else event.time_us
    view = _agent(
        view,
        message.instance,
        role=message.kind,
        connected=True,
        since_us=since,
        works_on=(*works, subject),
    )
    if (lost_us := view.handed_on.get(subject)) is not None:
        waiting = {name: at for name, at in view.handed_on.items() if name != subject}
        view = view.model_copy(update={"handed_on": waiting})
        view = _metered(view, reassign_ms=(event.time_us - lost_us) / US_PER_MS)
    return _with_planning(view, event, PLANNING[Claim])


def _result(view: View, event: Event, message: Result) -> View:
    claim = message.subject().replace("triage.result.", "triage.claim.", 1)
    for agent in view.agents.values():
        if claim in agent.works_on:
            left = tuple(name for name in agent.works_on if name != claim)
            view = _agent(view, agent.instance, works_on=left)
    if view.halt is not None:
        stop_ms = (event.time_us - view.halt.since_us) / US_PER_MS
        view = view.model_copy(update={"halt": view.halt.model_copy(update={"stop_ms": stop_ms})})
        view = _metered(view, stop_ms=stop_ms)
    return _with_planning(view, event, PLANNING[Result])


def _halted(view: View, event: Event, message: Halt) -> View:
    if view.halt is not None:
        return view
    halt = HaltView(reason=message.reason, since_us=event.time_us, seq=event.seq)
    return _metered(view.model_copy(update={"halt": halt}), stop_ms=0.0)


def _resumed(view: View, event: Event, message: Resume) -> View:
    return view.model_copy(update={"halt": None})


def _checked(view: View, event: Event, message: Verified) -> View:
    incident = view.incidents.get(message.incident)
    return view if incident is None else _changed(view, message, checks=incident.checks + 1)


def _dead(view: View, event: Event, message: DeadLetter) -> View:
    incident = view.incidents.get(message.incident)
    return view if incident is None else _changed(view, message, dead_letters=incident.dead_letters + 1)


def _device(view: View, event: Event, message: Telemetry) -> View:
    known = view.devices.get(message.device_id)
    if known is not None and (known.status, known.error_code) == (message.status, message.error_code):
        return view
    same = known is not None and known.status == message.status
    device = DeviceView(
        name=message.device_id,
        status=message.status,
        error_code=message.error_code,
        since_us=known.since_us if same and known is not None else event.time_us,
    )
    return view.model_copy(update={"devices": {**view.devices, message.device_id: device}})


_FOLDS: dict[type[Contract], Fold] = {
    IncidentReported: _reported,
    IncidentAsked: _asked,
    IncidentAnswered: _answered,
    IncidentClosed: _closed,
    AgentUp: _up,
    AgentLost: _lost,
    Claim: _claimed,
    Result: _result,
    Halt: _halted,
    Resume: _resumed,
    Verified: _checked,
    DeadLetter: _dead,
    Telemetry: _device,
}
