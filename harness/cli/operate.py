"""The operator's hand: kill switch, agents, approvals."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable
from typing import Annotated, TypeVar

import typer
from pydantic import ValidationError

from broker.contracts.base import Contract, describe
from broker.contracts.control import ApprovalDenied, ApprovalGranted, ApprovalRequested, Halt, Resume
from broker.contracts.incident import IncidentAnswered, IncidentAsked
from broker.errors import AlreadyExistsError
from harness.approvals import Wish
from harness.cli.agents import look
from harness.cli.context import Json, home, run
from harness.cli.output import emit_json, grid, out, seconds
from harness.control import ControlPlane, connect
from harness.errors import NotFoundError, RefusedError
from harness.site import Signal, deployment

MessageT = TypeVar("MessageT", bound=Contract)


def halt(
    reason: Annotated[str, typer.Option("--reason", help="Why; it is audited.")] = "halted by the operator",
) -> None:
    """Kill switch: from now on no agent acts, until `triage resume`."""
    message = _checked("the halt", lambda: Halt(reason=reason))
    seq = run(lambda: _say(message))
    out.print(f"halted (journal {seq}): nothing acts any more; go on with: triage resume")


def resume(
    reason: Annotated[str, typer.Option("--reason", help="Why; it is audited.")] = "resumed by the operator",
) -> None:
    """End a halt."""
    message = _checked("the resume", lambda: Resume(reason=reason))
    seq = run(lambda: _say(message))
    out.print(f"resumed (journal {seq})")


def agents(json_: Json = False) -> None:
    """List the agents: instance, kind, whether it is connected, what it works on now."""
    rows = run(lambda: look(home()))
    if json_:
        emit_json(rows)
        return
    table = grid("agent", "kind", "state", "connected", "up", "works on")
    for row in rows:
        connected = {True: "[green]yes[/green]", False: "[red]no[/red]", None: "?"}[row.connected]
        table.add_row(row.agent, row.kind, row.state, connected, seconds(row.up_s), ", ".join(row.works_on) or "-")
    out.print(table)


def kill(
    instance: Annotated[str, typer.Argument(help="A program such as action-agent-1; see: triage status.")],
    signal: Annotated[str, typer.Option("--signal", help="KILL (gone at once) or STOP (hung).")] = "KILL",
) -> None:
    """Kill a process of the stack for real, to see what happens. The process manager brings roles back."""
    name: Signal = "STOP" if signal.upper() == "STOP" else "KILL"
    if signal.upper() not in ("KILL", "STOP"):
        raise typer.BadParameter("--signal is KILL or STOP")
    stack = deployment(home())
    _known(instance, [row.name for row in run(stack.status).programs])
    run(lambda: stack.kill(instance, name))
    out.print(f"SIG{name} was sent to {instance}")


def _known(instance: str, names: list[str]) -> None:
    if instance in names and instance != "supervisord":
        return
    near = difflib.get_close_matches(instance, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "see: triage status"
    raise NotFoundError(f"no program of the stack is called {instance[:60]!r}; {hint}")


def approve(incident: str, task_id: str) -> None:
    """Let a waiting risky task go ahead, exactly as it was asked for."""
    answer = _checked("the approval", lambda: ApprovalGranted(incident=incident, task_id=task_id, binding=""))
    run(lambda: _decide(answer))
    out.print(f"{task_id} of {incident} is approved")


def deny(
    incident: str, task_id: str, reason: Annotated[str, typer.Option("--reason")] = "denied by the operator"
) -> None:
    """Forbid a waiting risky task."""
    answer = _checked(
        "the denial", lambda: ApprovalDenied(incident=incident, task_id=task_id, binding="", reason=reason)
    )
    run(lambda: _decide(answer))
    out.print(f"{task_id} of {incident} is denied")


def approvals(json_: Json = False) -> None:
    """List the tasks that wait for your approval, and how long they still do."""
    now_us = time.time_ns() // 1_000
    found = [wish for wish in run(_wishes) if wish.standing == "waiting"]
    if json_:
        emit_json([wish.request.model_dump(mode="json") | {"left_s": wish.left_s(now_us)} for wish in found])
        return
    for wish in found:
        asked, left_s = wish.request, wish.left_s(now_us)
        limit = "no limit now" if left_s is None else f"{seconds(left_s)} left, then it counts as not approved"
        out.print(f"{asked.incident} {asked.task_id}: {asked.action} of {asked.target}; {asked.why}", markup=False)
        how = f"triage approve {asked.incident} {asked.task_id} (or triage deny)"
        out.print(f"  decide with: {how}; {limit}", markup=False)
    if not found:
        out.print("nothing waits for approval")


def answer(
    incident: str,
    text: Annotated[str, typer.Argument(help="What you know, in your words.")],
    json_: Json = False,
) -> None:
    """Answer the clarifying question of an incident; the planner goes on with it."""
    message = _checked("the answer", lambda: IncidentAnswered(incident=incident, n=1, text=text))
    asked = run(lambda: _answer(message))
    if json_:
        emit_json({"incident": incident, "n": asked.n, "question": asked.question, "answer": text})
    else:
        out.print(f"answered question {asked.n} of {incident}: {asked.question}", markup=False)


def questions(json_: Json = False) -> None:
    """List the clarifying questions that wait for an answer."""
    found = run(_questions)
    if json_:
        emit_json(found)
        return
    for asked in found:
        out.print(f"{asked.incident} asks: {asked.question}", markup=False)
        out.print(f'  answer with: triage answer {asked.incident} "…"', markup=False)
    if not found:
        out.print("nobody asks anything")


async def _questions() -> list[IncidentAsked]:
    async with connect(home()) as control:
        return await control.open_questions()


async def _answer(message: IncidentAnswered) -> IncidentAsked:
    """Say the answer to the newest open question of the incident; return the question.

    Raises:
        NotFoundError: nothing is asked there. RefusedError: somebody else answered first.
    """
    async with connect(home()) as control:
        found = await control.open_questions(message.incident)
        if not found:
            raise NotFoundError(f"{message.incident} asks nothing; see: triage questions")
        asked = found[-1]
        try:
            await control.say(message.model_copy(update={"n": asked.n}), once=True)
        except AlreadyExistsError as error:
            raise RefusedError(f"question {asked.n} of {message.incident} has an answer already") from error
        return asked


async def _say(message: Halt | Resume) -> int:
    async with connect(home()) as control:
        return await control.say(message)


def _checked(what: str, make: Callable[[], MessageT]) -> MessageT:
    """Return the message that the operator's words make; what cannot be taken is said before anything is connected to.

    Raises:
        RefusedError: one sentence says which word.
    """
    try:
        message = make()
        message.encode()  # bytes of a command line that were no text arrive as lone surrogates
    except ValidationError as error:
        raise RefusedError(f"{what} was refused: {describe(error)}") from error
    except ValueError as error:
        raise RefusedError(f"{what} was refused: its reason is no UTF-8 text; say it in words") from error
    return message


async def _wishes() -> tuple[Wish, ...]:
    async with connect(home()) as control:
        return await control.approvals()


async def _decide(answer: ApprovalGranted | ApprovalDenied) -> None:
    """Say the answer, bound to what is asked for.

    Raises:
        NotFoundError: nothing was asked there. RefusedError: it is decided, or its time is over.
    """
    async with connect(home()) as control:
        asked = await _waiting(control, answer.incident, answer.task_id)
        try:
            await control.say(answer.model_copy(update={"binding": asked.binding}), once=True)
        except AlreadyExistsError as error:
            raise RefusedError(f"{asked.task_id} of {asked.incident} was decided on already") from error


_TOO_LATE = {
    "approved": "was approved already",
    "denied": "was denied already",
    "expired": "was not approved in time, and the incident goes on without it",
    "dropped": "waits no more: the incident went on without it",
}


async def _waiting(control: ControlPlane, incident: str, task_id: str) -> ApprovalRequested:
    """Return what is asked for a task, or say what became of it."""
    asked = [wish for wish in await control.approvals(incident) if wish.request.task_id == task_id]
    if not asked:
        raise NotFoundError(f"no task {task_id} of {incident} waits for approval; see: triage approvals")
    if asked[-1].standing != "waiting":
        raise RefusedError(f"{task_id} of {incident} {_TOO_LATE[asked[-1].standing]}; see: triage approvals")
    return asked[-1].request


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (halt, resume, agents, kill, approvals, approve, deny, answer, questions):
        app.command()(command)
