"""Reading a program's log from its end: JSON lines of services, and the known line forms of the servers."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from broker.contracts.telemetry import LogLine

BLOCK = 64 * 1024
MAX_LINE = 64 * 1024
"""Longer lines are cut; bytes."""
SLACK_US = 2_000_000
"""Lines of threads may be a little out of order: reading goes on this far beyond the wanted start, microseconds."""

Level = Literal["DEBUG", "INFO", "WARN", "ERROR"]
LEVELS: dict[str, Level] = {
    **dict.fromkeys(("DEBUG", "DBG", "TRC", "."), "DEBUG"),
    **dict.fromkeys(("WARN", "WARNING", "WRN", "#"), "WARN"),
    **dict.fromkeys(("ERROR", "ERR", "CRITICAL", "FATAL", "FTL", "PANIC"), "ERROR"),
}
"""Words of levels; any other is INFO."""

FORMS: tuple[tuple[re.Pattern[str], str], ...] = (
    # PostgreSQL with log_line_prefix '%m [%p] ', UTC
    (
        re.compile(r"(?P<ts>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) UTC \[\d+\] (?P<level>\w+): +"),
        "%Y-%m-%d %H:%M:%S.%f",
    ),
    # nats-server with logtime_utc
    (re.compile(r"\[\d+\] (?P<ts>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6}) \[(?P<level>\w+)\] "), "%Y/%m/%d %H:%M:%S.%f"),
    # Valkey, TZ=UTC
    (re.compile(r"\d+:\w (?P<ts>\d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3}) (?P<level>[.\-*#]) "), "%d %b %Y %H:%M:%S.%f"),
)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def read_lines(path: Path, service: str, *, since_us: int, until_us: int | None, limit: int) -> tuple[LogLine, ...]:
    """Return the newest `limit` lines of a time span, oldest first, from a log file and its rotated predecessor.

    A line without a time of its own (a traceback) has the time of the line before it. Only as much of the file is
    read as the span needs.
    """
    found: list[LogLine] = []
    waiting: list[str] = []  # lines without a time, newest first: they belong to the next older line that has one
    newest = datetime.now(UTC)
    for text in _backwards(path):
        timed = parse_line(text, service)
        if timed is None:
            waiting.append(text)
            continue
        newest = timed.ts
        for line in (*(raw_line(later, service, timed.ts) for later in waiting), timed):
            if _within(line.ts, since_us, until_us):
                found.append(line)
        waiting.clear()
        if len(found) >= limit or _us(timed.ts) < since_us - SLACK_US:
            break
    else:
        found += [
            line for line in (raw_line(t, service, newest) for t in waiting) if _within(newest, since_us, until_us)
        ]
    return tuple(reversed(found[:limit]))


def parse_line(text: str, service: str) -> LogLine | None:
    """Return a line that carries its own time: JSON of our services, or a server's known form; else None."""
    if text.startswith("{"):
        return _from_json(text, service)
    for pattern, form in FORMS:
        match = pattern.match(text)
        if match:
            stamp = datetime.strptime(match["ts"], form).replace(tzinfo=UTC)
            level = LEVELS.get(match["level"].upper(), "INFO")
            return LogLine(ts=stamp, level=level, service=service, msg=clean(text[match.end() :]))
    return None


def raw_line(text: str, service: str, ts: datetime) -> LogLine:
    """Return a line that is nothing but text."""
    return LogLine(ts=ts, level="INFO", service=service, msg=clean(text))


def clean(text: str) -> str:
    """Return text without control characters (tabs stay)."""
    return CONTROL.sub("", text)


def _from_json(text: str, service: str) -> LogLine | None:
    try:
        row: Any = json.loads(text)
        if "\\u" in text:
            json.dumps(row, ensure_ascii=False).encode()  # a lone surrogate is no text: ValueError
        stamp = datetime.fromisoformat(row["ts"])
        msg, meta = row["msg"], row.get("meta") or {}
        if stamp.tzinfo is None or not isinstance(msg, str) or not isinstance(meta, dict):
            return None
        level = LEVELS.get(str(row.get("level", "INFO")).upper(), "INFO")
        return LogLine(ts=stamp, level=level, service=str(row.get("service", service)), msg=clean(msg), meta=meta)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _us(ts: datetime) -> int:
    return int(ts.timestamp() * 1_000_000)


def _within(ts: datetime, since_us: int, until_us: int | None) -> bool:
    return _us(ts) >= since_us and (until_us is None or _us(ts) <= until_us)


def _backwards(path: Path) -> Iterator[str]:
    """Give the lines of a log, newest first, then those of the file it was rotated from."""
    for file in (path, path.with_name(f"{path.name}.1")):
        try:
            descriptor = os.open(file, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            yield from _lines_backwards(descriptor)
        finally:
            os.close(descriptor)


def _lines_backwards(descriptor: int) -> Iterator[str]:
    position = os.fstat(descriptor).st_size
    rest = b""
    while position > 0:
        size = min(BLOCK, position)
        position -= size
        block = os.pread(descriptor, size, position) + rest
        rest, *lines = block.split(b"\n")
        for line in reversed(lines):
            if line.strip():
                yield _decode(line)
        rest = rest[:MAX_LINE]
    if rest.strip():
        yield _decode(rest)


def _decode(line: bytes) -> str:
    return line[:MAX_LINE].decode("utf-8", errors="replace").rstrip("\r")
