"""Reading single log lines: JSON lines of services, and the known line forms of the servers. Pure."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any, Literal

from broker.contracts.telemetry import LogLine

MAX_LINE = 64 * 1024
"""Longer lines are cut; bytes."""

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
