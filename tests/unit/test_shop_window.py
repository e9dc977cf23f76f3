"""The sliding window users are judged by."""

from __future__ import annotations

import pytest

from services.shop.window import Sample, Window, percentile


def window(*samples: tuple[float, float, str | None], keep_s: float = 60.0) -> Window:
    made = Window(keep_s)
    for at_s, duration_ms, error in samples:
        made.add(Sample(at_s, duration_ms, error))
    return made


def test_an_empty_window_has_no_ratio_and_no_percentile() -> None:
    summary = window().summary(100.0)
    assert (summary.count, summary.errors, summary.p95_ms, summary.success_ratio, summary.rate) == (0, 0, None, None, 0)


def test_only_what_finished_inside_the_span_counts() -> None:
    summary = window((94.9, 1, "500"), (95.0, 1, "500"), (95.1, 1, None), (100.0, 1, None), (100.1, 1, "500")).summary(
        100.0, 5.0
    )
    assert (summary.count, summary.errors) == (2, 0)


def test_failures_are_counted_by_name_and_lower_the_ratio() -> None:
    summary = window((1, 5, None), (2, 5, "500"), (3, 5, "timeout"), (4, 5, "500")).summary(4.5, 5.0)
    assert summary.by_error == {"500": 2, "timeout": 1}
    assert summary.success_ratio == 0.25
    assert summary.rate == 4 / 5


def test_old_samples_are_forgotten_so_that_memory_stays_bounded() -> None:
    made = window(*((float(at), 1.0, None) for at in range(1_000)), keep_s=10.0)
    assert made.summary(999.0, 500.0).count == 10
    assert made.summary(999.0, 500.0).span_s == 10.0


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7.0], 0.95, 7.0),
        ([float(n) for n in range(1, 101)], 0.95, 95.0),
        ([float(n) for n in range(20, 0, -1)], 0.95, 19.0),
        ([1.0, 2.0, 3.0], 1.0, 3.0),
        ([1.0, 2.0], 0.0, 1.0),
    ],
)
def test_a_percentile_is_the_nearest_rank(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected
