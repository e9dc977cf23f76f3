"""`triage demo`: the README's first command."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from dashboard.built import NOT_BUILT, is_built
from harness.cli.context import home, port_base, run
from harness.cli.live import LiveView
from harness.cli.output import err, out, working
from harness.cli.report import print_outcome, print_rows
from harness.control import Seen
from harness.demo import Demo, play, recording_name
from harness.errors import NotVerifiedError
from harness.site import deployment, is_up, outside


def demo(
    record: Annotated[
        Path | None, typer.Option("--record", help="File of the recording; in the home unless given.")
    ] = None,
    keep: Annotated[
        bool | None,
        typer.Option(
            "--keep/--no-keep", show_default=False, help="Leave the stack up, for its page; so it is on a terminal."
        ),
    ] = None,
    stage: Annotated[
        bool, typer.Option("--stage", help="The six minutes of docs/demo_script.md, step by step.")
    ] = False,
    auto: Annotated[bool, typer.Option("--auto", help="With --stage: by the script's times, nobody presses Enter.")] = (
        False
    ),
    fallback: Annotated[
        str | None,
        typer.Option("--fallback", metavar="FILE|bundled", help="With --stage: play this recording, start no stack."),
    ] = None,
) -> None:
    """Break the shop for real, report it in messy words, watch it repaired, proved and recorded."""
    if stage:
        from harness.cli.stage import stage as on_stage  # it brings what no plain demo needs

        on_stage(auto, fallback)
        return
    if auto or fallback is not None:
        raise typer.BadParameter("it is for --stage only", param_hint="--auto" if auto else "--fallback")
    if outside():
        _on_containers(record or home() / "recordings" / recording_name())
        return
    was_up = is_up(home())
    stays = was_up or (out.is_terminal if keep is None else keep)
    result = run(lambda: _play(record, stays))
    print_outcome(result.outcome, result.recording)
    replayed = result.replayed
    if replayed.difference is None:
        again = f"identical: {replayed.events} events, {replayed.decisions} decisions, offline"
        print_rows((("replay", again, ""),))
    else:
        print_rows((("replay", replayed.difference.sentence, "red"),))
    holds = "chain and signatures hold" if result.audit_ok else "chain and signatures DO NOT HOLD"
    print_rows((("audit", f"{result.audit_rows} rows, {holds}", "" if result.audit_ok else "red"),))
    where_to_look_after(stays, was_up=was_up)
    if not result.ok:
        raise NotVerifiedError("the demo did not end verified; the clauses above say why")


def where_to_look_after(stays: bool, *, was_up: bool) -> None:
    """Close with the page's address; of a stack that was taken down, with what leaves it up."""
    if not stays:
        kept = "the stack was taken down; leave it up for its page with: triage demo --keep"
        print_rows((("dashboard", kept if is_built() else f"{kept} ({NOT_BUILT})", ""),))
        return
    address = run(deployment(home()).status).dashboard
    if address is None:
        return
    print_rows((("dashboard", address if is_built() else f"{address} ({NOT_BUILT})", ""),))
    if not was_up:
        print_rows((("stack", "stays up for the page; end it with: triage down", ""),))


async def _play(record: Path | None, keep: bool) -> Demo:
    out.print("[bold]Agentic Triage[/bold]: a shop of real services; its orders service is about to lose its database")
    view = LiveView()
    with ExitStack() as starting, ExitStack() as showing:
        progress = starting.enter_context(working("starting"))

        def watch(item: Seen) -> None:
            if view.story is None:  # the first message of the run: the stack is up
                starting.close()
            view.see(item)
            if view.story is not None and not entered:
                entered.append(showing.enter_context(view))

        entered: list[LiveView] = []
        return await play(home(), port_base(), progress, watch, record, keep=keep)


def _on_containers(record: Path) -> None:
    """The same on the compose stack: brought up for it if it is not up, and then taken down again, data kept."""
    from harness.compose.host import ComposeHost

    host = ComposeHost(home())
    started = not host.is_up()
    if started:
        with working("starting") as progress:
            run(lambda: host.up(progress=progress))
    try:
        code = host.demo(record)
        if record.exists():
            err.print(f"the recording was copied to {record}", markup=False)
    finally:
        if started:
            with working("stopping"):
                run(host.down)
    if code != 0:
        raise typer.Exit(code)


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(demo)
