"""Scenarios: run and record them; list them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.context import Json, home, run
from harness.cli.live import LiveView
from harness.cli.output import emit_json, out
from harness.cli.report import print_outcome
from harness.control import connect
from harness.errors import NotVerifiedError
from harness.run import Outcome, Runner
from harness.scenario import Draw, draw, load, names
from harness.store import remember


def run_scenario(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO.json", help="Path or name; see: triage scenarios.")],
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Draws every choice of the scenario.")] = None,
    noise: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Noise in the traffic.")] = None,
    record: Annotated[Path | None, typer.Option("--record", help="Write the run's recording to this file.")] = None,
    json_: Json = False,
) -> None:
    """Run a scenario on the running stack and judge it."""
    drawn = draw(load(scenario), seed=seed, noise=noise)
    if record is not None and record.is_dir():
        raise typer.BadParameter(f"{record} is a folder; give a file's name", param_hint="--record")
    outcome = run(lambda: play(drawn, record, quiet=json_))
    if json_:
        emit_json(outcome)
    else:
        print_outcome(outcome, record)
    run(lambda: remember(home(), outcome))
    if not outcome.ok:
        failed = "; ".join(f"{clause.name}: {clause.detail}" for clause in outcome.judgement.clauses if not clause.ok)
        raise NotVerifiedError(f"{outcome.scenario} is not recovered: {failed}")


async def play(drawn: Draw, record: Path | None, *, quiet: bool) -> Outcome:
    """Run a drawn scenario with the live view (unless quiet)."""
    view = LiveView(shown=not quiet)
    async with connect(home()) as control:
        with view:
            return await Runner(home(), control, view.see).run(drawn, record=record)


def scenarios(json_: Json = False) -> None:
    """List the scenarios that come with the project."""
    found = [load(name) for name in names()]
    if json_:
        emit_json(found)
        return
    for scenario in found:
        out.print(f"[bold]{scenario.name:<24}[/bold] {scenario.summary}")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(name="run")(run_scenario)
    app.command()(scenarios)
