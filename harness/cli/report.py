"""The one-screen report at the end: cause, action, times, envelopes, where the recording lies."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.table import Table
from rich.text import Text

from broker.contracts.incident import IncidentClosed
from broker.contracts.plan import FaultClass, Hypothesis
from harness.cli.output import out, seconds
from harness.run import Outcome
from harness.score import Score
from harness.shown import shown_in
from harness.story import Story

FAULT_WORDS: dict[FaultClass, str] = {
    "config_drift": "its configuration drifted from what is declared",
    "bad_credentials": "it logs in with wrong credentials",
    "process_down": "its process is down",
    "process_hung": "its process hangs",
    "cache_poison": "its cache holds wrong values",
    "network_partition": "its network link is cut",
    "network_latency": "its network link is slow",
    "network_loss": "its network link loses connections",
    "cpu_saturation": "its processor is saturated",
    "resource_limit": "it may use too little processor time or memory",
    "disk_full": "its volume is full",
    "none": "nothing is broken",
}
LABEL_WIDTH = 11
Row = tuple[str, str, str]
"""Label, value, style."""


def hypothesis(guess: Hypothesis) -> str:
    """Return a hypothesis in words: where, what, how sure."""
    if guess.fault_class == "none":
        return f"{FAULT_WORDS['none']} ({guess.confidence:.0%} sure)"
    return f"{guess.target}: {FAULT_WORDS[guess.fault_class]} ({guess.fault_class}, {guess.confidence:.0%} sure)"


def print_outcome(outcome: Outcome, record: Path | None) -> None:
    """Print the report of a scenario."""
    word, style = ("recovered", "bold green") if outcome.ok else ("not recovered", "bold red")
    out.print()
    print_rows((("scenario", f"{outcome.scenario}, seed {outcome.seed}, noise {outcome.noise:g}: {word}", style),))
    truth = {None: "nothing was injected", True: "as injected", False: "NOT what was injected"}[outcome.located]
    guess = "no plan was accepted" if outcome.hypothesis is None else hypothesis(outcome.hypothesis)
    print_rows(
        (
            ("cause", f"{guess}; {truth}", "red" if outcome.located is False else ""),
            *_actions(outcome.actions),
            ("verdict", f"{outcome.verdict}: {outcome.reason}", ""),
            *_times(outcome.score),
        )
    )
    print_rows(
        ("check ok" if clause.ok else "check NO", f"{clause.name}: {clause.detail}", "" if clause.ok else "red")
        for clause in outcome.judgement.clauses
    )
    print_rows((("envelopes", f"{outcome.signed} signed, {outcome.refused} refused", ""),))
    print_rows((("incident", f"{outcome.incident}; its messages: triage tail --incident {outcome.incident}", ""),))
    if record is not None:
        print_rows((("recording", f"{shown_in(str(record))} (triage replay decides it again)", ""),))


def print_closed(story: Story, closed: IncidentClosed, figures: Score) -> None:
    """Print the report of an incident that somebody reported."""
    good = closed.verdict in ("verified", "no_fault")
    out.print()
    print_rows((("verdict", f"{closed.verdict}: {closed.reason}", "bold green" if good else "bold red"),))
    guess = "no plan was accepted" if story.plan is None else hypothesis(story.plan.hypothesis)
    print_rows((("cause", guess, ""), *_actions(tuple(story.actions)), *_times(figures)))
    print_rows((("incident", f"{closed.incident}; its messages: triage tail --incident {closed.incident}", ""),))


def print_rows(rows: Iterable[Row]) -> None:
    """Print labelled lines: hanging on a terminal, one line each in a pipe."""
    if not out.is_terminal:
        for label, value, _ in rows:
            out.print(f"  {label:<{LABEL_WIDTH}}{value}", markup=False)
        return
    grid = Table.grid(padding=(0, 0, 0, 2))
    grid.add_column(width=LABEL_WIDTH, style="dim")
    grid.add_column(overflow="fold")
    for label, value, style in rows:
        grid.add_row(label, Text(value, style=style))
    out.print(grid)


def _actions(sentences: tuple[str, ...]) -> tuple[Row, ...]:
    if not sentences:
        return (("action", "none was taken", ""),)
    return tuple(("action", sentence, "") for sentence in sentences)


def _times(figures: Score) -> tuple[Row, ...]:
    steps = (
        ("detect", figures.time_to_detect_s),
        ("plan", figures.time_to_plan_s),
        ("repair", figures.time_to_repair_s),
        ("verify", figures.time_to_verify_s),
    )
    rows = [("times", ", ".join(f"to {name} {seconds(value)}" for name, value in steps if value is not None), "")]
    whole = (
        ("injected to verified", figures.time_to_recover_s),
        ("the control plane's own work", figures.control_plane_s),
    )
    if any(value is not None for _, value in whole):
        rows.append(("in all", ", ".join(f"{name} {seconds(value)}" for name, value in whole if value is not None), ""))
    return tuple(rows)
