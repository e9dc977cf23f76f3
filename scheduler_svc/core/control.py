"""The kill switch, and timers that are due."""

from __future__ import annotations

from broker.contracts.control import Timer
from broker.contracts.machine import Command
from scheduler_svc.core import asking
from scheduler_svc.core.approvals import on_approval_timeout
from scheduler_svc.core.execution import advance, armed, await_person
from scheduler_svc.core.incidents import on_verify_timeout
from scheduler_svc.core.planning import judge_held, on_planning_timeout
from scheduler_svc.core.questions import on_question_timeout
from scheduler_svc.core.state import Incident
from scheduler_svc.core.tasks import on_retry, on_task_timeout
from scheduler_svc.core.turn import Change, Turn, cancel


def on_resume(turn: Turn, incident: Incident) -> Change:
    """Go on where the halt stopped: judge what was held, give running tasks their full time again, send what is ready.

    `turn.halted` is already False. While halted the workers held their deliveries, so no time-out set before counts;
    and whoever halted to look first has the whole time for a decision again.
    """
    if incident.phase == "planning":
        return judge_held(turn, incident)
    commitment, said = incident.commitment, list[Command]()
    if commitment is None or incident.phase != "executing":
        return incident, ()
    for task in commitment.tasks:
        if task.status == "running":
            again, timer = armed(turn, incident, commitment, task)
            commitment = commitment.with_task(again)
            said += (timer, *cancel(task.timer_id))
        elif task.status == "approval" and not commitment.has("failed"):
            again, timers = await_person(turn, incident, task)
            commitment = commitment.with_task(again)
            said += (*timers, *cancel(task.timer_id))
    change, commands = advance(turn, incident.model_copy(update={"commitment": commitment}))
    return change, (*commands, *said)


def on_due(turn: Turn, incident: Incident, timer: Timer) -> Change:
    """Route a due timer by its id. One that nobody waits for any more changes nothing: cancelling may come too late."""
    if timer.timer_id == incident.timer_id:
        return _of_phase(turn, incident.model_copy(update={"timer_id": ""}), timer)
    commitment = incident.commitment
    tasks = commitment.tasks if commitment else ()
    task = next((one for one in tasks if one.timer_id == timer.timer_id), None)
    if commitment is None or task is None:
        return incident, ()
    answers = {"backoff": on_retry, "approval": on_approval_timeout}
    return answers.get(task.status, on_task_timeout)(turn, incident, commitment, task)


def _of_phase(turn: Turn, incident: Incident, timer: Timer) -> Change:
    if incident.phase == "verifying":
        return on_verify_timeout(turn, incident)
    if timer.purpose == "question-timeout":
        return on_question_timeout(turn, incident)
    if timer.purpose == "replan-wait":
        return asking.ask(turn, incident)
    return on_planning_timeout(turn, incident)
