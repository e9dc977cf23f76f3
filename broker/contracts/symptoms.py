"""What an incident looked like, as a vector: which kind of device showed which signal with which error, and how often.

Two incidents are alike if their vectors point the same way, whatever their devices are called and whoever reported them
in which words. The planner writes the vector of the incident at hand into a `search_runbook` order, the runbook agent
computes those of past ones from recorded telemetry: with the same function, here (docs/adr/0014).

A key is `<kind>:<signal>[:<error>]`, for example `service:blame-database:gaierror`. Traffic is left out: that users
suffer says that something is wrong, never what.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from broker.contracts.inventory import Device, Inventory

MAX_KEYS: Final = 8
"""Keys that stand in an order; the heaviest are kept."""
MAX_ERROR: Final = 40
KEY: Final = r"(?:service|database|cache|queue):[a-z][a-z-]{0,20}(?::[A-Za-z0-9_.-]{1,40})?"
PATTERN: Final = rf"{KEY}=[01]\.[0-9]{{3}}(?: {KEY}=[01]\.[0-9]{{3}}){{0,{MAX_KEYS - 1}}}"
"""Form of a vector as the argument of an order (`encode`)."""
_PAIR = re.compile(r"(?P<slow>slow:)?(?P<name>[a-z0-9][a-z0-9_-]*)=(?P<error>[^,]*)")
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")

Vector = Mapping[str, float]


def keys_of(
    inventory: Inventory, device: Device, *, status: str, error_code: str | None, note: str | None, answers: bool
) -> tuple[str, ...]:
    """Return what one telemetry record shows; nothing for a device that is well, or for the users' traffic.

    Args:
        note: telemetry's `dependency=error` pairs; only those about declared dependencies are read.
        answers: whether the device said anything of itself (telemetry has its `cpu_load` or `mem_usage`).
    """
    if device.kind == "traffic" or status == "OK":
        return ()
    error = _word(error_code)
    blames = [
        _key(device.kind, f"{'slow' if pair['slow'] else 'blame'}-{below.kind}", "" if pair["slow"] else pair["error"])
        for pair in _PAIR.finditer(note or "")
        if pair["name"] in device.depends_on and (below := inventory.get(pair["name"])) is not None
    ]
    if status == "ERROR" and not blames and (device.kind != "service" or not answers):
        return (_key(device.kind, "silent", error),)
    own = [_key(device.kind, "error", error)] if error else []
    return tuple(dict.fromkeys((*blames, *own))) or (_key(device.kind, "degraded"),)


def _key(kind: str, signal: str, error: str = "") -> str:
    word = _word(error)
    return f"{kind}:{signal}:{word}" if word else f"{kind}:{signal}"


def _word(error: str | None) -> str:
    """Return an error's name as it may stand in a key."""
    return _UNFIT.sub("-", (error or "").strip())[:MAX_ERROR].strip("-")


def vector(keys: Iterable[str]) -> dict[str, float]:
    """Return the normalised vector (length 1) of keys as often as they were seen; empty for none.

    A count weighs by its logarithm: that an error came ten times as often does not make it ten times as telling.
    """
    weights = {key: 1.0 + math.log(count) for key, count in sorted(Counter(keys).items())}
    length = math.sqrt(sum(weight * weight for weight in weights.values()))
    return {key: weight / length for key, weight in weights.items()}


def cosine(one: Vector, other: Vector) -> float:
    """Return how alike two vectors are, 0 (nothing in common) to 1; 0 if one is empty."""
    lengths = math.sqrt(sum(v * v for v in one.values())) * math.sqrt(sum(v * v for v in other.values()))
    dot = sum(weight * other.get(key, 0.0) for key, weight in one.items())
    return min(dot / lengths, 1.0) if lengths else 0.0


def encode(symptoms: Vector) -> str:
    """Return the heaviest MAX_KEYS of a vector as text that fits PATTERN; empty for an empty one."""
    kept = sorted(symptoms.items(), key=lambda item: (-item[1], item[0]))[:MAX_KEYS]
    return " ".join(f"{key}={min(weight, 1.0):.3f}" for key, weight in kept)


def decode(text: str) -> dict[str, float]:
    """Return the vector that `encode` wrote; empty for an empty text.

    Raises:
        ValueError: it is no such text.
    """
    if not text:
        return {}
    if not re.fullmatch(PATTERN, text):
        raise ValueError(f"{text[:60]!r} is no vector of symptoms")
    pairs = (item.rpartition("=") for item in text.split(" "))
    return {key: float(weight) for key, _, weight in pairs}
