"""Two reports side by side: which runs changed, which figures moved, and whether that is more than chance. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from broker.contracts.base import Frozen
from harness.suite.report import FigureSaid, Report
from harness.suite.result import RunResult

Change = Literal["mended", "broken"]
Moved = Literal["better", "worse", "within chance", "too few"]
FEW = 5
"""Of fewer values the bootstrap's interval says little: four equal ones would make any difference look certain."""


class RunChanged(Frozen):
    """A run that succeeded in one report and failed in the other."""

    scenario: str
    seed: int
    planner: str
    change: Change
    why: str
    """Of the failed one: the clauses that did not hold, or the error."""


class FigureMoved(Frozen):
    """One figure of both reports."""

    planner: str
    name: str
    title: str
    unit: str
    first: FigureSaid
    second: FigureSaid
    moved: Moved
    """`better` or `worse` only where the two 95 % intervals do not meet; `too few` values to say so on one side."""


class Comparison(Frozen):
    """What lies between two reports."""

    first: str
    second: str
    """What each is: set, planners, commit, date."""
    figures: tuple[FigureMoved, ...]
    changed: tuple[RunChanged, ...]
    same: int
    """Runs of the same scenario and seed that ended alike."""
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    """Runs that the other one does not have."""


def compare(first: Report, second: Report) -> Comparison:
    """Return what lies between two reports. With one planner each they are compared whatever the planners are."""
    pairs = _planners(first, second)
    one, other = _keyed(first, pairs, 0), _keyed(second, pairs, 1)
    both = [key for key in one if key in other]
    changed = [found for key in both if (found := _changed(key, one[key], other[key])) is not None]
    return Comparison(
        first=_words(first),
        second=_words(second),
        figures=tuple(
            _moved(f"{a} | {b}" if a != b else a, name, first.figures[a][name], second.figures[b][name])
            for a, b in pairs
            for name in first.figures[a]
            if name in second.figures[b]
        ),
        changed=tuple(changed),
        same=len(both) - len(changed),
        only_first=tuple(_name(key) for key in one if key not in other),
        only_second=tuple(_name(key) for key in other if key not in one),
    )


Key = tuple[str, int, str]


def _planners(first: Report, second: Report) -> list[tuple[str, str]]:
    if len(first.figures) == len(second.figures) == 1:
        return [(next(iter(first.figures)), next(iter(second.figures)))]
    return [(name, name) for name in first.figures if name in second.figures]


def _keyed(report: Report, pairs: Sequence[tuple[str, str]], side: int) -> dict[Key, RunResult]:
    names = {pair[side]: (f"{pair[0]} | {pair[1]}" if pair[0] != pair[1] else pair[0]) for pair in pairs}
    return {(run.key.scenario, run.key.seed, names.get(run.key.planner, run.key.planner)): run for run in report.runs}


def _name(key: Key) -> str:
    return f"{key[0]} seed {key[1]}, {key[2]}"


def _words(report: Report) -> str:
    about = report.about
    return f"{about.set}, {', '.join(about.planners)}, {len(report.runs)} runs, sources {about.commit}, {about.date}"


def _changed(key: Key, first: RunResult, second: RunResult) -> RunChanged | None:
    was, is_ = succeeded(first), succeeded(second)
    if was == is_:
        return None
    change: Change = "mended" if is_ else "broken"
    return RunChanged(
        scenario=key[0], seed=key[1], planner=key[2], change=change, why=why_failed(first if is_ else second)
    )


def succeeded(run: RunResult) -> bool:
    """Tell whether a run counts for SR."""
    return run.figures is not None and run.figures.success


def why_failed(run: RunResult) -> str:
    """Return in one sentence why a run does not count for SR; empty if it does."""
    if succeeded(run):
        return ""
    if run.error is not None:
        return f"not measured: {run.error}"
    failed = [f"{clause.name}: {clause.detail}" for clause in run.clauses if not clause.ok]
    if failed or run.figures is None:
        return "; ".join(failed) or "nothing was measured"
    if not run.figures.root_verified:
        return f"closed as {run.verdict}: {run.reason}"
    done = f"{run.figures.tasks_completed} of {run.figures.tasks_total} tasks completed"
    return f"{done}, {run.figures.leaf_fail:.0%} of the last ones failed"


def _moved(planner: str, name: str, first: FigureSaid, second: FigureSaid) -> FigureMoved:
    return FigureMoved(
        planner=planner,
        name=name,
        title=first.title,
        unit=first.unit,
        first=first,
        second=second,
        moved=_direction(first, second),
    )


def _direction(first: FigureSaid, second: FigureSaid) -> Moved:
    one, other = bounds(first), bounds(second)
    if one is None or other is None or min(first.count, second.count) < FEW:
        return "too few"
    if other[1] <= one[2] and one[1] <= other[2]:
        return "within chance"
    return "better" if (other[0] > one[0]) == (first.better == "more") else "worse"


def bounds(figure: FigureSaid) -> tuple[float, float, float] | None:
    """Return value, low and high of a figure that has them."""
    if figure.value is None or figure.low is None or figure.high is None:
        return None
    return figure.value, figure.low, figure.high
