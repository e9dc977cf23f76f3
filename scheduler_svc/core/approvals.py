"""A person's word on a risky task: bound to the hash of action, target and arguments, good for exactly that.

It is waited for under a timer (docs/adr/0018): a task that nobody decides on ends like a denied one, and the incident
goes on. Under a halt nothing expires; the resume gives the whole time again.
"""

from __future__ import annotations

from broker.contracts.control import ApprovalDenied, ApprovalExpired, ApprovalGranted
from broker.contracts.machine import Publish
from scheduler_svc.core.execution import advance, binding
from scheduler_svc.core.state import Commitment, Incident, TaskState
from scheduler_svc.core.tasks import fail_for_good
from scheduler_svc.core.turn import Change, Turn, cancel


def on_granted(turn: Turn, incident: Incident, granted: ApprovalGranted) -> Change:
    """Let the task go; an approval of something else, or of a task that does not wait, changes nothing."""
    found = _waiting(incident, granted)
    if found is None:
        return _ignored(incident), ()
    commitment, task = found
    free = task.model_copy(update={"status": "waiting", "approved": True, "timer_id": ""})
    change, said = advance(turn, incident.model_copy(update={"commitment": commitment.with_task(free)}))
    return change, said + cancel(task.timer_id)


def on_denied(turn: Turn, incident: Incident, denied: ApprovalDenied) -> Change:
    """End the task as failed: the planner must find another way, or the incident is given up."""
    found = _waiting(incident, denied)
    if found is None:
        return _ignored(incident), ()
    commitment, task = found
    decided = task.model_copy(update={"timer_id": ""})
    change, said = fail_for_good(turn, incident, commitment, decided, f"was denied: {denied.reason}")
    return change, said + cancel(task.timer_id)


def on_approval_timeout(turn: Turn, incident: Incident, commitment: Commitment, task: TaskState) -> Change:
    """Nobody decided in time: end the task as one that is not approved, and say so."""
    waits = task.model_copy(update={"timer_id": ""})
    if turn.halted:
        return incident.model_copy(update={"commitment": commitment.with_task(waits)}), ()
    order, wait_s = task.plan_task, turn.config.approval_timeout_s
    expired = ApprovalExpired(
        incident=incident.incident,
        task_id=task.task_id,
        binding=binding(order.type, order.target, order.args),
        action=order.type,
        target=order.target,
        wait_s=wait_s,
    )
    noted = incident.model_copy(update={"unapproved": (*incident.unapproved, task.task_id)})
    what = f"was not approved: nobody decided within {wait_s:g} s"
    change, said = fail_for_good(turn, noted, commitment, waits, what)
    return change, (Publish(expired), *said)


def _waiting(incident: Incident, word: ApprovalGranted | ApprovalDenied) -> tuple[Commitment, TaskState] | None:
    commitment = incident.commitment
    if commitment is None:
        return None
    for task in commitment.tasks:
        if task.task_id == word.task_id and task.status == "approval":
            order = task.plan_task
            return (commitment, task) if word.binding == binding(order.type, order.target, order.args) else None
    return None


def _ignored(incident: Incident) -> Incident:
    ignored = incident.ignored.model_copy(update={"approvals": incident.ignored.approvals + 1})
    return incident.model_copy(update={"ignored": ignored})
