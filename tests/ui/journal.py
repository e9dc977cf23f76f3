"""A journal written by a test: each message signed by who says it, let in by a gate, chained by an auditor."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from auditor_svc import chain
from broker.contracts.base import Contract
from broker.contracts.inventory import Device, Inventory
from broker.contracts.plan import DecisionTag
from broker.contracts.telemetry import Metrics, Status, Telemetry
from broker.envelope import Signer
from broker.errors import Refusal
from broker.gate import Gate
from broker.port import Stored
from broker.subjects import Role
from dashboard.api.core.entry import Entry
from dashboard.api.decode import entry_of, refused_entry
from services.inventory.declared import inventory
from tests.support.signing import gate, master

AGENTS = ("log-agent-1", "log-agent-2", "metric-agent-1", "metric-agent-2", "action-agent-1", "action-agent-2")


def shop() -> Inventory:
    """Return what exists in the story."""
    return inventory(25_400, {"orders_db_password": "x", "catalog_db_password": "y"})


@dataclass
class Story:
    """The journal so far, and who may speak in it."""

    now_us: int
    rows: list[chain.Row] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    progress: chain.Progress = field(default_factory=chain.Progress)
    _gate: Gate = field(default_factory=lambda: gate("reader"))
    _signers: dict[str, Signer] = field(default_factory=dict)

    def wait(self, ms: float) -> None:
        """Let broker time pass."""
        self.now_us += int(ms * 1_000)

    def say(
        self, message: Contract, role: Role, instance: str | None = None, tag: DecisionTag = "DETERMINISTIC"
    ) -> Entry:
        """Let a role say a message now."""
        name = instance or f"{role}-1"
        signer = self._signers.setdefault(
            f"{role}/{name}", Signer(role, name, master().restricted_to(role), clock=lambda: self.now_us)
        )
        return self.store(message.subject(), signer.seal(message, tag=tag, cause=len(self.entries)))

    def store(self, subject: str, data: bytes) -> Entry:
        """Put bytes into the journal, whatever they are."""
        self.wait(1)
        stored = Stored(len(self.entries) + 1, self.now_us, subject, data)
        try:
            entry, verdict = entry_of(self._gate.admit(stored)), chain.ACCEPTED
        except Refusal as refusal:
            entry, verdict = refused_entry(stored, refusal.name, str(refusal)), refusal.name
        self.progress, row = chain.append(self.progress, stored, verdict)
        self.rows.append(row)
        self.entries.append(entry)
        return entry

    def telemetry(self, **sick: tuple[Status, str]) -> None:
        """Let every device be measured once; names of sick ones have `_` for `-`."""
        for device in shop().devices:
            status, error = sick.get(device.name.replace("-", "_"), ("OK", ""))
            self.say(measured(device, status, error, self.now_us), "sensors")


def measured(device: Device, status: Status, error: str, at_us: int) -> Telemetry:
    """Return what a sensor says of a device; `error` is what the first of its dependencies is blamed with."""
    good = {"OK": 1.0, "WARN": 0.93, "ERROR": 0.41}[status]
    serves = device.kind in ("service", "traffic")
    blamed = f"{device.depends_on[0]}={error}" if error and device.depends_on else None
    metrics = Metrics(
        cpu_load=0.12,
        mem_usage=48_000_000.0,
        latency_ms=3.2 if status == "OK" else 812.0,
        success_ratio=good if serves else None,
        request_rate=19.6 if serves else None,
    )
    return Telemetry(
        device_id=device.name,
        timestamp=datetime.fromtimestamp(at_us / 1e6, UTC),
        status=status,
        metrics=metrics,
        error_code=error or None,
        log_sample=f"{error}: could not reach {device.depends_on[0]}" if blamed else None,
        note=blamed,
    )
