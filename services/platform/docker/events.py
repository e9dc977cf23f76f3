"""What happened to a workload, as the engine tells it within some ten milliseconds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from broker.contracts.base import Frozen
from services.platform.docker.container import KIND, REPLACED, SERVICE

Happening = Literal["died", "oom", "healthy", "unhealthy", "started", "paused", "resumed", "removed"]
FAST: frozenset[str] = frozenset({"died", "oom", "unhealthy", "paused", "removed"})
"""What is worth a look at once."""
_WORDS: dict[str, Happening] = {
    "die": "died",
    "oom": "oom",
    "start": "started",
    "pause": "paused",
    "unpause": "resumed",
    "destroy": "removed",
    "health_status: healthy": "healthy",
    "health_status: unhealthy": "unhealthy",
}


class WorkloadEvent(Frozen):
    """One event of one workload."""

    name: str
    happening: Happening
    at_us: int
    """Microseconds since the epoch, by the engine."""
    exit_code: int | None = None
    """For `died`."""


def event_of(raw: Mapping[str, Any]) -> WorkloadEvent | None:
    """Read an event of the engine; None if it is about no workload or says nothing of interest."""
    attributes: Mapping[str, str] = (raw.get("Actor") or {}).get("Attributes") or {}
    happening = _WORDS.get(str(raw.get("Action", "")))
    if happening is None or KIND not in attributes:
        return None
    if attributes.get("name", "").endswith(REPLACED):
        return None  # its successor runs already
    code = attributes.get("exitCode", "")
    return WorkloadEvent(
        name=attributes.get(SERVICE, ""),
        happening=happening,
        at_us=int(raw.get("timeNano") or 0) // 1_000,
        exit_code=int(code) if happening == "died" and code.isdigit() else None,
    )
