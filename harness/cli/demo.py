"""`triage demo`: the README's first command."""

from __future__ import annotations

from contextlib import ExitStack

import typer

from harness.cli.context import home, port_base, run
from harness.cli.live import LiveView
from harness.cli.output import out, working
from harness.cli.report import print_outcome, print_rows
from harness.control import Seen
from harness.demo import Demo, play
from harness.errors import NotVerifiedError


def demo() -> None:
    """Break the shop for real, report it in messy words, watch it repaired, proved and recorded."""
    result = run(_play)
    print_outcome(result.outcome, result.recording)
    replayed = result.replayed
    if replayed.difference is None:
        again = f"identical: {replayed.events} events, {replayed.decisions} decisions, offline"
        print_rows((("replay", again, ""),))
    else:
        print_rows((("replay", replayed.difference.sentence, "red"),))
    holds = "chain and signatures hold" if result.audit_ok else "chain and signatures DO NOT HOLD"
    print_rows((("audit", f"{result.audit_rows} rows, {holds}", "" if result.audit_ok else "red"),))
    if not result.ok:
        raise NotVerifiedError("the demo did not end verified; the clauses above say why")


async def _play() -> Demo:
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
        return await play(home(), port_base(), progress, watch)


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(demo)
