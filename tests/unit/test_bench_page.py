"""What the memory benchmark of the dashboard's API computes, without a dashboard."""

from __future__ import annotations

import pytest

from harness.bench.page import Count, Sample, figures, renamed, slope
from harness.rebroadcast import opened
from harness.stage.surroundings import BUNDLED


def grown(per_minute: float) -> list[Sample]:
    """Return twenty minutes in which the first ten fill 30 MiB and the others add so much."""
    filling = [Sample(60.0 * minute, 100.0 + 3.0 * minute) for minute in range(10)]
    return filling + [Sample(600.0 + 60.0 * minute, 130.0 + per_minute * minute) for minute in range(11)]


def page(*seqs: int) -> Count:
    count = Count(head=10, came=1)
    for seq in seqs:
        count.take(seq)
    return count


def test_the_slope_is_the_line_through_the_samples() -> None:
    assert slope([Sample(0, 100), Sample(60, 101), Sample(120, 102)]) == pytest.approx(1.0)


@pytest.mark.parametrize(("per_minute", "reached"), [(0.0, True), (-0.4, True), (0.2, True), (0.5, False)])
def test_only_what_grows_after_the_warm_up_is_a_leak(per_minute: float, reached: bool) -> None:
    growth = figures(grown(per_minute), 600.0, [page(11)], 60_000, 50.0)[1]
    assert growth.measured == f"{per_minute:+.3f} MiB/min"
    assert growth.reached is reached


@pytest.mark.parametrize(
    ("seqs", "lost", "twice"), [((11, 12, 13), 0, 0), ((11, 14), 2, 0), ((11, 12, 12, 11, 13), 0, 2)]
)
def test_a_gap_and_a_repetition_are_counted(seqs: tuple[int, ...], lost: int, twice: int) -> None:
    count = page(*seqs)
    assert (count.lost, count.twice) == (lost, twice)
    complete = figures(grown(0.0), 600.0, [count], 60_000, 50.0)[2]
    assert complete.reached is (lost == twice == 0)


def test_a_page_that_was_given_nothing_proves_nothing() -> None:
    assert not figures(grown(0.0), 600.0, [page()], 60_000, 50.0)[2].reached


def test_a_journal_that_was_too_slow_is_no_measurement() -> None:
    assert figures(grown(0.0), 600.0, [page(11)], 60_000, 50.0)[3].reached
    assert not figures(grown(0.0), 600.0, [page(11)], 48_000, 50.0)[3].reached


def test_every_round_is_of_incidents_of_its_own_where_they_belong() -> None:
    lines = opened(BUNDLED).lines
    first, second = renamed(lines, 1), renamed(lines, 2)
    assert len(first) == len(second) > 300
    changed = [(a, b) for a, b in zip(first, second, strict=True) if a.subject != b.subject]
    assert {line.subject for line, _ in changed}.isdisjoint(line.subject for _, line in changed)
    assert all(line.message is None or line.message.subject() == line.subject for line in first)
    assert any(line.subject.endswith("-r1.reported") for line in first)
