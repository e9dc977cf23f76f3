"""What the monitor counts in the journal: each thing once, live, without identifiers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry, generate_latest

from broker.contracts.base import Contract
from broker.contracts.control import ApprovalExpired, ApprovalRequested, Halt, Resume
from broker.contracts.incident import IncidentClosed, IncidentReported
from broker.contracts.monitor import AgentLost, Deviation, Verified
from broker.contracts.plan import PlanAccepted, PlanRejected, PlanRequested
from broker.contracts.task import Claim, DeadLetter, Result, Task
from broker.memory import MemoryBroker, MemoryJournal, settle
from broker.subjects import Role
from monitor_svc.journal_metrics import MAX_OPEN, JournalMetrics, follow
from tests.support import signing

pytestmark = pytest.mark.asyncio


class Counting:
    """A journal, and a follower that counts."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.registry = CollectorRegistry()
        self._following: asyncio.Task[None] | None = None
        self._brokers: list[MemoryBroker] = []

    def _broker(self, role: str) -> MemoryBroker:
        broker = MemoryBroker(self.journal, f"{role}-{len(self._brokers)}", role)
        self._brokers.append(broker)
        return broker

    async def start(self) -> None:
        await self.stop()
        self.registry = CollectorRegistry()
        counted = JournalMetrics(self.registry)
        gate = signing.gate("monitor")
        self._following = asyncio.create_task(follow(self._broker("monitor"), gate, counted, sleep=self.journal.sleep))
        await settle()

    async def stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def say(self, role: Role, message: Contract, *, after_s: float = 0.0) -> None:
        if after_s:
            await self.journal.advance(after_s)
        await self._broker("admin").publish(message.subject(), signing.signer(role, journal=self.journal).seal(message))
        await settle()

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    async def close(self) -> None:
        await self.stop()
        for broker in self._brokers:
            await broker.close()


@pytest_asyncio.fixture
async def counting() -> AsyncIterator[Counting]:
    world = Counting()
    await world.start()
    yield world
    await world.close()


def reported(incident: str = "i1") -> IncidentReported:
    return IncidentReported(incident=incident, text="orders are slow", source="operator")


def closed(incident: str = "i1", verdict: str = "verified") -> IncidentClosed:
    fields = {"incident": incident, "verdict": verdict, "reason": "x", "plan_version": 1, "actions": 1}
    return IncidentClosed.model_validate(fields)


def order(task_id: str = "v1-t1") -> Task:
    fields = {"incident": "i1", "task_id": task_id, "attempt": 1, "kind": "log", "type": "check_logs"}
    more = {"target": "orders", "args": {}, "plan_version": 1, "risk": "read", "timeout_s": 10.0, "timer_id": "t"}
    return Task.model_validate(fields | more)


def claim(instance: str = "log-1") -> Claim:
    fields: dict[str, Any] = {"incident": "i1", "task_id": "v1-t1", "attempt": 1, "kind": "log", "instance": instance}
    return Claim.model_validate(fields | {"task_seq": 1, "delivery": "$JS.ACK.TRIAGE.w-log.1"})


def result(status: str = "OK") -> Result:
    fields = {"incident": "i1", "task_id": "v1-t1", "attempt": 1, "kind": "log", "instance": "log-1"}
    return Result.model_validate(fields | {"status": status, "out": "seen"})


async def test_an_incidents_life_is_counted_and_its_recovery_measured(counting: Counting) -> None:
    await counting.say("operator", reported())
    assert counting.value("triage_incidents_open") == 1
    assert counting.value("triage_incidents_reported_total", source="operator") == 1
    await counting.say("scheduler", closed(), after_s=7.0)
    assert counting.value("triage_incidents_open") == 0
    assert counting.value("triage_incidents_closed_total", verdict="verified") == 1
    assert counting.value("triage_incident_recovery_seconds_sum") == pytest.approx(7.0, abs=0.1)
    assert counting.value("triage_incident_recovery_seconds_bucket", le="8.0") == 1
    assert counting.value("triage_incident_recovery_seconds_bucket", le="5.0") == 0


async def test_an_incident_that_was_not_repaired_is_no_recovery(counting: Counting) -> None:
    await counting.say("operator", reported())
    await counting.say("scheduler", closed(verdict="unresolved"))
    assert counting.value("triage_incident_recovery_seconds_count") == 0
    assert counting.value("triage_incidents_closed_total", verdict="unresolved") == 1


async def test_a_tasks_wait_and_duration_are_measured_by_kind_of_agent(counting: Counting) -> None:
    await counting.say("scheduler", order())
    assert counting.value("triage_tasks_in_flight") == 1
    await counting.say("log", claim(), after_s=0.2)
    await counting.say("log", result(), after_s=2.0)
    assert counting.value("triage_task_wait_seconds_sum", kind="log") == pytest.approx(0.2, abs=0.06)
    assert counting.value("triage_task_duration_seconds_sum", kind="log") == pytest.approx(2.2, abs=0.1)
    assert counting.value("triage_tasks_ordered_total", kind="log") == 1
    assert counting.value("triage_tasks_ended_total", outcome="ok") == 1
    assert counting.value("triage_tasks_in_flight") == 0


async def test_a_second_claim_is_no_second_wait(counting: Counting) -> None:
    await counting.say("scheduler", order())
    await counting.say("log", claim())
    await counting.say("log", claim("log-2"), after_s=3.0)
    assert counting.value("triage_task_wait_seconds_count", kind="log") == 1
    assert counting.value("triage_reassign_seconds_count") == 0


async def test_a_lost_workers_task_is_measured_until_its_next_claim(counting: Counting) -> None:
    await counting.say("scheduler", order())
    await counting.say("log", claim())
    lost = AgentLost(instance="log-1", role="log", connection=1, reason="gone", handed_on=(order().subject(),))
    await counting.say("monitor", lost)
    await counting.say("log", claim("log-2"), after_s=0.1)
    assert counting.value("triage_agents_lost_total", role="log") == 1
    assert counting.value("triage_reassign_seconds_count") == 1
    assert counting.value("triage_reassign_seconds_sum") == pytest.approx(0.1, abs=0.06)


async def test_plans_checks_deviations_approvals_and_the_switch_are_counted(counting: Counting) -> None:
    await counting.say("operator", reported())
    await counting.say("scheduler", PlanRequested(incident="i1", version=2, attempt=1, text="x"))
    await counting.say("scheduler", PlanAccepted(incident="i1", version=2, attempt=1, plan_id="p", order=()))
    await counting.say("scheduler", PlanRejected(incident="i1", version=2, attempt=2, plan_id="p", reasons=()))
    deviation = Deviation(incident="i1", n=1, kind="service_down", device="orders", t_trigger_us=1, detail="down")
    await counting.say("monitor", deviation)
    check = Verified(
        incident="i1", n=1, plan_version=2, ok=False, reasons=(), window_s=5, samples=5, success_ratio=None
    )
    await counting.say("monitor", check)
    asked = ApprovalRequested(incident="i1", task_id="v2-t1", binding="x", action="restart", target="orders", why="x")
    await counting.say("scheduler", asked)
    expired = ApprovalExpired(
        incident="i1", task_id="v2-t1", binding="x", action="restart", target="orders", wait_s=300.0
    )
    await counting.say("scheduler", expired)
    await counting.say("operator", Halt(reason="look"))
    assert counting.value("triage_plan_version") == 2
    assert counting.value("triage_plans_requested_total") == 1
    assert counting.value("triage_plans_judged_total", verdict="accepted") == 1
    assert counting.value("triage_plans_judged_total", verdict="rejected") == 1
    assert counting.value("triage_deviations_total", kind="service_down") == 1
    assert counting.value("triage_checks_total", outcome="not_ok") == 1
    assert counting.value("triage_approvals_requested_total") == 1
    assert counting.value("triage_approvals_expired_total") == 1
    assert counting.value("triage_halted") == 1
    await counting.say("operator", Resume(reason="go on"))
    assert counting.value("triage_halted") == 0
    await counting.say("scheduler", closed())
    assert counting.value("triage_plan_version") == 0


async def test_a_failed_attempt_and_a_dead_letter_end_a_task(counting: Counting) -> None:
    await counting.say("scheduler", order())
    await counting.say("log", result("FAIL"))
    await counting.say("scheduler", order("v1-t2"))
    await counting.say("scheduler", DeadLetter(incident="i1", task_id="v1-t2", attempt=1, reason="nobody"))
    assert counting.value("triage_tasks_ended_total", outcome="fail") == 1
    assert counting.value("triage_tasks_ended_total", outcome="dead") == 1
    assert counting.value("triage_tasks_in_flight") == 0


async def test_what_an_ended_incident_left_unanswered_is_not_in_flight(counting: Counting) -> None:
    await counting.say("operator", reported())
    await counting.say("scheduler", order())
    await counting.say("scheduler", closed(verdict="unresolved"))
    assert counting.value("triage_tasks_in_flight") == 0
    assert counting.value("triage_tasks_ended_total", outcome="ok") == 0


async def test_after_a_restart_what_is_open_is_known_and_nothing_is_counted_twice(counting: Counting) -> None:
    await counting.say("operator", reported())
    await counting.say("scheduler", order())
    await counting.start()
    assert counting.value("triage_incidents_open") == 1
    assert counting.value("triage_tasks_in_flight") == 1
    assert counting.value("triage_incidents_reported_total", source="operator") == 0
    await counting.say("scheduler", closed(), after_s=4.0)
    assert counting.value("triage_incident_recovery_seconds_sum") == pytest.approx(4.0, abs=0.1)


async def test_a_forged_message_is_not_counted(counting: Counting) -> None:
    forged = signing.signer("log", journal=counting.journal, version=2)
    report = reported()
    with pytest.raises(Exception, match="log"):
        forged.seal(report)
    broker = MemoryBroker(counting.journal, "thief", "admin")
    await broker.publish(report.subject(), b"not an envelope")
    await settle()
    await broker.close()
    assert counting.value("triage_incidents_open") == 0
    await counting.say("operator", reported("i2"))
    assert counting.value("triage_incidents_open") == 1


async def test_no_identifier_becomes_a_label(counting: Counting) -> None:
    await counting.say("operator", reported("secret-incident"))
    await counting.say("scheduler", order("secret-task"))
    await counting.say("log", claim("secret-instance"))
    shown = generate_latest(counting.registry).decode()
    assert "secret" not in shown


async def test_what_never_ends_is_forgotten_at_last() -> None:
    registry = CollectorRegistry()
    counted = JournalMetrics(registry)
    journal = MemoryJournal()
    broker = MemoryBroker(journal, "operator-1", "operator")
    gate, sign = signing.gate("monitor"), signing.signer("operator", journal=journal)
    for number in range(MAX_OPEN + 5):
        message = reported(f"i{number}")
        await broker.publish(message.subject(), sign.seal(message))
    for stored in journal.messages("triage.incident.>"):
        counted.take(gate.admit(stored))
    counted.live()
    await broker.close()
    assert registry.get_sample_value("triage_incidents_open") == MAX_OPEN
