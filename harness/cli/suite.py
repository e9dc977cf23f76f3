"""`triage suite`: many runs, their figures with intervals, one report; and two reports side by side (docs/suite.md)."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.context import Json, home, port_base, run
from harness.cli.gates import refuse_broken
from harness.cli.handing_on import handed_on
from harness.cli.output import emit_json, out, working
from harness.site import PLATFORM_VARIABLE, Deployment, PlatformName, deployment, outside, platform

app = typer.Typer(
    help="Run a set of scenarios with several seeds; measure, report, and hold against gates.",
    invoke_without_command=True,
    no_args_is_help=False,
)
RESULTS = Path("results")


@app.callback()
def suite(
    context: typer.Context,
    set_: Annotated[
        str, typer.Option("--set", help="nightly, full, or names of sets and scenarios with commas between them.")
    ] = "nightly",
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=1_000, help="So many runs of each: seeds 1, 2, …")] = 1,
    planner: Annotated[
        list[str] | None,
        typer.Option(
            "--planner", help="rulebook, or a model endpoint's URL; may be repeated.", show_default="rulebook"
        ),
    ] = None,
    gate: Annotated[
        list[str] | None, typer.Option("--gate", help="NAME=NUMBER, such as SR=0.9; may be repeated.")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Results folder.", show_default="results/<set>")] = None,
    on: Annotated[PlatformName | None, typer.Option("--platform", help="As before the command.")] = None,
    json_: Json = False,
) -> None:
    """Run a set of scenarios on the stack (one of its own unless one is up); write report.json and report.html.

    What is in the results folder already is not run again: an interrupted suite goes on where it stopped.
    """
    if context.invoked_subcommand is not None:
        return
    if on is not None:
        os.environ[PLATFORM_VARIABLE] = on
    where = folder or RESULTS / _folder_name(set_)
    if outside():
        _inside(set_, seeds, planner or [], gate or [], where, json_)
        return
    _run(set_, seeds, planner or ["rulebook"], gate or [], where, json_)


def _run(set_: str, seeds: int, who: Sequence[str], gates: Sequence[str], folder: Path, json_: bool) -> None:
    # Late: no other command needs the planner's client and the machines' cores for it.
    from broker.runtime.settings import load_settings
    from harness.cli import suite_view
    from harness.suite import command
    from harness.suite import gates as bounds

    settings = load_settings(role="planner", home=home())
    wish = command.Wish(
        set=set_,
        seeds=seeds,
        planners=tuple(who),
        gates=bounds.parse(gates),
        folder=folder,
        platform=platform(),
        command=_command(),
        mode=settings.planner_mode,
        model=settings.model_name,
    )
    with working("suite") as progress:
        written = run(lambda: command.run(wish, _stack, suite_view.tell(progress), progress))
    if json_:
        emit_json(written.report)
    else:
        suite_view.show(written)
    refuse_broken(written.held)


def _stack() -> Deployment:
    """Return the stack as it is up, or would be: brought up anew, it keeps the ports it has."""
    found = deployment(home(), port_base())
    if not found.is_up():
        return found
    base = run(found.status).port_base
    return found if base is None else deployment(home(), base)


def _inside(set_: str, seeds: int, who: Sequence[str], gates: Sequence[str], folder: Path, json_: bool) -> None:
    words = ["suite", "--set", set_, "--seeds", str(seeds), "--out", str(folder)]
    words += [word for name in who for word in ("--planner", name)]
    words += [word for text in gates for word in ("--gate", text)]
    code = handed_on([*words, "--json"] if json_ else words)
    if code:
        raise typer.Exit(code)


def _folder_name(set_: str) -> str:
    """Return a set's name as a folder's."""
    safe = "".join(c if c.isalnum() or c in "-_" else "-" for c in Path(set_).stem if c.isprintable())
    return safe[:60].strip("-") or "suite"


def _command() -> str:
    return shlex.join(["triage", *sys.argv[1:]])


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Results folder or report.json.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    page: Annotated[Path | None, typer.Option("--html", help="Write the comparison as a page too.")] = None,
    json_: Json = False,
) -> None:
    """Compare two reports: which runs changed, which figures moved by more than chance."""
    from harness.cli import suite_view
    from harness.suite import compare as comparing
    from harness.suite import page as pages
    from harness.suite.report import read
    from harness.suite.store import write_whole

    found = comparing.compare(read(first), read(second))
    if page is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
        write_whole(page, pages.comparison(found))
    if json_:
        emit_json(found)
        return
    suite_view.show_comparison(found)
    if page is not None:
        out.print(f"page: {page}", markup=False)
