"""The log lines of containers: what the engine kept, read as every other world's. Pure but for what is handed in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from broker.contracts.telemetry import LogLine
from services.platform.lines import MAX_LINE, parse_line, raw_line

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SLACK_US = 2_000_000
"""A line may be written a little later than the time it carries: so much more is asked of the engine. Microseconds."""


def read(rows: Iterable[tuple[int, str]], service: str) -> list[LogLine]:
    """Return lines in the order in which they were written. One without a time of its own has the engine's."""
    found = []
    for at_us, text in rows:
        text = text.rstrip("\r")[:MAX_LINE]
        if text.strip():
            found.append(parse_line(text, service) or raw_line(text, service, EPOCH + timedelta(microseconds=at_us)))
    return found


def newest(lines: Iterable[LogLine], since_us: int, until_us: int | None, limit: int) -> tuple[LogLine, ...]:
    """Return the last `limit` lines of a span of time."""
    within = [line for line in lines if since_us <= _us(line.ts) and (until_us is None or _us(line.ts) <= until_us)]
    return tuple(within[-limit:] if limit > 0 else ())


def _us(ts: datetime) -> int:
    return (ts - EPOCH) // timedelta(microseconds=1)
