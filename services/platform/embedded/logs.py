"""Reading a program's log from its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from broker.contracts.telemetry import LogLine
from services.platform.lines import MAX_LINE, parse_line, raw_line

BLOCK = 64 * 1024
SLACK_US = 2_000_000
"""Lines of threads may be a little out of order: reading goes on this far beyond the wanted start, microseconds."""


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
