"""A person's word on a risky task: bound to the hash of action, target and arguments, good for exactly that."""

from __future__ import annotations

from broker.contracts.control import ApprovalDenied, ApprovalGranted
from scheduler_svc.core.execution import advance, binding
from scheduler_svc.core.state import Commitment, Incident, TaskState
from scheduler_svc.core.tasks import fail_for_good
from scheduler_svc.core.turn import Change, Turn


def on_granted(turn: Turn, incident: Incident, granted: ApprovalGranted) -> Change:
    """Let the task go; an approval of something else, or of a task that does not wait, changes nothing."""
    found = _waiting(incident, granted)
    if found is None:
        return _ignored(incident), ()
    commitment, task = found
    free = commitment.with_task(task.model_copy(update={"status": "waiting", "approved": True}))
    return advance(turn, incident.model_copy(update={"commitment": free}))


def on_denied(turn: Turn, incident: Incident, denied: ApprovalDenied) -> Change:
    """End the task as failed: the planner must find another way, or the incident is given up."""
    found = _waiting(incident, denied)
    if found is None:
        return _ignored(incident), ()
    commitment, task = found
    return fail_for_good(turn, incident, commitment, task, f"was denied: {denied.reason}")


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
