"""Carrying out the committed plan: what is ready goes out, and when all has ended the check or a replan follows.

`advance` is called after everything that may have made a task ready or ended one. While halted it does nothing: what
comes in is taken in, and nothing follows from it until the resume.
"""

from __future__ import annotations

import json
from hashlib import sha256

from broker.contracts.base import Scalar
from broker.contracts.catalogue import CATALOGUE
from broker.contracts.control import ApprovalRequested
from broker.contracts.machine import Command, Publish, SetTimer
from broker.contracts.plan import KIND_OF_AGENT, AgentKind, Condition, PlanExecuted, PlanTask
from broker.contracts.task import Task
from scheduler_svc.core import asking
from scheduler_svc.core.config import SchedulerConfig
from scheduler_svc.core.state import ENDED, SATISFIED, Commitment, Incident, Status, TaskState
from scheduler_svc.core.turn import Change, Turn, cancel


def binding(action: str, target: str, args: dict[str, Scalar]) -> str:
    """Return what an approval is bound to: SHA-256, hex, of the canonical JSON of action, target and arguments."""
    facts = {"action": action, "target": target, "args": args}
    return sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def kind_of(task: PlanTask) -> AgentKind:
    """Return the kind of agent that carries a validated task out."""
    return KIND_OF_AGENT[CATALOGUE[task.type].agent]


def actions_of(commitment: Commitment) -> int:
    """Return how many tasks changed the world and ended OK."""
    return sum(
        task.status == "ok" and task.changed and CATALOGUE[task.plan_task.type].changes_world
        for task in commitment.tasks
    )


def advance(turn: Turn, incident: Incident) -> Change:
    """Send out what is ready; when every task has ended, say so and wait for the check; after a failure, replan."""
    commitment = incident.commitment
    if turn.halted or incident.phase != "executing" or commitment is None:
        return incident, ()
    if commitment.has("failed"):
        return _drain(turn, incident, commitment)
    said: list[Command] = []
    for task in commitment.tasks:
        commitment, commands = _move(turn, incident, commitment, task)
        said += commands
    moved = incident.model_copy(update={"commitment": commitment})
    if all(task.status in SATISFIED for task in commitment.tasks):
        executed, commands = _executed(turn, moved, commitment)
        return executed, (*said, *commands)
    return moved, tuple(said)


def _move(
    turn: Turn, incident: Incident, commitment: Commitment, task: TaskState
) -> tuple[Commitment, tuple[Command, ...]]:
    """Take one waiting task further if its dependencies have ended; dependencies stand before it in the order."""
    ready = task.status == "waiting" and all(_satisfied(commitment, name) for name in task.plan_task.dependencies)
    if not ready:
        return commitment, ()
    if task.plan_task.when is not None and not _holds(commitment, task.plan_task.when):
        return commitment.with_task(task.model_copy(update={"status": "skipped"})), ()
    if _needs_a_person(turn.config, commitment, task):
        waits, timer = await_person(turn, incident, task.model_copy(update={"status": "approval"}))
        request = _approval_request(turn.config, incident, commitment, task)
        return commitment.with_task(waits), (request, *timer)
    return _dispatch(turn, incident, commitment, task)


def _satisfied(commitment: Commitment, name: str) -> bool:
    dependency = commitment.of(name)
    return dependency is not None and dependency.status in SATISFIED


def _holds(commitment: Commitment, when: Condition) -> bool:
    """A condition on a skipped task, or on a fact that was not given, does not hold. 1 is not True here."""
    asked = commitment.of(when.task_id)
    if asked is None or asked.status != "ok" or when.field not in asked.meta:
        return False
    given, wanted = asked.meta[when.field], when.equals
    return isinstance(given, bool) == isinstance(wanted, bool) and given == wanted


def _needs_a_person(config: SchedulerConfig, commitment: Commitment, task: TaskState) -> bool:
    """Whatever acts in a plan whose meaning code has mended waits for a person, however little is at risk."""
    entry = CATALOGUE[task.plan_task.type]
    if task.approved or not entry.changes_world:
        return False
    if commitment.mended:
        return True
    alone = config.auto_approve == "safe" or (config.auto_approve == "agreed" and not commitment.agreed)
    return entry.risk == "risky" and alone


def await_person(turn: Turn, incident: Incident, task: TaskState) -> tuple[TaskState, tuple[Command, ...]]:
    """Give a person the whole time for a decision from now on (docs/adr/0018); no timer where it may take for ever."""
    wait_s = turn.config.approval_timeout_s
    if not wait_s:
        return task, ()
    number = task.armed + 1
    timer = turn.timer("approval-timeout", wait_s, incident.incident, task.task_id, number, task.task_id)
    return task.model_copy(update={"armed": number, "timer_id": timer.timer.timer_id}), (timer,)


def _approval_request(config: SchedulerConfig, incident: Incident, commitment: Commitment, task: TaskState) -> Publish:
    order, believed = task.plan_task, commitment.hypothesis
    why = f"{believed.fault_class} of {believed.target} is believed, confidence {believed.confidence:.2f}"
    return Publish(
        ApprovalRequested(
            incident=incident.incident,
            task_id=task.task_id,
            binding=binding(order.type, order.target, order.args),
            action=order.type,
            target=order.target,
            why=f"{why}; the plan was mended: {commitment.mended}" if commitment.mended else why,
            wait_s=config.approval_timeout_s,
        ),
        commitment.tag,
    )


def _dispatch(
    turn: Turn, incident: Incident, commitment: Commitment, task: TaskState
) -> tuple[Commitment, tuple[Command, ...]]:
    order, entry = task.plan_task, CATALOGUE[task.plan_task.type]
    begun = task.model_copy(update={"status": "running", "attempt": task.attempt + 1})
    begun, timer = armed(turn, incident, commitment, begun)
    begun = begun.model_copy(update={"order_timer_id": begun.timer_id})
    message = Task(
        incident=incident.incident,
        task_id=begun.task_id,
        attempt=begun.attempt,
        kind=kind_of(order),
        type=order.type,
        target=order.target,
        args=order.args,
        plan_version=incident.version,
        risk=entry.risk,
        timeout_s=entry.timeout_s,
        timer_id=begun.timer_id,
    )
    return commitment.with_task(begun), (Publish(message, commitment.tag), timer)


def armed(turn: Turn, incident: Incident, commitment: Commitment, task: TaskState) -> tuple[TaskState, SetTimer]:
    """Return a running task with its time-out timer set anew, and the command for it.

    The time is the catalogue's, for the work itself, plus what may pass before the work begins:
    - `redelivery_slack_s`: a hung worker is noticed by the broker only after the ack wait (5 s), and may be followed
      by a second one. A killed worker is noticed at once. A worker that dies late in its work makes the next one
      start anew; that may cost this attempt, and the next attempt finds the work done (`is_done`);
    - the times of the tasks of its kind that went out before it: one worker may have to serve them all in turn.
    """
    before = [other for other in commitment.tasks if other.status == "running" and other.task_id != task.task_id]
    queue = sum(_time_of(other) for other in before if kind_of(other.plan_task) == kind_of(task.plan_task))
    after_s = _time_of(task) + queue + turn.config.redelivery_slack_s
    number = task.armed + 1
    timer = turn.timer("task-timeout", after_s, incident.incident, task.task_id, number, task.task_id)
    return task.model_copy(update={"armed": number, "timer_id": timer.timer.timer_id}), timer


def _time_of(task: TaskState) -> float:
    return CATALOGUE[task.plan_task.type].timeout_s


def _drain(turn: Turn, incident: Incident, commitment: Commitment) -> Change:
    """After a failure for good: start nothing more, let what runs end, then replan.

    Two plans never act at once: a task of the failed plan that still runs would change the world under the next one.
    """
    said: list[Command] = []
    for task in commitment.tasks:
        if task.status not in ENDED and task.status != "running":
            said += cancel(task.timer_id)
            commitment = commitment.with_task(task.model_copy(update={"status": "dropped", "timer_id": ""}))
    drained = incident.model_copy(update={"commitment": commitment})
    if commitment.has("running"):
        return drained, tuple(said)
    counted = drained.model_copy(update={"actions": drained.actions + actions_of(commitment)})
    if _was_acted_on(commitment):
        counted = asking.with_tried(turn, counted, commitment, counted.failures[-1])
    change, commands = asking.replan(turn, counted)
    return change, (*commands, *said)


def _was_acted_on(commitment: Commitment) -> bool:
    """An action that was done, failed or was denied counts against the hypothesis; a look that failed says nothing."""
    return any(
        task.status in ("ok", "failed") and CATALOGUE[task.plan_task.type].changes_world for task in commitment.tasks
    )


def _executed(turn: Turn, incident: Incident, commitment: Commitment) -> Change:
    actions = actions_of(commitment)
    message = PlanExecuted(
        incident=incident.incident,
        version=incident.version,
        completed=_ids(commitment, "ok"),
        skipped=_ids(commitment, "skipped"),
        failed=_ids(commitment, "failed"),
        actions=actions,
    )
    timer = turn.timer(
        "verify-timeout", turn.config.verify_timeout_s, incident.incident, f"v{incident.version}", incident.version
    )
    changed = {"phase": "verifying", "actions": incident.actions + actions, "timer_id": timer.timer.timer_id}
    return incident.model_copy(update=changed), (Publish(message), timer)


def _ids(commitment: Commitment, status: Status) -> tuple[str, ...]:
    return tuple(task.task_id for task in commitment.tasks if task.status == status)
