"""One message of the journal as the page gets it, everywhere: in the snapshot, the stream, the audit, a recording."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Entry(BaseModel):
    """A message, decoded. All but `seq`, `time_us` and `subject` of a refused one is only what its frame claims."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seq: int
    time_us: int
    """When the broker took it, microseconds since the epoch."""
    subject: str
    type: str | None
    sender: str | None
    tag: str | None
    key_version: int
    cause: int
    hmac: str
    """Hexadecimal; empty where the bytes are no envelope."""
    verified: bool
    """The gate let it in: signed, allowed there, fresh, not repeated, of its schema."""
    refusal: str | None
    message: str
    """What it says, in one line for people. Untrusted text."""
    payload: dict[str, Any] | None
    """The contract's JSON; None for a refused message."""

    def encode(self) -> bytes:
        """Return its JSON in one line."""
        return self.model_dump_json().encode()


def incident_of(subject: str) -> str | None:
    """Return the incident that a subject belongs to, or None."""
    parts = subject.split(".")
    topic = parts[1] if len(parts) > 2 else ""
    if topic in ("incident", "plan", "dead", "deviation", "verified", "approval"):
        return parts[2]
    if topic in ("task", "claim", "result") and len(parts) > 3:
        return parts[3]
    return None


def is_noise(subject: str) -> bool:
    """Tell whether a message only ticks: telemetry and timers are left out of what is kept for long."""
    return subject.startswith(("triage.telemetry.", "triage.due.", "triage.timer."))
