"""The broker's own monitoring answers (`/jsz`, `/connz`) as rows for people. Pure; whatever is odd is left out."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ns|µs|us|ms|s|m|h|d)")
_SECONDS = {"ns": 1e-9, "µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
MAX_ROWS = 500


def streams(jsz: Any) -> list[dict[str, Any]]:
    """Return the streams: name, messages, bytes, first_seq, last_seq, subjects."""
    found = []
    for stream in _streams(jsz):
        state = stream.get("state") or {}
        found.append(
            {
                "name": str(stream.get("name", "")),
                "messages": int(state.get("messages", 0)),
                "bytes": int(state.get("bytes", 0)),
                "first_seq": int(state.get("first_seq", 0)),
                "last_seq": int(state.get("last_seq", 0)),
                "subjects": state.get("num_subjects"),
            }
        )
    return found[:MAX_ROWS]


def consumers(jsz: Any) -> list[dict[str, Any]]:
    """Return the consumers of all streams: what waits, what is in work, what was delivered again."""
    found = []
    for stream in _streams(jsz):
        for row in stream.get("consumer_detail") or ():
            found.append(
                {
                    "stream": str(stream.get("name", "")),
                    "name": str(row.get("name", "")),
                    "pending": int(row.get("num_pending", 0)),
                    "ack_pending": int(row.get("num_ack_pending", 0)),
                    "redelivered": int(row.get("num_redelivered", 0)),
                    "waiting": int(row.get("num_waiting", 0)),
                }
            )
    return found[:MAX_ROWS]


def connections(connz: Any) -> list[dict[str, Any]]:
    """Return the connections: name, user, round trip, silence, messages both ways."""
    found = []
    for row in (connz or {}).get("connections") or ():
        found.append(
            {
                "name": str(row.get("name", "")),
                "user": str(row.get("authorized_user", "")),
                "rtt_ms": _scaled(span_s(row.get("rtt")), 1_000.0),
                "idle_s": span_s(row.get("idle")),
                "in_msgs": int(row.get("in_msgs", 0)),
                "out_msgs": int(row.get("out_msgs", 0)),
                "slow": int(row.get("pending_bytes", 0)) > 1_000_000,
            }
        )
    return found[:MAX_ROWS]


def last_heard_us(connz: Any) -> dict[str, int]:
    """Return when the broker last heard of each client, by its name, microseconds since the epoch."""
    found: dict[str, int] = {}
    for row in (connz or {}).get("connections") or ():
        at = _instant_us(row.get("last_activity"))
        if at is not None:
            name = str(row.get("name", ""))
            found[name] = max(at, found.get(name, 0))
    return found


def span_s(text: Any) -> float | None:
    """Return a span as the server writes it (`1m2.5s`, `312µs`), seconds; None if it is none."""
    parts = _SPAN.findall(text) if isinstance(text, str) else []
    return sum(float(number) * _SECONDS[unit] for number, unit in parts) if parts else None


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else round(value * factor, 3)


def _instant_us(text: Any) -> int | None:
    if not isinstance(text, str):
        return None
    whole, _, rest = text.partition(".")
    digits = re.match(r"\d*", rest)
    fraction = digits[0] if digits else ""
    try:
        at = datetime.fromisoformat(f"{whole.removesuffix('Z')}+00:00")
    except ValueError:
        return None
    return int(at.timestamp()) * 1_000_000 + int(fraction.ljust(6, "0")[:6] or 0)


def _streams(jsz: Any) -> list[dict[str, Any]]:
    seen: dict[str, dict[str, Any]] = {}
    for account in (jsz or {}).get("account_details") or ():
        for stream in account.get("stream_detail") or ():
            seen.setdefault(str(stream.get("name", "")), stream)
    return list(seen.values())
