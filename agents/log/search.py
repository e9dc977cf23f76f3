"""Search log lines for a pattern and sum the matches up. Pure, but for the CPU it takes: run it off the event loop.

The pattern comes from a planner and is untrusted: it is matched with a time limit, so that a pattern made to explode
cannot hold an agent (docs/security.md). Lines are untrusted too: they are evidence, never instructions.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import regex

from agents.errors import PreconditionError
from broker.contracts.telemetry import LogLine

MATCH_TIMEOUT_S = 2.0
"""Longest time for all lines together, seconds."""
MAX_LINE = 2_000
_LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")
_VARIABLE = regex.compile(r"0x[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}|\d+(?:\.\d+)*")


@dataclass(frozen=True, slots=True)
class Template:
    """Lines that are alike but for numbers and identifiers."""

    example: LogLine
    count: int


@dataclass(frozen=True, slots=True)
class Matches:
    """What was found."""

    searched: int
    count: int
    templates: tuple[Template, ...]
    """Most frequent first."""
    first: datetime | None
    last: datetime | None


def text_of(line: LogLine) -> str:
    """Return what a pattern is matched against: level, message and the flat facts beside it."""
    facts = " ".join(f"{key}={value}" for key, value in line.meta.items() if isinstance(value, str | int | float))
    return f"{line.level} {line.msg} {facts}".rstrip()[:MAX_LINE]


def search(lines: Sequence[LogLine], pattern: str, *, level: str | None = None, top_k: int = 5) -> Matches:
    """Find the lines at or above `level` that contain `pattern` (case-insensitive).

    Raises:
        PreconditionError: the pattern is no regular expression, or takes longer than MATCH_TIMEOUT_S.
    """
    floor = _LEVELS.index(level) if level else 0
    candidates = [line for line in lines if _LEVELS.index(line.level) >= floor]
    found = _matching(candidates, pattern)
    return Matches(
        searched=len(candidates),
        count=len(found),
        templates=_templates(found, top_k),
        first=found[0].ts if found else None,
        last=found[-1].ts if found else None,
    )


def _matching(lines: Sequence[LogLine], pattern: str) -> list[LogLine]:
    """Match with one time limit for all lines together; `concurrent` lets other threads run meanwhile."""
    deadline = time.monotonic() + MATCH_TIMEOUT_S
    found = []
    try:
        compiled = regex.compile(pattern, regex.IGNORECASE)
        for line in lines:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if compiled.search(text_of(line), timeout=left, concurrent=True):
                found.append(line)
    except regex.error as error:
        raise PreconditionError(f"the pattern {pattern!r} is no regular expression: {error}") from error
    except TimeoutError as error:
        raise PreconditionError(f"the pattern {pattern!r} takes too long to match; use a simpler one") from error
    return found


def _templates(lines: Sequence[LogLine], top_k: int) -> tuple[Template, ...]:
    counts: Counter[str] = Counter()
    newest: dict[str, LogLine] = {}
    for line in lines:
        key = _VARIABLE.sub("#", f"{line.level} {line.msg}"[:MAX_LINE])
        counts[key] += 1
        newest[key] = line
    return tuple(Template(newest[key], count) for key, count in counts.most_common(top_k))


def rationale(service: str, pattern: str, lookback: str, found: Matches) -> str:
    """Return the one sentence that says what the search came to."""
    if not found.count:
        return f"none of {found.searched} log lines of {service} in the last {lookback} match /{pattern}/"
    top = found.templates[0]
    first, last = found.first, found.last
    span = f" between {first:%H:%M:%S} and {last:%H:%M:%S}" if first and last else ""
    return (
        f"{found.count} of {found.searched} log lines of {service} in the last {lookback} match /{pattern}/{span}, "
        f"{top.count} of them: {top.example.msg[:300]}"
    )
