"""`triage demo`: the README's first command."""

from __future__ import annotations

import typer

from harness.cli.context import home, port_base, run
from harness.cli.live import LiveView
from harness.cli.output import err, out
from harness.cli.runs import print_outcome
from harness.control import Seen
from harness.demo import Demo, play
from harness.errors import NotVerifiedError


def demo() -> None:
    """Break the shop for real, report it in messy words, watch it repaired, proved and recorded."""
    result = run(_play)
    print_outcome(result.outcome, result.recording)
    replayed = result.replayed
    if replayed.difference is None:
        out.print(f"  replay: identical, {replayed.events} events and {replayed.decisions} decisions, offline")
    else:
        out.print(f"  replay: {replayed.difference.sentence}", style="red", markup=False)
    verdict = "holds" if result.audit_ok else "DOES NOT HOLD"
    out.print(f"  audit trail: {result.audit_rows} rows, chain and signatures {verdict}")
    if not result.ok:
        raise NotVerifiedError("the demo did not end verified; the clauses above say why")


async def _play() -> Demo:
    out.print("[bold]Agentic Triage[/bold]: a shop of real services; its orders service is about to lose its database")
    view = LiveView()
    shown = False

    def watch(item: Seen) -> None:
        nonlocal shown
        if not shown:
            view.__enter__()
            shown = True
        view.see(item)

    def progress(name: str, what: str) -> None:
        if not err.is_terminal:
            return
        err.print(f"  {name}: {what}", style="dim", markup=False)

    try:
        return await play(home(), port_base(), progress, watch)
    finally:
        if shown:
            view.__exit__(None, None, None)


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(demo)
