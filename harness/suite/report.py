"""The report of a suite as one value: what was run, every figure, every gate, every run. Pure; JSON is its canonical
form, from which the page is made again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from broker.contracts.base import Frozen
from broker.errors import SchemaError
from harness.errors import BadRecordingError, NotFoundError
from harness.figures import rate
from harness.gates import Held
from harness.suite.result import RunResult
from harness.suite.store import REPORT_JSON
from harness.suite.tally import Figure, figures


class About(Frozen):
    """What was run, where, and by which command."""

    set: str
    scenarios: tuple[str, ...]
    seeds: int
    planners: tuple[str, ...]
    platform: str
    planned: int
    """Runs that were to be made: more than there are in the report of an interrupted suite."""
    skipped: tuple[str, ...] = ()
    """Scenarios whose faults cannot be made on this platform."""
    commit: str
    machine: str
    date: str
    """Day of the last run, ISO 8601."""
    command: str


class FigureSaid(Frozen):
    """One figure with its interval."""

    title: str
    unit: str
    better: Literal["more", "less"]
    value: float | None
    low: float | None
    high: float | None
    count: int
    detail: str


class FamilySaid(Frozen):
    """Success by fault family."""

    family: str
    hits: int
    total: int
    low: float
    high: float


class HeldSaid(Frozen):
    """A gate and whether it held."""

    gate: str
    ok: bool
    sentence: str


class Report(Frozen):
    """`report.json`."""

    format: Literal["triage suite report"] = "triage suite report"
    version: Literal[1] = 1
    about: About
    figures: dict[str, dict[str, FigureSaid]]
    """Planner -> name of the figure -> figure."""
    families: dict[str, tuple[FamilySaid, ...]]
    gates: tuple[HeldSaid, ...] = ()
    runs: tuple[RunResult, ...]


def tallies(runs: Sequence[RunResult]) -> dict[str, tuple[Figure, ...]]:
    """Return every planner's figures, planners in the order of their first run."""
    return {name: figures(own) for name, own in _by_planner(runs).items()}


def report(about: About, runs: Sequence[RunResult], held: Sequence[Held] = ()) -> Report:
    """Return the report of these runs."""
    return Report(
        about=about,
        figures={planner: {one.name: _said(one) for one in found} for planner, found in tallies(runs).items()},
        families={planner: families(own) for planner, own in _by_planner(runs).items()},
        gates=tuple(HeldSaid(gate=f"{h.gate.name}={h.gate.bound:g}", ok=h.ok, sentence=h.sentence) for h in held),
        runs=tuple(runs),
    )


def families(runs: Sequence[RunResult]) -> tuple[FamilySaid, ...]:
    """Return the success rate (spec 10) of each family of faults, by name."""
    found: dict[str, list[bool]] = {}
    for run in runs:
        found.setdefault(run.family, []).append(run.figures is not None and run.figures.success)
    said = []
    for name, hits in sorted(found.items()):
        low, high = rate(hits).interval
        said.append(FamilySaid(family=name, hits=sum(hits), total=len(hits), low=low, high=high))
    return tuple(said)


def _by_planner(runs: Sequence[RunResult]) -> dict[str, list[RunResult]]:
    found: dict[str, list[RunResult]] = {}
    for run in runs:
        found.setdefault(run.key.planner, []).append(run)
    return found


def _said(figure: Figure) -> FigureSaid:
    return FigureSaid(**{name: getattr(figure, name) for name in FigureSaid.model_fields})


def read(path: Path) -> Report:
    """Read a report by its file or its folder.

    Raises:
        NotFoundError: there is none. BadRecordingError: it is no report of this version.
    """
    file = path / REPORT_JSON if path.is_dir() else path
    try:
        return Report.decode(file.read_bytes())
    except OSError as error:
        raise NotFoundError(f"the report {file} cannot be read: {error.strerror}; triage suite writes one") from error
    except SchemaError as error:
        raise BadRecordingError(f"{file} is no report of a suite that this version reads: {error}") from error


def shown(value: float | None, unit: str) -> str:
    """Return a figure's value for people."""
    if value is None:
        return "-"
    if unit == "tokens":
        return f"{value:.0f}"
    return f"{value:.2f} s" if unit == "s" else f"{value:.2f}"


def interval(low: float | None, high: float | None, unit: str) -> str:
    """Return an interval for people."""
    return "-" if low is None or high is None else f"{shown(low, unit)} .. {shown(high, unit)}"


def markdown(found: Report) -> str:
    """Return the figures as a page of Markdown, for a terminal or a job's summary."""
    about = found.about
    lines = [
        f"# Suite {about.set}: {len(found.runs)} runs, {about.seeds} seeds each",
        "",
        f"`{_cell(about.command)}`, {about.date}, sources {about.commit}, {about.platform}, {_cell(about.machine)}",
        "",
    ]
    for planner, said in found.figures.items():
        lines += [f"## {_cell(planner)}", "", "| figure | value | 95 % interval | of |", "|---|---|---|---|"]
        lines += [_row(name, figure) for name, figure in said.items()]
        lines.append("")
    lines += [
        f"- gate {held.gate} {'holds' if held.ok else '**does not hold**'}: {held.sentence}" for held in found.gates
    ]
    return "\n".join(lines).rstrip() + "\n"


def _row(name: str, figure: FigureSaid) -> str:
    value = f"**{shown(figure.value, figure.unit)}**"
    bounds = interval(figure.low, figure.high, figure.unit)
    return f"| {name}: {figure.title} | {value} | {bounds} | {_cell(figure.detail)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def scores(found: Report) -> dict[str, dict[str, dict[str, object]]]:
    """Return SR, MRL and TGED of each planner alone: what a nightly run is followed by."""
    names = ("SR", "MRL", "TGED")
    return {planner: {name: said[name].model_dump() for name in names} for planner, said in found.figures.items()}
