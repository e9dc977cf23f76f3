"""Telemetry and log lines, as the spec's section 3 gives them (docs/telemetry.json is generated from here)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from broker.contracts.base import CleanText, Contract, Frozen, Token, UnitInterval

Status = Literal["OK", "WARN", "ERROR"]


class Metrics(Frozen):
    """Measured values of one device at one instant. `None` means: not measured on this device, never zero."""

    cpu_load: Annotated[float, Field(ge=0)] | None
    """Cores in use (1.0 = one core busy) by the device and everything in its scope."""
    mem_usage: Annotated[float, Field(ge=0)] | None
    """Resident memory, bytes."""
    latency_ms: Annotated[float, Field(ge=0)] | None
    """Time of the probe's answer; on the traffic device the 95th percentile that users saw. Milliseconds."""
    success_ratio: UnitInterval | None = None
    """Share of good answers in the last window, 0..1 (services that serve requests, and the traffic device)."""
    request_rate: Annotated[float, Field(ge=0)] | None = None
    """Requests per second in the last window."""


class Telemetry(Contract):
    """One device's state, once a second."""

    TYPE: ClassVar[str] = "telemetry"
    device_id: Token
    timestamp: AwareDatetime
    status: Status
    metrics: Metrics
    error_code: Annotated[CleanText, StringConstraints(max_length=80)] | None = None
    """Name of the failure: the exception class or errno name the real software gave (`gaierror`, `ECONNREFUSED`)."""
    log_sample: Annotated[CleanText, StringConstraints(max_length=500)] | None = None
    """The newest ERROR or WARN message of the device, truncated. Untrusted."""
    note: Annotated[CleanText, StringConstraints(max_length=500)] | None = None
    """What else the sensor saw: failing dependency checks as `dependency=error` pairs, comma-separated."""

    def subject(self) -> str:
        return f"triage.telemetry.{self.device_id}"


class LogLine(Frozen):
    """One line of a workload's standard output."""

    ts: AwareDatetime
    level: Literal["DEBUG", "INFO", "WARN", "ERROR"]
    service: str
    msg: str
    meta: dict[str, Any] = Field(default_factory=dict)
