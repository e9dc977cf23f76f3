"""LogAgent: what is found, how it is summed up, and what a hostile pattern cannot do."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from agents.errors import PreconditionError
from agents.log.search import MATCH_TIMEOUT_S, rationale, search
from broker.contracts.telemetry import LogLine

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def lines(*messages: str, level: str = "ERROR") -> list[LogLine]:
    return [
        LogLine.model_validate(
            {"ts": START + timedelta(seconds=n), "level": level, "service": "orders", "msg": message, "meta": {"n": n}}
        )
        for n, message in enumerate(messages)
    ]


def test_lines_that_differ_only_in_numbers_are_one_template_with_a_count() -> None:
    found = search(lines("order 17 failed", "order 18 failed", "cache miss"), "order|cache")
    assert found.count == 3
    assert [(t.count, t.example.msg) for t in found.templates] == [(2, "order 18 failed"), (1, "cache miss")]


def test_a_level_hides_what_is_below_it() -> None:
    mixed = lines("x happened", level="INFO") + lines("x failed", level="ERROR")
    assert search(mixed, "x", level="WARN").count == 1


def test_the_pattern_is_matched_against_the_flat_facts_too() -> None:
    assert search(lines("a", "b", "c"), r"n=2").count == 1


def test_the_sentence_names_count_span_and_the_commonest_line() -> None:
    found = search(lines("db gone", "db gone", "ok"), "db")
    assert rationale("orders", "db", "60s", found) == (
        "2 of 3 log lines of orders in the last 60s match /db/ between 12:00:00 and 12:00:01, 2 of them: db gone"
    )


def test_no_match_is_said_as_such() -> None:
    assert "none of 1 log lines" in rationale("orders", "zzz", "60s", search(lines("a"), "zzz"))


def test_a_pattern_that_is_no_regular_expression_is_refused() -> None:
    with pytest.raises(PreconditionError, match="is no regular expression"):
        search(lines("a"), "(unclosed")


def test_a_pattern_made_to_explode_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.log.search.MATCH_TIMEOUT_S", 0.1)
    with pytest.raises(PreconditionError, match="takes too long"):
        search(lines("a" * 60 + "!"), r"(a|aa|a?a)+$|(.*)*\1\2x")


def test_many_lines_share_one_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each for itself may be quick enough: five thousand of them would hold the agent for hours."""
    ticks = itertools.count(0.0, MATCH_TIMEOUT_S / 4)
    monkeypatch.setattr("agents.log.search.time.monotonic", lambda: next(ticks))
    assert search(lines("x", "x"), "x").count == 2
    with pytest.raises(PreconditionError, match="takes too long"):
        search(lines(*"xxxxx"), "x")
