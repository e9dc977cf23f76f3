"""What comes back of a task: its result, its time-out, the end of the wait before a retry."""

from __future__ import annotations

from broker.contracts.base import Scalar
from broker.contracts.catalogue import CATALOGUE
from broker.contracts.machine import Command, Publish
from broker.contracts.task import DeadLetter, Result
from scheduler_svc.core import asking
from scheduler_svc.core.execution import advance, kind_of
from scheduler_svc.core.state import Commitment, Incident, TaskState, clip
from scheduler_svc.core.turn import Change, Turn, cancel

MAX_FACT = 200
"""Characters of a text in `meta` that a condition may be compared with."""


def on_result(turn: Turn, incident: Incident, result: Result) -> Change:
    """Take a result in if it answers the attempt that runs; a late one is counted and changes no decision."""
    commitment = incident.commitment
    task = _task_of(commitment, result.task_id)
    foreign = task is not None and result.kind != kind_of(task.plan_task)
    if commitment is None or task is None or foreign or incident.phase != "executing":
        return _ignored(incident), ()
    if task.status != "running" or result.attempt != task.attempt:
        return _late(incident, commitment, task, result), ()
    stop = cancel(task.timer_id) if task.timer_id != task.order_timer_id else ()
    ended = task.model_copy(update={"timer_id": "", "changed": task.changed or result.changed})
    if result.status == "OK":
        ended = ended.model_copy(update={"status": "ok", "meta": _facts(task, result)})
        change, said = advance(turn, _with(incident, commitment, ended))
    else:
        definite = result.error_code in turn.config.definite_errors
        code = f" ({result.error_code})" if result.error_code else ""
        change, said = failed_attempt(
            turn, incident, commitment, ended, f"failed: {result.out}{code}", definite=definite
        )
    return change, said + stop


def on_task_timeout(turn: Turn, incident: Incident, commitment: Commitment, task: TaskState) -> Change:
    """Count a time-out as a failed attempt; while halted the workers hold their work, and the resume sets it anew."""
    waits = task.model_copy(update={"timer_id": ""})
    if turn.halted:
        return _with(incident, commitment, waits), ()
    return failed_attempt(turn, incident, commitment, waits, "no agent finished it in time", definite=False)


def on_retry(turn: Turn, incident: Incident, commitment: Commitment, task: TaskState) -> Change:
    """The wait before the next attempt is over."""
    ready = task.model_copy(update={"status": "waiting", "timer_id": ""})
    return advance(turn, _with(incident, commitment, ready))


def failed_attempt(
    turn: Turn, incident: Incident, commitment: Commitment, task: TaskState, what: str, *, definite: bool
) -> Change:
    """Retry after a wait that doubles (spec 6), or let the task fail for good.

    It fails for good when its attempts are used up (said as a dead letter), when the failure is definite, or when
    another task has failed for good and the plan is being wound up. Advice that does not come is done without.
    """
    if CATALOGUE[task.plan_task.type].advice:
        without = task.model_copy(update={"status": "skipped", "timer_id": ""})
        return advance(turn, _with(incident, commitment, without))
    used_up = task.attempt > turn.config.retries
    if not (definite or used_up or commitment.has("failed")):
        wait = turn.config.backoff_base_s * 2 ** (task.attempt - 1)
        timer = turn.timer("retry", wait, incident.incident, task.task_id, task.attempt, task.task_id)
        resting = task.model_copy(update={"status": "backoff", "timer_id": timer.timer.timer_id})
        return _with(incident, commitment, resting), (timer,)
    dead: tuple[Command, ...] = ()
    if used_up and not definite:
        letter = DeadLetter(incident=incident.incident, task_id=task.task_id, attempt=task.attempt, reason=clip(what))
        dead = (Publish(letter),)
    change, said = fail_for_good(turn, incident, commitment, task, what)
    return change, dead + said


def fail_for_good(turn: Turn, incident: Incident, commitment: Commitment, task: TaskState, what: str) -> Change:
    """End a task as failed; the plan is wound up and a replan follows."""
    order = task.plan_task
    failed = _with(incident, commitment, task.model_copy(update={"status": "failed"}))
    sentence = f"{task.task_id}, {order.type} on {order.target}, {what}"
    return advance(turn, asking.with_failure(failed, sentence))


def _task_of(commitment: Commitment | None, task_id: str) -> TaskState | None:
    tasks = commitment.tasks if commitment else ()
    return next((task for task in tasks if task.task_id == task_id), None)


def _with(incident: Incident, commitment: Commitment, task: TaskState) -> Incident:
    return incident.model_copy(update={"commitment": commitment.with_task(task)})


def _facts(task: TaskState, result: Result) -> dict[str, Scalar]:
    """Return the facts that conditions may ask for, and no more: the state stays bounded whatever an agent says."""
    known = CATALOGUE[task.plan_task.type].meta
    given = {name: value for name, value in result.meta.items() if name in known}
    return {name: value for name, value in given.items() if not isinstance(value, str) or len(value) <= MAX_FACT}


def _late(incident: Incident, commitment: Commitment, task: TaskState, result: Result) -> Incident:
    """Record that an attempt which was given up changed the world after all; nothing else follows from it."""
    counted = _ignored(incident)
    known = 1 <= result.attempt <= task.attempt
    if not (known and result.changed):
        return counted
    return _with(counted, commitment, task.model_copy(update={"changed": True}))


def _ignored(incident: Incident) -> Incident:
    ignored = incident.ignored.model_copy(update={"results": incident.ignored.results + 1})
    return incident.model_copy(update={"ignored": ignored})
