"""`triage doctor --model`: what the endpoint of the planner's model is good for, tried out."""

from __future__ import annotations

from rich.markup import escape

from broker.runtime.settings import load_settings
from harness.cli.context import run
from harness.cli.output import emit_json, grid, out, seconds, working
from harness.errors import HarnessError
from harness.llm.probe import ModelReport, probe
from planner_svc.config import model_settings


def probe_model(url: str | None, json_: bool) -> None:
    """Probe an endpoint and show what came of it.

    Raises:
        HarnessError: it answers, and the planner does better without it. ModelDownError: it does not answer.
        SettingsError: its address is none.
    """
    settings = model_settings(load_settings(model_url=url))
    with working(f"asking {settings.shown_url}") as progress:
        report = run(lambda: probe(settings, lambda what: progress("", what)))
    if json_:
        emit_json(report)
    else:
        _show(report)
    if report.recommended == "rulebook":
        raise HarnessError(f"the planner does better without {report.model}: {report.reason}")


def _show(report: ModelReport) -> None:
    loaded = {True: "loaded", False: "not loaded before it was asked", None: ""}[report.loaded]
    facts = ", ".join(part for part in (report.server, loaded, report.fingerprint) if part and part != "unknown")
    print_row("endpoint", f"{report.url} ({report.listed} model{'s' if report.listed != 1 else ''} listed)")
    print_row("model", f"{report.model} ({facts})" if facts else report.model)
    print_row("schema", {True: "held to", False: "refused; asked without", None: "unknown"}[report.structured])
    print_row("first", f"{seconds(report.first_s)} for the first question, which the server reads as a whole")
    print_row(
        "repeated", f"{seconds(report.repeated_s)} median after that; a whole plan {seconds(report.plan_s)} at most"
    )
    same = {True: "the same question got the same answer", False: "the same question got another", None: "unknown"}
    print_row("repeatable", same[report.deterministic])
    table = grid("case", "asked for", "answer", "", "time")
    for item in report.answers:
        mark = "[green]right[/green]" if item.right else "[red]wrong[/red]" if item.usable else "[red]unusable[/red]"
        table.add_row(item.case, item.form, escape(item.said[:100]), mark, seconds(item.seconds))
    out.print(table)
    print_row("recommended", f"planner_mode {report.recommended}: {report.reason}")


def print_row(name: str, value: str) -> None:
    """Write one fact on a line of its own."""
    out.print(f"{name:<12} {value}", markup=False)
