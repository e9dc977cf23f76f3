"""How an incident's plans, tasks and approvals go on: the part of the fold that stays inside one incident."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from broker.contracts.base import Contract
from broker.contracts.control import ApprovalDenied, ApprovalExpired, ApprovalGranted, ApprovalRequested
from broker.contracts.machine import Event
from broker.contracts.plan import (
    PlanAccepted,
    PlanAnswered,
    PlanExecuted,
    PlanPrompted,
    PlanProposed,
    PlanRejected,
    PlanRequested,
)
from broker.contracts.task import Claim, Result, Task
from dashboard.api.core.view import ApprovalView, IncidentView, PlanView, TaskView

Step = Callable[[IncidentView, Event, Any], IncidentView]


def _requested(incident: IncidentView, event: Event, message: PlanRequested) -> IncidentView:
    plan = PlanView(version=message.version, attempt=message.attempt, state="requested", requested_us=event.time_us)
    others = tuple(item for item in incident.plans if item.version != message.version)
    # A new version: whatever the one before was waiting for is over.
    fresh = len(others) == len(incident.plans)
    approvals = tuple(
        item.model_copy(update={"state": "expired"}) if fresh and item.state == "open" else item
        for item in incident.approvals
    )
    return incident.model_copy(update={"plans": (*others, plan), "approvals": approvals, "question": None})


def _prompted(incident: IncidentView, event: Event, message: PlanPrompted) -> IncidentView:
    return _attempt(incident, message, state="prompted")


def _answered(incident: IncidentView, event: Event, message: PlanAnswered) -> IncidentView:
    return _attempt(incident, message, state="answered")


def _proposed(incident: IncidentView, event: Event, message: PlanProposed) -> IncidentView:
    believed = message.plan.hypothesis
    return _attempt(
        incident,
        message,
        state="proposed",
        plan_id=message.plan.plan_id,
        origin=message.origin,
        target=believed.target,
        fault_class=believed.fault_class,
        confidence=believed.confidence,
        tasks=tuple(
            TaskView(
                task_id=f"v{message.version}-{task.task_id}",
                type=task.type,
                target=task.target,
                dependencies=tuple(f"v{message.version}-{name}" for name in task.dependencies),
            )
            for task in message.plan.tasks
        ),
    )


def _accepted(incident: IncidentView, event: Event, message: PlanAccepted) -> IncidentView:
    return _attempt(incident, message, state="accepted", decided_us=event.time_us)


def _rejected(incident: IncidentView, event: Event, message: PlanRejected) -> IncidentView:
    return _attempt(incident, message, state="rejected", decided_us=event.time_us)


def _attempt(incident: IncidentView, message: Any, **values: object) -> IncidentView:
    """Change the plan of that version if the message belongs to its newest attempt."""
    plans = tuple(
        plan.model_copy(update=values) if (plan.version, plan.attempt) == (message.version, message.attempt) else plan
        for plan in incident.plans
    )
    return incident.model_copy(update={"plans": plans})


def _executed(incident: IncidentView, event: Event, message: PlanExecuted) -> IncidentView:
    plans = tuple(
        plan.model_copy(update={"state": "executed"}) if plan.version == message.version else plan
        for plan in incident.plans
    )
    return incident.model_copy(update={"plans": plans})


def _dispatched(incident: IncidentView, event: Event, message: Task) -> IncidentView:
    return _task(
        incident,
        message.task_id,
        state="dispatched",
        attempt=message.attempt,
        agent="",
        dispatched_us=event.time_us,
        ended_us=None,
    )


def _claimed(incident: IncidentView, event: Event, message: Claim) -> IncidentView:
    return _task(incident, message.task_id, state="running", agent=message.instance, attempt=message.attempt)


def _ended(incident: IncidentView, event: Event, message: Result) -> IncidentView:
    state = "done" if message.status == "OK" else "failed"
    return _task(incident, message.task_id, state=state, agent=message.instance, ended_us=event.time_us)


def _task(incident: IncidentView, task_id: str, **values: object) -> IncidentView:
    plans = tuple(
        plan.model_copy(
            update={
                "tasks": tuple(
                    task.model_copy(update=values) if task.task_id == task_id else task for task in plan.tasks
                )
            }
        )
        if any(task.task_id == task_id for task in plan.tasks)
        else plan
        for plan in incident.plans
    )
    return incident.model_copy(update={"plans": plans})


def _approval_asked(incident: IncidentView, event: Event, message: ApprovalRequested) -> IncidentView:
    asked = ApprovalView(
        task_id=message.task_id,
        binding=message.binding,
        action=message.action,
        target=message.target,
        why=message.why,
        asked_us=event.time_us,
        seq=event.seq,
        version=incident.plans[-1].version if incident.plans else 0,
    )
    others = tuple(item for item in incident.approvals if item.task_id != message.task_id)
    after = incident.model_copy(update={"approvals": (*others, asked)})
    return _task(after, message.task_id, state="approval")


def _granted(incident: IncidentView, event: Event, message: ApprovalGranted) -> IncidentView:
    return _decided(incident, message, "granted", "waiting")


def _denied(incident: IncidentView, event: Event, message: ApprovalDenied) -> IncidentView:
    return _decided(incident, message, "denied", "failed")


def _expired(incident: IncidentView, event: Event, message: ApprovalExpired) -> IncidentView:
    return _decided(incident, message, "expired", "failed")


def _decided(
    incident: IncidentView, message: ApprovalGranted | ApprovalDenied | ApprovalExpired, state: str, then: str
) -> IncidentView:
    """An answer that is bound to something else than what was asked decides nothing (the scheduler says the same)."""
    asked = next((item for item in incident.approvals if item.task_id == message.task_id), None)
    if asked is None or asked.state != "open" or asked.binding != message.binding:
        return incident
    others = tuple(item for item in incident.approvals if item is not asked)
    after = incident.model_copy(update={"approvals": (*others, asked.model_copy(update={"state": state}))})
    return _task(after, message.task_id, state=then)


FOLDS: dict[type[Contract], Step] = {
    PlanRequested: _requested,
    PlanPrompted: _prompted,
    PlanAnswered: _answered,
    PlanProposed: _proposed,
    PlanAccepted: _accepted,
    PlanRejected: _rejected,
    PlanExecuted: _executed,
    Task: _dispatched,
    Claim: _claimed,
    Result: _ended,
    ApprovalRequested: _approval_asked,
    ApprovalGranted: _granted,
    ApprovalDenied: _denied,
    ApprovalExpired: _expired,
}
