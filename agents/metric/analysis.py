"""Trend, threshold and anomaly of one metric. Pure.

Anomaly is the modified z-score of Iglewicz and Hoaglin (How to Detect and Handle Outliers, 1993):
`0.6745 * (median(recent) - median(baseline)) / MAD(baseline)`, anomalous beyond 3.5, with a floor under the MAD so that
a perfectly calm baseline does not make every ripple an anomaly. Trend is the slope of a least-squares line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

Trend = Literal["rising", "falling", "flat"]
Z_LIMIT = 3.5
RELATIVE_FLOOR = 0.05
"""The MAD is never taken smaller than this share of the baseline's median."""
TREND_SHARE = 0.2
"""A slope that changes the value by less than this share of its level over the span is flat."""
MIN_BASELINE = 5
"""Samples a baseline needs before anything is called an anomaly."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured value."""

    time_us: int
    value: float


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the metric did."""

    samples: int
    last: float
    low: float
    high: float
    trend: Trend
    slope: float
    """Of the least-squares line, in the metric's unit per second."""
    baseline: float | None
    """Median before the look-back; None if there is too little of it."""
    score: float | None
    anomalous: bool
    crossed: bool


def analyse(
    recent: Sequence[Sample], before: Sequence[Sample], *, above: float | None = None, below: float | None = None
) -> Analysis:
    """Judge `recent` (at least one sample, oldest first) against `before`."""
    values = [sample.value for sample in recent]
    baseline, score = _score(values, [sample.value for sample in before])
    return Analysis(
        samples=len(values),
        last=values[-1],
        low=min(values),
        high=max(values),
        trend=trend(recent),
        slope=slope(recent),
        baseline=baseline,
        score=score,
        anomalous=score is not None and abs(score) > Z_LIMIT,
        crossed=(above is not None and max(values) > above) or (below is not None and min(values) < below),
    )


def _score(recent: Sequence[float], before: Sequence[float]) -> tuple[float | None, float | None]:
    if len(before) < MIN_BASELINE:
        return None, None
    centre = median(before)
    deviation = median([abs(value - centre) for value in before])
    floor = max(abs(centre) * RELATIVE_FLOOR, 1e-3)
    return centre, 0.6745 * (median(recent) - centre) / max(deviation, floor)


def slope(samples: Sequence[Sample]) -> float:
    """Return the slope of the least-squares line through the samples, per second; 0 for fewer than three."""
    if len(samples) < 3:
        return 0.0
    times = [(sample.time_us - samples[0].time_us) / 1e6 for sample in samples]
    values = [sample.value for sample in samples]
    mean_t, mean_v = sum(times) / len(times), sum(values) / len(values)
    spread = sum((t - mean_t) ** 2 for t in times)
    if spread == 0:
        return 0.0
    return sum((t - mean_t) * (v - mean_v) for t, v in zip(times, values, strict=True)) / spread


def trend(samples: Sequence[Sample]) -> Trend:
    """Return the direction of the least-squares line through the samples."""
    if not samples:
        return "flat"
    level = sum(sample.value for sample in samples) / len(samples)
    change = slope(samples) * (samples[-1].time_us - samples[0].time_us) / 1e6
    if abs(change) < TREND_SHARE * max(abs(level), 1e-9):
        return "flat"
    return "rising" if change > 0 else "falling"


def sentence(device: str, metric: str, lookback: str, found: Analysis) -> str:
    """Return the one sentence that says what the metric did."""
    parts = [f"{metric} of {device} is {_number(found.last)} ({found.trend} over {lookback}"]
    parts.append(f", {_number(found.low)}..{_number(found.high)} in {found.samples} samples)")
    if found.baseline is not None:
        verdict = "an anomaly against" if found.anomalous else "in line with"
        parts.append(f", {verdict} its baseline of {_number(found.baseline)}")
    if found.crossed:
        parts.append(", across its threshold")
    return "".join(parts)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
