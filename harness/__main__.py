"""`python -m harness --scenario chaos1.json --seed 42 --noise 0.2`: the spec's own form (section 11).

Starts a stack of its own if none is up, runs the scenario headless, and stops what it started.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import app as cli
from harness.cli.context import Json, home, port_base, run
from harness.cli.output import working
from harness.cli.runs import run_scenario
from harness.scenario import load
from harness.site import deployment, outside

command = typer.Typer(pretty_exceptions_enable=False)


@command.command()
def main(
    scenario: Annotated[str, typer.Option("--scenario", help="Path or name of a scenario file.")],
    seed: Annotated[int | None, typer.Option("--seed", min=0)] = None,
    noise: Annotated[float | None, typer.Option("--noise", min=0.0, max=1.0)] = None,
    record: Annotated[Path | None, typer.Option("--record")] = None,
    json_: Json = False,
) -> None:
    """Run one scenario headless."""
    load(scenario)  # what cannot be run is said before anything is started
    stack = deployment(home(), port_base())
    started = not stack.is_up()
    if started:
        with working("starting") as progress:
            run(lambda: stack.up(progress=progress))
    try:
        if outside():
            _run_inside(scenario, seed, noise, record, json_)
        else:
            run_scenario(scenario, seed, noise, record, json_)
    finally:
        if started:
            with working("stopping"):
                run(stack.down)


def _run_inside(scenario: str, seed: int | None, noise: float | None, record: Path | None, json_: bool) -> None:
    """Have the scenario run by the harness in the compose stack; end with its exit code unless that is 0."""
    options = (("--seed", seed), ("--noise", noise), ("--record", record))
    given = [word for name, value in options if value is not None for word in (name, str(value))]
    code = cli.guarded(cli.app, ["run", scenario, *given, *(["--json"] if json_ else [])])
    if code != 0:
        raise typer.Exit(code)


if __name__ == "__main__":
    sys.exit(cli.guarded(command))
