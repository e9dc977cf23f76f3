"""From what a device says to what a contract takes. Everything that comes over the network is untrusted: numbers may
be text, NaN or absurd, texts may hold escape sequences, half characters or a megabyte. Nothing here raises."""

from __future__ import annotations

import json
import math
import re
import unicodedata

UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that never reach the journal: controls, direction and zero-width marks, half characters."""
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
MAX_CODE = 60


def clean_text(value: object, limit: int) -> str | None:
    """Return a text without unprintable characters, its white space folded, at most `limit` characters; or None."""
    if not isinstance(value, str):
        return None
    head = value[: limit * 4]
    shown = "".join(" " if unicodedata.category(char) in UNPRINTABLE else char for char in head)
    return " ".join(shown.split())[:limit] or None


def clean_code(value: object) -> str | None:
    """Return the name of a failure in letters, digits, `_`, `.` and `-`, or None."""
    text = clean_text(value, MAX_CODE)
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text) if text else None


def number(value: object) -> float | None:
    """Return a finite number that is not negative, to the fourth decimal, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        real = float(value)
    except OverflowError:
        return None
    return round(real, 4) if math.isfinite(real) and real >= 0 else None


def ratio(good: float | None, all_: float | None) -> float | None:
    """Return `good / all_` within 0..1, or None if nothing was counted."""
    if good is None or not all_:
        return None
    return min(1.0, max(0.0, round(good / all_, 4)))


def parse_object(data: bytes) -> dict[str, object] | None:
    """Return the JSON object that the bytes are, or None."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def child(value: object, name: str) -> dict[str, object]:
    """Return the object under `name`, empty if there is none."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}
