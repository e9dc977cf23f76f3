"""The figures of a suite, by planner: each with its 95 % interval over seeds and scenarios. Pure.

Rates have Wilson's interval, medians and MRL a seeded bootstrap (harness/figures.py). A run that could not be measured
failed: it is in the denominator of every rate, and in no median.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.figures import SEED, rate, resampled, spread
from harness.score import Replan, mean_replan_latency
from harness.suite.result import RULEBOOK, RunFigures, RunResult

Unit = Literal["share", "s", "edits", "tokens"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one planner."""

    name: str
    """What a gate calls it."""
    title: str
    unit: Unit
    better: Literal["more", "less"]
    value: float | None
    """A rate, a median, or MRL's weighted mean; None: there is nothing to make it of."""
    low: float | None
    high: float | None
    count: int
    """Of how many it is made."""
    detail: str
    absent_is_good: bool = False
    """Whether no value means that nothing went wrong (no replan was needed), rather than that nothing was measured."""


@dataclass(frozen=True, slots=True)
class _Rate:
    name: str
    title: str
    better: Literal["more", "less"]
    of: Callable[[RunResult], bool]
    counts: Callable[[RunResult], bool] = lambda _run: True


@dataclass(frozen=True, slots=True)
class _Median:
    name: str
    title: str
    unit: Unit
    of: Callable[[RunFigures], float | None]


RATES = (
    _Rate("SR", "success rate (spec 10)", "more", lambda run: run.figures is not None and run.figures.success),
    _Rate("RECOVERED", "recovered, by the oracle alone", "more", lambda run: run.ok),
    _Rate(
        "LOCALISATION",
        "cause found: device and class of fault",
        "more",
        lambda run: run.located is True,
        lambda run: run.has_fault,
    ),
    _Rate("FALSE_ACTIONS", "runs with an action on a healthy device", "less", lambda run: bool(run.false_actions)),
    _Rate(
        "FALSE_ALARMS",
        "runs without a fault in which anything was done",
        "less",
        lambda run: bool(run.false_actions),
        lambda run: not run.has_fault,
    ),
    _Rate("COLLATERAL", "runs that left something else changed", "less", lambda run: bool(run.collateral)),
    _Rate("UNMEASURED", "runs that could not be measured", "less", lambda run: run.figures is None),
)
MEDIANS = (
    _Median("MTTD", "time to detect: injected to seen", "s", lambda found: found.detect_s),
    _Median("MTTR", "time to recover: injected to verified", "s", lambda found: found.recover_s),
    _Median("MTTR_MODEL", "of which the model was asked", "s", lambda found: found.model_s),
    _Median("MTTR_PLATFORM", "of which everything else", "s", lambda found: found.platform_s),
    _Median("MODEL_SECONDS", "model's time per run", "s", lambda found: found.model_seconds),
    _Median(
        "TOKENS", "tokens per run, prompt and answer", "tokens", lambda f: float(f.prompt_tokens + f.completion_tokens)
    ),
)
MRL, TGED, FALLBACKS = "MRL", "TGED", "FALLBACKS"
NAMES = (*(item.name for item in RATES), *(item.name for item in MEDIANS), MRL, TGED, FALLBACKS)


def figures(runs: Sequence[RunResult], *, seed: int = SEED) -> tuple[Figure, ...]:
    """Return every figure of one planner's runs.

    Args:
        seed: of the bootstrap; the same runs and seed give the same intervals.
    """
    found = [run.figures for run in runs if run.figures is not None]
    rates = [_rate(item, runs) for item in RATES]
    medians = [_median(item, found, seed) for item in MEDIANS]
    return (*rates, _fallbacks(runs), _mrl(found, seed), _tged(found, seed), *medians)


def _rate(item: _Rate, runs: Sequence[RunResult]) -> Figure:
    return _share(item.name, item.title, item.better, [item.of(run) for run in runs if item.counts(run)])


def _share(name: str, title: str, better: Literal["more", "less"], hits: Sequence[bool]) -> Figure:
    found = rate(hits)
    low, high = found.interval if hits else (None, None)
    detail = f"{found.hits} of {found.total}" if hits else "no such run"
    return Figure(name, title, "share", better, found.value, low, high, found.total, detail)


def _fallbacks(runs: Sequence[RunResult]) -> Figure:
    """Count the rulebook's plans where a model was to plan: without them a dead endpoint would score as a model."""
    asked = [run for run in runs if run.key.planner != RULEBOOK and run.figures is not None]
    fell = [run.planned_by != "llm" for run in asked]
    found = _share(FALLBACKS, "the rulebook's plan although a model was to plan", "less", fell)
    nobody = bool(runs) and all(run.key.planner == RULEBOOK for run in runs)
    return replace(found, detail="no model was to plan", absent_is_good=True) if nobody else found


def _median(item: _Median, found: Iterable[RunFigures], seed: int) -> Figure:
    values = [value for value in map(item.of, found) if value is not None]
    made = spread(values, seed=seed)
    detail = f"mean {sum(values) / len(values):.3g}, at most {max(values):.3g}" if values else "no such run"
    return Figure(item.name, item.title, item.unit, "less", made.median, made.low, made.high, made.count, detail)


def _mrl(found: Sequence[RunFigures], seed: int) -> Figure:
    """MRL over all replans; whole runs are resampled, since replans of one run hang together."""
    low, high = resampled(found, _latency, seed=seed) or (None, None)
    count = sum(len(one.replans) for one in found)
    detail = f"weighted by TGED, {count} replans" if count else "no replan was needed"
    title = "mean replan latency (spec 10)"
    return Figure(MRL, title, "s", "less", _latency(found), low, high, count, detail, bool(found) and not count)


def _latency(found: Sequence[RunFigures]) -> float | None:
    return mean_replan_latency(Replan(0.0, said.latency_s, said.tged) for one in found for said in one.replans)


def _tged(found: Sequence[RunFigures], seed: int) -> Figure:
    values = [said.tged for one in found for said in one.replans]
    made = spread(values, seed=seed)
    detail = f"mean {sum(values) / len(values):.3g} over {len(values)} replans" if values else "no replan was needed"
    title = "task graph edit distance of a replan (spec 10)"
    calm = bool(found) and not values
    return Figure(TGED, title, "edits", "less", made.median, made.low, made.high, made.count, detail, calm)
