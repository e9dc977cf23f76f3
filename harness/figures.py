"""Rates, medians and other statistics with a 95 % interval: the one home of all of them. Pure; the bootstrap draws by
a seed.

Rates: the score interval of Wilson (1927), "Probable inference, the law of succession, and statistical inference",
J. Am. Stat. Assoc. 22, 209-212; it stays within 0..1 and does not collapse at 0 or n of n, as the textbook's
p ± 1.96 sqrt(p(1-p)/n) does. Medians: the percentile bootstrap (Efron 1979).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

Z = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""
RESAMPLES = 2_000
SEED = 42
ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many of so many."""

    hits: int
    total: int

    @property
    def value(self) -> float | None:
        """Return the share, 0..1; None of nothing."""
        return self.hits / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """Return Wilson's 95 % score interval; 0..1 of nothing."""
        return wilson(self.hits, self.total)


@dataclass(frozen=True, slots=True)
class Spread:
    """How a quantity is distributed."""

    count: int
    median: float | None
    low: float | None
    high: float | None
    """95 % interval of the median."""
    p90: float | None
    most: float | None


def wilson(hits: int, total: int) -> tuple[float, float]:
    """Return the 95 % score interval of a rate."""
    if total == 0:
        return 0.0, 1.0
    share, square = hits / total, Z * Z
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = Z / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def rate(outcomes: Sequence[bool]) -> Rate:
    """Return how many of the outcomes are true."""
    return Rate(sum(outcomes), len(outcomes))


def spread(values: Sequence[float], *, seed: int = SEED) -> Spread:
    """Return median with its interval, 90th percentile and maximum; the same values and seed give the same interval."""
    if not values:
        return Spread(0, None, None, None, None, None)
    low, high = resampled(values, median, seed=seed) or (None, None)
    return Spread(len(values), median(values), low, high, percentile(values, 0.9), max(values))


def resampled(
    items: Sequence[ItemT], statistic: Callable[[Sequence[ItemT]], float | None], *, seed: int = SEED
) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of any statistic of these items; None if it has no value.

    Args:
        statistic: may return None for a resample that has none (such as one without a replan); those are left out.
    """
    generator = random.Random(seed)
    draws = (statistic(generator.choices(items, k=len(items))) for _ in range(RESAMPLES if items else 0))
    values = sorted(value for value in draws if value is not None)
    return (percentile(values, 0.025), percentile(values, 0.975)) if values else None


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile by the nearest rank: a value that was really measured."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]
