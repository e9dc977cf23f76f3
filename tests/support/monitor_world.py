"""A virtual shop on a virtual clock for the monitor's machine: say what each device reports, let time pass, read what
the machine decides. Everything it publishes comes back to it as an event, as the journal would do, and every state is
checked against the invariants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from broker.contracts.base import Contract
from broker.contracts.control import Timer
from broker.contracts.incident import IncidentClosed, IncidentReported, IncidentVerdict
from broker.contracts.inventory import Device, Inventory
from broker.contracts.machine import CancelTimer, Command, Event, Publish, SetTimer
from broker.contracts.monitor import Deviation, Verified
from broker.contracts.plan import PlanExecuted
from broker.contracts.telemetry import Metrics, Status, Telemetry
from monitor_svc.core.config import MonitorConfig
from monitor_svc.core.invariants import faults_of_commands, violations
from monitor_svc.core.machine import MonitorMachine
from monitor_svc.core.state import MonitorState

START_US = 1_700_000_000_000_000
SECOND = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def shop() -> Inventory:
    """Return a small inventory with every kind of device."""

    def device(name: str, kind: str, probe: str, *depends_on: str) -> Device:
        return Device.model_validate(
            {
                "name": name,
                "kind": kind,
                "managed": kind != "traffic",
                "depends_on": depends_on,
                "probe": probe,
                "host": "127.0.0.1",
                "port": 1,
            }
        )

    return Inventory(
        devices=(
            device("shop-db", "database", "postgres"),
            device("shop-cache", "cache", "valkey"),
            device("catalog", "service", "http", "shop-db", "shop-cache"),
            device("orders", "service", "http", "shop-db"),
            device("gateway", "service", "http", "orders", "catalog"),
            device("loadgen", "traffic", "traffic", "gateway"),
        )
    )


@dataclass(frozen=True)
class Reading:
    """What one device says; `silent` says nothing."""

    status: Status = "OK"
    latency_ms: float | None = 2.0
    success_ratio: float | None = None
    request_rate: float | None = None
    error_code: str | None = None
    note: str | None = None
    silent: bool = False

    def telemetry(self, device: str, time_us: int) -> Telemetry:
        return Telemetry(
            device_id=device,
            timestamp=EPOCH + timedelta(microseconds=time_us),
            status=self.status,
            metrics=Metrics(
                cpu_load=0.1,
                mem_usage=1e6,
                latency_ms=self.latency_ms,
                success_ratio=self.success_ratio,
                request_rate=self.request_rate,
            ),
            error_code=self.error_code,
            note=self.note,
        )


HEALTHY = Reading()
SILENT = Reading(silent=True)
DEAD = Reading(status="ERROR", latency_ms=None, error_code="ECONNREFUSED")


def users(success_ratio: float | None = 1.0, latency_ms: float | None = 40.0, request_rate: float = 20.0) -> Reading:
    """Return what the traffic device says of its users."""
    return Reading(latency_ms=latency_ms, success_ratio=success_ratio, request_rate=request_rate)


@dataclass
class World:
    """The machine, its journal and its clock."""

    config: MonitorConfig = field(default_factory=lambda: MonitorConfig(inventory=shop()))
    now_us: int = START_US
    seq: int = 0
    readings: dict[str, Reading] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    commands: list[tuple[int, Command]] = field(default_factory=list)
    """(sequence of the causing event, command), in order."""
    timers: dict[str, Timer] = field(default_factory=dict)
    check: bool = True

    def __post_init__(self) -> None:
        self.machine = MonitorMachine(self.config)
        self.state: MonitorState = self.machine.initial()

    # the journal

    def hear(self, message: Contract, subject: str | None = None) -> list[Command]:
        """Put a message into the journal and return what the machine decides; its own messages follow at once."""
        self.seq += 1
        event = Event(self.seq, self.now_us, subject or message.subject(), message, "test/1")
        if not self.machine.reads(event.subject):
            return []
        self.events.append(event)
        self.state, commands = self.machine.step(self.state, event)
        if self.check:
            assert violations(self.config, self.state) == ()
            assert faults_of_commands(self.state, commands) == ()
        self.commands += [(event.seq, command) for command in commands]
        for command in commands:
            self._carry_out(command)
        return list(commands)

    def _carry_out(self, command: Command) -> None:
        match command:
            case SetTimer(timer):
                self.timers[timer.timer_id] = timer
            case CancelTimer(_, timer_id):
                self.timers.pop(timer_id, None)
            case Publish(message):
                self.now_us += 1_000
                self.hear(message)

    # the clock

    def second(self) -> list[Command]:
        """Let one second pass: every device that is not silent speaks, spread over it; timers fire when due."""
        start, before = self.now_us, len(self.commands)
        names = self.config.inventory.names()
        for position, name in enumerate(names):
            self.now_us = max(self.now_us, start + position * SECOND // (2 * len(names)))
            self._fire_due()
            reading = self.readings.get(name, users() if name == "loadgen" else HEALTHY)
            if not reading.silent:
                self.hear(reading.telemetry(name, self.now_us))
        self.now_us = start + SECOND
        self._fire_due()
        return [command for _, command in self.commands[before:]]

    def _fire_due(self) -> None:
        for timer in [timer for timer in self.timers.values() if timer.due_us <= self.now_us]:
            del self.timers[timer.timer_id]
            self.hear(timer, timer.due_subject())

    def seconds(self, count: int) -> list[Command]:
        """Let `count` seconds pass and return everything the machine decided in them."""
        return [command for _ in range(count) for command in self.second()]

    def until(self, done: Callable[[], bool], limit: int = 60) -> float:
        """Let time pass until a condition holds; return how many seconds it took."""
        start = self.now_us
        for _ in range(limit):
            if done():
                return (self.now_us - start) / SECOND
            self.second()
        raise AssertionError(f"nothing of the kind within {limit} s")

    # what others say

    def report(self, incident: str = "h1", text: str = "the shop is broken") -> list[Command]:
        return self.hear(IncidentReported(incident=incident, text=text, source="operator"))

    def executed(self, incident: str = "h1", version: int = 1) -> list[Command]:
        return self.hear(
            PlanExecuted(incident=incident, version=version, completed=(), skipped=(), failed=(), actions=0)
        )

    def close(self, incident: str = "h1", verdict: IncidentVerdict = "verified") -> list[Command]:
        return self.hear(IncidentClosed(incident=incident, verdict=verdict, reason="test", plan_version=1, actions=0))

    # what the machine said

    def said(self) -> list[Contract]:
        """Return every message the machine published."""
        return [command.message for _, command in self.commands if isinstance(command, Publish)]

    def deviations(self) -> list[Deviation]:
        return [message for message in self.said() if isinstance(message, Deviation)]

    def verdicts(self) -> list[Verified]:
        return [message for message in self.said() if isinstance(message, Verified)]

    def opened(self) -> list[IncidentReported]:
        return [message for message in self.said() if isinstance(message, IncidentReported)]
