"""What the journal tells of incidents, plans and tasks, counted for /metrics: no identifier ever becomes a label.

A reader of its own beside the machine. It first reads some way back, to know what is open, and counts only what comes
after: counters mean "since this process lives", and a restart counts nothing twice. Times are the broker's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeVar, get_args

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from structlog.typing import FilteringBoundLogger

from broker.contracts.control import ApprovalExpired, ApprovalRequested, Halt, Resume
from broker.contracts.incident import IncidentClosed, IncidentReported, IncidentVerdict, Source
from broker.contracts.monitor import AgentLost, Deviation, DeviationKind, Verified
from broker.contracts.plan import PlanAccepted, PlanProposed, PlanRejected, PlanRequested
from broker.contracts.task import Claim, DeadLetter, Result, Task
from broker.errors import BrokerError, Refusal
from broker.gate import Gate, Trusted
from broker.port import Broker, CaughtUp, Stored
from broker.subjects import AGENT_KINDS

LOOK_BACK: Final = 5_000
"""Journal messages read again at the start: some minutes, longer than an incident takes."""
RETRY_S: Final = 0.5
MAX_OPEN: Final = 2_000
"""Most incidents, orders or lost deliveries that are remembered; beyond, the oldest is forgotten."""
SKIPPED: Final = ("triage.telemetry.", "triage.audit.")
TASK_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
WAIT_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
INCIDENT_BUCKETS: Final = (1, 2, 3, 5, 8, 13, 20, 30, 45, 60, 90, 120, 180, 300, 600)

Key = TypeVar("Key")
Value = TypeVar("Value")


class _Open(Generic[Key, Value]):
    """What has begun and not ended, bounded."""

    def __init__(self) -> None:
        self._items: dict[Key, Value] = {}

    def __len__(self) -> int:
        return len(self._items)

    def begin(self, key: Key, value: Value) -> None:
        self._items.setdefault(key, value)
        if len(self._items) > MAX_OPEN:
            del self._items[next(iter(self._items))]

    def end(self, key: Key) -> Value | None:
        return self._items.pop(key, None)

    def end_all(self, ended: Callable[[Key], bool]) -> None:
        for key in [key for key in self._items if ended(key)]:
            del self._items[key]


class JournalMetrics:
    """The counters, and what has to be remembered to measure how long things take."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._live = False
        self._incidents: _Open[str, int] = _Open()
        self._orders: _Open[tuple[str, str, int], int] = _Open()
        self._unclaimed: _Open[tuple[str, str, int], int] = _Open()
        self._lost: _Open[str, int] = _Open()
        self._make_incident_metrics(registry)
        self._make_task_metrics(registry)
        self._begin_at_zero()

    def _make_incident_metrics(self, registry: CollectorRegistry) -> None:
        self._reported = Counter(
            "triage_incidents_reported_total", "Incidents, by who reported them.", ["source"], registry=registry
        )
        self._closed = Counter(
            "triage_incidents_closed_total", "Incidents that ended, by verdict.", ["verdict"], registry=registry
        )
        self._open = Gauge("triage_incidents_open", "Incidents reported and not closed.", registry=registry)
        self._recovery = Histogram(
            "triage_incident_recovery_seconds",
            "From an incident's report to its verified end.",
            registry=registry,
            buckets=INCIDENT_BUCKETS,
        )
        self._deviations = Counter(
            "triage_deviations_total", "Deviations said in incidents, by kind.", ["kind"], registry=registry
        )
        self._checks = Counter(
            "triage_checks_total", "Verifications of repairs: ok or not_ok.", ["outcome"], registry=registry
        )
        self._requested = Counter("triage_plans_requested_total", "Plans asked for.", registry=registry)
        self._proposed = Counter(
            "triage_plans_proposed_total", "Plans proposed, by who made them.", ["origin"], registry=registry
        )
        self._judged = Counter(
            "triage_plans_judged_total", "Plans accepted or rejected.", ["verdict"], registry=registry
        )
        self._version = Gauge(
            "triage_plan_version", "Version of the plan accepted last; 0 while no incident is open.", registry=registry
        )
        self._approvals = Counter(
            "triage_approvals_requested_total", "Risky tasks that waited for a person.", registry=registry
        )
        self._expired = Counter(
            "triage_approvals_expired_total", "Tasks that nobody approved or denied in time.", registry=registry
        )
        self._halted = Gauge("triage_halted", "1 while the kill switch is on.", registry=registry)

    def _make_task_metrics(self, registry: CollectorRegistry) -> None:
        self._ordered = Counter("triage_tasks_ordered_total", "Task attempts ordered.", ["kind"], registry=registry)
        self._ended = Counter(
            "triage_tasks_ended_total", "Task attempts that ended: ok, fail, dead.", ["outcome"], registry=registry
        )
        self._in_flight = Gauge("triage_tasks_in_flight", "Task attempts ordered and not ended.", registry=registry)
        self._duration = Histogram(
            "triage_task_duration_seconds",
            "From a task's order to its result, by kind of agent.",
            ["kind"],
            registry=registry,
            buckets=TASK_BUCKETS,
        )
        self._wait = Histogram(
            "triage_task_wait_seconds",
            "From a task's order to its first claim, by kind of agent.",
            ["kind"],
            registry=registry,
            buckets=WAIT_BUCKETS,
        )
        self._agents_lost = Counter(
            "triage_agents_lost_total", "Connections of workers that ended, by role.", ["role"], registry=registry
        )
        self._reassign = Histogram(
            "triage_reassign_seconds",
            "From the word that a worker with a task in hand was lost to the task's next claim.",
            registry=registry,
            buckets=WAIT_BUCKETS,
        )

    def _begin_at_zero(self) -> None:
        """Show every value of the closed lists from the start: a rate sees the first of a kind only if there was a
        nought before it."""
        for counter, values in (
            (self._reported, get_args(Source)),
            (self._closed, get_args(IncidentVerdict)),
            (self._deviations, get_args(DeviationKind)),
            (self._checks, ("ok", "not_ok")),
            (self._proposed, ("rulebook", "llm")),
            (self._judged, ("accepted", "rejected")),
            (self._ordered, AGENT_KINDS),
            (self._ended, ("ok", "fail", "dead")),
            (self._agents_lost, AGENT_KINDS),
            (self._duration, AGENT_KINDS),
            (self._wait, AGENT_KINDS),
        ):
            for value in values:
                counter.labels(value)

    def live(self) -> None:
        """Count from now on."""
        self._live = True
        self._show()

    def take(self, trusted: Trusted) -> None:
        """Take one message of the journal into account."""
        message, now_us = trusted.message, trusted.stored.time_us
        if isinstance(message, Task | Claim | Result | DeadLetter | AgentLost):
            self._on_work(message, now_us)
        else:
            self._on_incident(message, now_us)
        if self._live:
            self._show()

    def _on_incident(self, message: object, now_us: int) -> None:
        match message:
            case IncidentReported():
                self._incidents.begin(message.incident, now_us)
                self._count(self._reported.labels(message.source))
            case IncidentClosed():
                self._on_closed(message, now_us)
            case Deviation():
                self._count(self._deviations.labels(message.kind))
            case Verified():
                self._count(self._checks.labels("ok" if message.ok else "not_ok"))
            case PlanRequested():
                self._count(self._requested)
            case PlanProposed():
                self._count(self._proposed.labels(message.origin))
            case PlanAccepted():
                self._version.set(message.version)
                self._count(self._judged.labels("accepted"))
            case PlanRejected():
                self._count(self._judged.labels("rejected"))
            case ApprovalRequested():
                self._count(self._approvals)
            case ApprovalExpired():
                self._count(self._expired)
            case Halt() | Resume():
                self._halted.set(isinstance(message, Halt))

    def _on_closed(self, closed: IncidentClosed, now_us: int) -> None:
        began_us = self._incidents.end(closed.incident)
        self._count(self._closed.labels(closed.verdict))
        if closed.verdict == "verified":
            self._measure(self._recovery, began_us, now_us)
        # An attempt that nobody will answer any more is not in flight.
        for of_tasks in (self._orders, self._unclaimed):
            of_tasks.end_all(lambda key: key[0] == closed.incident)
        if not self._incidents:
            self._version.set(0)

    def _on_work(self, message: Task | Claim | Result | DeadLetter | AgentLost, now_us: int) -> None:
        match message:
            case Task():
                key = (message.incident, message.task_id, message.attempt)
                self._orders.begin(key, now_us)
                self._unclaimed.begin(key, now_us)
                self._count(self._ordered.labels(message.kind))
            case Claim():
                key = (message.incident, message.task_id, message.attempt)
                self._measure(self._wait.labels(message.kind), self._unclaimed.end(key), now_us)
                order = message.subject().replace("triage.claim.", "triage.task.", 1)
                self._measure(self._reassign, self._lost.end(order), now_us)
            case Result() | DeadLetter():
                self._on_ended(message, now_us)
            case AgentLost():
                self._count(self._agents_lost.labels(message.role))
                for order in message.handed_on:
                    self._lost.begin(order, now_us)

    def _on_ended(self, message: Result | DeadLetter, now_us: int) -> None:
        key = (message.incident, message.task_id, message.attempt)
        self._unclaimed.end(key)
        began_us = self._orders.end(key)
        self._count(self._ended.labels(message.status.lower() if isinstance(message, Result) else "dead"))
        if isinstance(message, Result):
            self._measure(self._duration.labels(message.kind), began_us, now_us)

    def _count(self, counter: Counter) -> None:
        if self._live:
            counter.inc()

    def _measure(self, histogram: Histogram, began_us: int | None, now_us: int) -> None:
        if self._live and began_us is not None:
            histogram.observe(max(0, now_us - began_us) / 1_000_000)

    def _show(self) -> None:
        self._open.set(len(self._incidents))
        self._in_flight.set(len(self._orders))


def _count(stored: Stored, gate: Gate, metrics: JournalMetrics, logger: FilteringBoundLogger) -> None:
    try:
        metrics.take(gate.admit(stored))
    except Refusal:
        pass  # the machine's host says so, and the auditor counts it by name
    except Exception:
        # Nobody repairs anything by these numbers: a fault in counting must not end the monitor.
        logger.exception("not_counted", seq=stored.seq, subject=stored.subject)


async def follow(
    broker: Broker,
    gate: Gate,
    metrics: JournalMetrics,
    *,
    log: FilteringBoundLogger | None = None,
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
) -> None:
    """Count what the journal says until cancelled; a broker that is away is waited for.

    Args:
        gate: this reader's own.
    """
    logger: FilteringBoundLogger = (log or structlog.get_logger()).bind(part="journal_metrics")
    start: int | None = None
    while True:
        try:
            if start is None:
                start = max(1, await broker.last_sequence() - LOOK_BACK)
            async for item in broker.read(start):
                if isinstance(item, CaughtUp):
                    metrics.live()
                    continue
                start = item.seq + 1
                if not item.subject.startswith(SKIPPED):
                    _count(item, gate, metrics, logger)
        except BrokerError as error:
            logger.warning("counting_interrupted", error=str(error))
        await sleep(RETRY_S)
