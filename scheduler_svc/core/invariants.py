"""What always holds. Tests call these after every step; `enforce` turns what is broken into an error."""

from __future__ import annotations

from collections.abc import Iterator

from broker.contracts.machine import Command, Publish, SetTimer
from broker.contracts.plan import MAX_TASKS
from broker.contracts.task import Task
from scheduler_svc.core.config import SchedulerConfig
from scheduler_svc.core.errors import InvariantError
from scheduler_svc.core.state import (
    ENDED,
    MAX_CLOSED,
    MAX_DEVIATIONS,
    MAX_FAILURES,
    MAX_FLAPS,
    MAX_SENTENCE,
    SATISFIED,
    Commitment,
    Incident,
    SchedulerState,
    TaskState,
)


def broken_in_state(config: SchedulerConfig, state: SchedulerState) -> tuple[str, ...]:
    """Return every rule that does not hold in this state, a sentence each; empty if all hold."""
    return tuple(_of_state(config, state))


def broken_in_step(before: SchedulerState, after: SchedulerState, said: tuple[Command, ...]) -> tuple[str, ...]:
    """Return every rule that this step breaks, a sentence each; empty if all hold."""
    return tuple(_of_step(before, after, said))


def enforce(config: SchedulerConfig, before: SchedulerState, after: SchedulerState, said: tuple[Command, ...]) -> None:
    """Check the state after a step, and the step.

    Raises:
        InvariantError: naming every broken rule.
    """
    broken = broken_in_state(config, after) + broken_in_step(before, after, said)
    if broken:
        raise InvariantError(broken)


def _of_state(config: SchedulerConfig, state: SchedulerState) -> Iterator[str]:
    names = [closed.incident for closed in state.closed]
    if len(names) > MAX_CLOSED:
        yield f"{len(names)} closed incidents are remembered"
    if len(set(names)) != len(names):
        yield "an incident was closed twice"
    if state.active is not None:
        if state.active.incident in names:
            yield f"{state.active.incident} is open and closed"
        yield from _of_incident(config, state.active, state.halted)


def _of_incident(config: SchedulerConfig, incident: Incident, halted: bool) -> Iterator[str]:
    if incident.version > config.max_plan_versions:
        yield f"{incident.version} plans were committed to"
    if len(incident.asked) != incident.version + (incident.phase == "planning"):
        yield f"asked for {len(incident.asked)} versions with {incident.version} committed, {incident.phase}"
    if len(set(incident.judged)) != len(incident.judged):
        yield "a proposal was judged twice"
    if (incident.commitment is None) != (incident.version == 0):
        yield "a version without a committed plan"
    if incident.phase == "executing" and incident.timer_id:
        yield "a phase timer while executing"
    if incident.phase != "executing" and not (incident.timer_id or incident.held):
        yield f"{incident.phase} waits for nothing"
    if incident.open_question and not (incident.phase == "planning" and incident.timer_id):
        yield "a question is open and nothing waits for its answer"
    if incident.open_question and incident.dialogue[-1].answer is not None:
        yield "the open question has its answer"
    if len(incident.dialogue) > config.max_questions:
        yield f"{len(incident.dialogue)} questions were asked"
    if len(incident.unapproved) > incident.version:
        yield f"{len(incident.unapproved)} tasks were not approved in {incident.version} versions"
    if incident.held and not (halted and incident.phase == "planning"):
        yield "a proposal is held without a halt"
    yield from _of_bounds(incident)
    if incident.commitment is not None:
        yield from _of_commitment(config, incident, incident.commitment, halted)


def _of_bounds(incident: Incident) -> Iterator[str]:
    for name, size, limit in (
        ("failures", len(incident.failures), MAX_FAILURES),
        ("deviations", len(incident.deviations), MAX_DEVIATIONS),
        ("flaps", len(incident.flaps), MAX_FLAPS),
    ):
        if size > limit:
            yield f"{size} {name}"
    if any(len(text) > MAX_SENTENCE for text in incident.failures + incident.deviations):
        yield "an unbounded sentence"


def _of_commitment(config: SchedulerConfig, incident: Incident, plan: Commitment, halted: bool) -> Iterator[str]:
    if not 1 <= len(plan.tasks) <= MAX_TASKS:
        yield f"{len(plan.tasks)} tasks in a committed plan"
    for task in plan.tasks:
        yield from _of_task(config, plan, task, halted)
    ended = all(task.status in ENDED for task in plan.tasks)
    if incident.phase != "executing" and not ended:
        yield f"{incident.phase} before every task has ended"
    if incident.phase == "executing" and not halted and not plan.has("running", "backoff", "approval"):
        yield "executing, and nothing goes on"
    if plan.has("failed") and not halted and plan.has("waiting", "approval", "backoff"):
        yield "a task is to start though another has failed for good"


def _of_task(config: SchedulerConfig, plan: Commitment, task: TaskState, halted: bool) -> Iterator[str]:
    if task.attempt > config.retries + 1:
        yield f"{task.task_id} has {task.attempt} attempts"
    started = task.attempt > 0 or task.status == "approval"
    for name in task.plan_task.dependencies:
        dependency = plan.of(name)
        if started and (dependency is None or dependency.status not in SATISFIED):
            yield f"{task.task_id} started before {name} had ended"
    waits = task.status == "backoff" or (task.status == "running" and not halted)
    if waits and not task.timer_id:
        yield f"{task.task_id} is {task.status} without a timer"
    if task.status == "approval" and config.approval_timeout_s and not halted and not task.timer_id:
        yield f"{task.task_id} waits for a person without a timer"
    if task.status not in ("running", "backoff", "approval") and task.timer_id:
        yield f"{task.task_id} is {task.status} and has a timer"


def _of_step(before: SchedulerState, after: SchedulerState, said: tuple[Command, ...]) -> Iterator[str]:
    was = [closed.incident for closed in before.closed]
    now = [closed.incident for closed in after.closed]
    if now not in (was, [*was, *now[-1:]][-MAX_CLOSED:]):
        yield "a closed incident was forgotten or changed"
    if before.active and after.active and before.active.incident == after.active.incident:
        if not 0 <= after.active.version - before.active.version <= 1:
            yield f"the version went from {before.active.version} to {after.active.version}"
        if after.active.actions < before.active.actions:
            yield "an action was taken back"
    if before.active and after.active is None and before.active.incident not in now:
        yield f"{before.active.incident} vanished without being closed"
    for command in said:
        if isinstance(command, Publish | SetTimer):
            yield from _of_command(after, command)


def _of_command(after: SchedulerState, command: Publish | SetTimer) -> Iterator[str]:
    if isinstance(command, SetTimer):
        return
    message = command.message
    if not isinstance(message, Task):
        return
    if after.halted:
        yield f"{message.subject()} went out while halted"
    if after.active is None or after.active.incident != message.incident:
        yield f"{message.subject()} went out for an incident that is not open"
    elif after.active.version != message.plan_version:
        yield f"{message.subject()} went out for version {message.plan_version}, {after.active.version} is committed"
