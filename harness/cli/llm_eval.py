"""`triage llm eval`: what a model adds to the rulebook, measured on recorded situations (docs/evaluation.md)."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from broker.runtime.settings import load_settings
from harness.cli.context import Json, home, run
from harness.cli.output import emit_json

RESULTS = Path("docs/results")


def evaluate(
    url: Annotated[
        str | None, typer.Option("--url", help="The model's endpoint; that of the settings unless given.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Which of the endpoint's models.")] = None,
    rulebook: Annotated[bool, typer.Option("--rulebook", help="The rulebook alone; no model is asked.")] = False,
    mode: Annotated[
        Literal["hypothesis", "full"], typer.Option("--mode", help="What the model is asked for.")
    ] = "hypothesis",
    set_: Annotated[
        Literal["tuning", "measured", "all"], typer.Option("--set", help="Which half of the situations.")
    ] = "measured",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="So many situations of each half, spread over it.")
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Where table and answers are written.")] = RESULTS,
    model_file: Annotated[
        Path | None, typer.Option("--model-file", help="The file that the endpoint serves; its hash is noted.")
    ] = None,
    date: Annotated[str | None, typer.Option("--date", help="Day to be noted, YYYY-MM-DD; today unless given.")] = None,
    gate: Annotated[
        list[str] | None, typer.Option("--gate", help="NAME=NUMBER, such as TOGETHER_FAULT=0.85; may be repeated.")
    ] = None,
    json_: Json = False,
) -> None:
    """Measure rulebook, model and both together on recorded situations; write a table.

    Answers are kept under OUT/answers: run again after an interruption, and only what is missing is asked. A gate that
    does not hold makes the exit code 5, after the table was written.
    """
    day = _day(date)
    settings = load_settings(role="planner", home=home(), model_url=url, model_name=model)
    # Late: no other command needs the planner's worker and the machines' cores for it.
    from harness.cli.gates import refuse_broken, show_gates
    from harness.cli.llm_eval_view import HALVES, show, tell
    from harness.evaluation import gates
    from harness.evaluation.command import Wish
    from harness.evaluation.command import run as measure
    from harness.evaluation.table import as_json

    wanted = gates.parse(gate or [])
    wish = Wish(HALVES[set_], None if rulebook else mode, limit, folder, day, _command(), model_file)
    written = run(lambda: measure(wish, settings, tell))
    held = gates.hold(wanted, written.table)
    if json_:
        emit_json(as_json(written.table, written.outcomes) | {"gates": [asdict(one) for one in held]})
    else:
        show(written)
        show_gates(held)
    refuse_broken(held)


def _day(text: str | None) -> str:
    if text is None:
        return datetime.now(UTC).date().isoformat()
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date().isoformat()
    except ValueError as error:
        raise typer.BadParameter(f"{text[:40]!r} is no day of the form YYYY-MM-DD", param_hint="--date") from error


def _command() -> str:
    """Return the command as it was given, without the program's path."""
    return shlex.join(["triage", *sys.argv[1:]])


def register(app: typer.Typer) -> None:
    """Add this module's command to the group `triage llm`."""
    app.command(name="eval")(evaluate)
