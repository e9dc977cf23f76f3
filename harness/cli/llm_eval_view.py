"""How `triage llm eval` shows its progress and its figures."""

from __future__ import annotations

from rich.table import Table as Grid

from harness.cli.output import err, grid, out, seconds
from harness.evaluation.command import Written
from harness.evaluation.data import Half
from harness.evaluation.evaluate import Progress
from harness.evaluation.table import ROWS, SPANS, TOGETHER
from harness.figures import Rate

HALVES: dict[str, tuple[Half, ...]] = {
    "tuning": ("tuning",),
    "measured": ("measured",),
    "all": ("tuning", "measured"),
}


def tell(progress: Progress) -> None:
    """Say how far it is: on a terminal in place, in a log every tenth situation."""
    line = f"{progress.done} of {progress.total}, about {seconds(progress.left_s)} left"
    if err.is_terminal:
        err.print(f"{line:<50}", end="\n" if progress.done == progress.total else "\r", markup=False)
    elif progress.done % 10 == 0 or progress.done == progress.total:
        err.print(line, markup=False)


def show(written: Written) -> None:
    found = written.table
    rates = grid("", *(column.name for column in found.columns))
    for name, title in ROWS:
        rates.add_row(title, *(_cell(getattr(column, name)) for column in found.columns))
    out.print(rates)
    for name, title in TOGETHER:
        if (value := getattr(found, name)) is not None:
            out.print(f"{title}: {_cell(value)}", markup=False)
    out.print(_spans(written))
    out.print(f"written: {written.markdown} and {written.json}", markup=False)


def _spans(written: Written) -> Grid:
    spans = grid("", "median", "90 %", "most")
    for name, title, unit in SPANS:
        value = getattr(written.table, name)
        if value is not None and value.median is not None:
            spans.add_row(title, *(f"{number:.1f} {unit}" for number in (value.median, value.p90, value.most)))
    return spans


def _cell(value: Rate | None) -> str:
    if value is None or value.value is None:
        return "-"
    low, high = value.interval
    return f"{value.value:.2f} ({low:.2f}..{high:.2f}), {value.hits} of {value.total}"
