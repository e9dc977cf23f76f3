"""Bring the stack up and down, and see how it is."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from broker.contracts.control import ApprovalRequested
from broker.contracts.incident import IncidentAsked
from broker.errors import BrokerError, KeyringError
from deploy.embedded.errors import StackError
from deploy.status import StackStatus
from harness.cli.context import Json, home, port_base, run
from harness.cli.dashboard import where_to_look
from harness.cli.output import age, emit_json, grid, out, plain, seconds, working
from harness.control import connect
from harness.doctor import examine
from harness.errors import HarnessError
from harness.site import deployment


def up(
    schedulers: Annotated[
        int | None,
        typer.Option(min=1, max=2, show_default=False, help="How many run at once (1; on containers 2)."),
    ] = None,
    json_: Json = False,
) -> None:
    """Start the whole stack; returns when everything is healthy."""
    stack = deployment(home(), port_base())
    with working("starting") as progress:
        run(lambda: stack.up(progress=progress, schedulers=schedulers))
    found = run(stack.status)
    if json_:
        emit_json(found)
        return
    out.print(_summary(found))
    if found.dashboard is not None:
        out.print(where_to_look(found.dashboard), markup=False)


def _summary(found: StackStatus) -> str:
    healthy = sum(program.healthy for program in found.needed)
    memory = found.rss_bytes / 2**20
    what, where = ("containers", "") if found.port_base is None else ("programs", f" under {found.home}")
    return f"{healthy} of {len(found.needed)} {what} are healthy{where}, {memory:.0f} MiB"


def down(
    wipe: Annotated[bool, typer.Option("--wipe", help="Delete journal, databases, keys and logs too.")] = False,
) -> None:
    """Stop the whole stack; its data stay unless --wipe is given."""
    with working("stopping"):
        run(lambda: deployment(home()).down(wipe=wipe))
    out.print("stopped and wiped" if wipe else "stopped")


def status(json_: Json = False) -> None:
    """Show every program of the stack: state, health, memory."""
    found = run(deployment(home()).status)
    broker_answers = any(row.healthy for row in found.programs if row.name.startswith("nats"))
    asked, wishes = run(_open) if broker_answers else ([], [])
    if json_:
        emit_json(plain(found) | {"questions": plain(asked), "approvals": plain(wishes)})
        return
    table = grid("program", "state", "health", "pid", "up", "memory")
    for row in found.programs:
        health = "[green]healthy[/green]" if row.healthy else "[red]sick[/red]"
        memory = f"{row.rss_bytes / 2**20:.0f} MiB"
        table.add_row(row.name, row.state.lower(), health, str(row.pid or "-"), seconds(age(row.since)), memory)
    out.print(table)
    for row in found.programs:
        if not row.healthy:
            out.print(f"{row.name}: {row.detail}", style="red", markup=False)
    out.print(_summary(found))
    if found.dashboard is not None:
        out.print(where_to_look(found.dashboard), markup=False)
    for question in asked:
        out.print(f"{question.incident} asks: {question.question} (triage answer)", style="yellow", markup=False)
    for wish in wishes:
        what = f"{wish.task_id}, {wish.action} of {wish.target}"
        out.print(f"{wish.incident} waits for a decision on {what} (triage approvals)", style="yellow", markup=False)


async def _open() -> tuple[list[IncidentAsked], list[ApprovalRequested]]:
    """Return what waits for the operator's word; nothing where no broker answers, which the table shows."""
    try:
        async with connect(home()) as control:
            waiting = [wish.request for wish in await control.approvals() if wish.standing == "waiting"]
            return await control.open_questions(), waiting
    except (HarnessError, BrokerError, KeyringError, StackError):
        return [], []


def doctor(
    url: Annotated[
        str | None, typer.Argument(metavar="URL", help="With --model: the endpoint, unless that of the settings.")
    ] = None,
    model: Annotated[
        bool, typer.Option("--model", help="Probe the model's endpoint with canned incidents; recommend a mode.")
    ] = False,
    json_: Json = False,
) -> None:
    """Examine this machine and the stack: what is missing or wrong, and what to do about it."""
    if model:
        from harness.cli.llm_probe import probe_model  # a second of imports that nobody else needs

        probe_model(url, json_)
        return
    if url is not None:
        raise typer.BadParameter(f"{url} is examined with --model only", param_hint="URL")
    findings = run(lambda: examine(home(), port_base()))
    if json_:
        emit_json(findings)
    for item in () if json_ else findings:
        mark = "[green]ok[/green]" if item.ok else "[red]no[/red]" if item.required else "[yellow]--[/yellow]"
        out.print(f"{mark}  {item.name}: {escape(item.detail)}")
    wrong = [item for item in findings if not item.ok and item.required]
    if wrong:
        raise HarnessError(f"{len(wrong)} of {len(findings)} checks failed: {', '.join(item.name for item in wrong)}")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (up, down, status, doctor):
        app.command()(command)
