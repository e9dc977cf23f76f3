"""Rates and medians with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import pytest

from harness.figures import percentile, rate, resampled, spread, wilson


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_interval_of_a_rate_is_the_published_one(hits: int, total: int, low: float, high: float) -> None:
    assert wilson(hits, total) == pytest.approx((low, high), abs=5e-5)


def test_all_of_few_is_no_certainty() -> None:
    low, high = rate([True] * 5).interval
    assert high == pytest.approx(1.0)
    assert low < 0.6


def test_nothing_has_no_rate_and_every_interval() -> None:
    assert rate([]).value is None
    assert rate([]).interval == (0.0, 1.0)


def test_median_lies_in_its_interval_and_the_same_values_give_the_same_interval() -> None:
    values = [float(n * n % 97) for n in range(46)]
    found = spread(values)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= median(values) <= found.high
    assert found.low < found.high
    assert spread(values) == found


def test_one_value_is_its_own_spread() -> None:
    found = spread([3.0])
    assert (found.median, found.low, found.high, found.p90, found.most) == (3.0, 3.0, 3.0, 3.0, 3.0)


def test_no_values_have_no_median() -> None:
    assert spread([]).median is None


def test_percentile_is_a_value_that_was_measured() -> None:
    assert percentile([5.0, 1.0, 9.0, 2.0], 0.9) == 9.0
    assert percentile(list(map(float, range(1, 11))), 0.9) == 9.0


def test_all_resamples_of_equal_values_are_that_value() -> None:
    assert resampled([2.0, 2.0, 2.0], lambda values: sum(values) / len(values)) == (2.0, 2.0)


def test_the_seed_decides_the_resamples() -> None:
    values = [float(n * n % 97) for n in range(12)]

    def mean(drawn: Sequence[float]) -> float:
        return sum(drawn) / len(drawn)

    assert resampled(values, mean, seed=1) == resampled(values, mean, seed=1)
    assert resampled(values, mean, seed=1) != resampled(values, mean, seed=2)
    assert spread(values, seed=1) == spread(values, seed=1)


def test_resamples_without_a_value_are_left_out_and_none_at_all_is_no_interval() -> None:
    """Of (None, 4.0) a quarter of the resamples hold None twice; each other one gives 4.0."""

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None

    assert resampled([None, 4.0], mean) == (4.0, 4.0)
    assert resampled([None, None], mean) is None
    assert resampled([], mean) is None
