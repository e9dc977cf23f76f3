"""What a link does to a connection. Pure: the proxy asks here and obeys."""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Any

from services.platform.fault_port import LinkFault

MODES: tuple[str, ...] = ("ok", "partition", "refuse", "latency", "drop")
"""What the proxies can do; a link has no bandwidth of its own to take away."""
MAX_LATENCY_MS = 60_000.0
OK = LinkFault("ok")


def parse_fault(body: Any) -> LinkFault:
    """Read a fault from decoded JSON.

    Raises:
        ValueError: it is not one; the text says why.
    """
    if not isinstance(body, dict):
        raise ValueError("a link fault is a JSON object")
    unknown = set(body) - {"mode", "latency_ms", "drop_ratio", "seed", "rate_kbit"}
    if unknown:
        raise ValueError(f"unknown field {sorted(unknown)[0]!r}")
    mode = body.get("mode")
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    seed = body.get("seed", 0)
    if type(seed) is not int:
        raise ValueError("seed must be a whole number")
    latency_ms = _number(body, "latency_ms", MAX_LATENCY_MS)
    return LinkFault(mode, latency_ms, _number(body, "drop_ratio", 1.0), seed)


def _number(body: dict[str, Any], name: str, high: float) -> float:
    value = body.get(name, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number")
    if not 0.0 <= value <= high:
        raise ValueError(f"{name} must lie in 0..{high:g}, not {value:g}")
    return float(value)


def drops(link: str, fault: LinkFault, number: int) -> bool:
    """Tell whether the `number`-th new connection since the fault was set is reset: the same ones for a seed."""
    if fault.mode != "drop":
        return False
    digest = blake2b(f"{fault.seed}:{link}:{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64 < fault.drop_ratio


def delay_s(fault: LinkFault) -> float:
    """Return for how long bytes are held back in each direction, seconds."""
    return fault.latency_ms / 1_000.0 if fault.mode == "latency" else 0.0
