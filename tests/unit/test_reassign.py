"""A worker dies: who gets its tasks, how often, and what else must not happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from broker.contracts.incident import IncidentClosed
from broker.contracts.monitor import AgentLost, AgentUp
from broker.contracts.task import Claim, Result, Task
from broker.memory import MemoryBroker, MemoryJournal, settle
from broker.port import Delivery
from broker.subjects import AGENTS, Role
from monitor_svc.reassign import Reassigner
from tests.support import signing

pytestmark = pytest.mark.asyncio

TASK = "triage.task.log.i1.v1-t1.a1"


class Stack:
    """A journal, monitors that follow it, and workers made by hand."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.monitors: list[Reassigner] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._scheduler = MemoryBroker(self.journal, "scheduler-1", "scheduler")
        self._gate = signing.gate("reader")

    async def start_monitor(self, instance: str = "monitor-1") -> Reassigner:
        monitor = Reassigner(
            MemoryBroker(self.journal, instance, "monitor"),
            signing.signer("monitor", instance, journal=self.journal),
            signing.gate("monitor"),
            sleep=self.journal.sleep,
        )
        self.monitors.append(monitor)
        self._tasks.append(asyncio.create_task(monitor.run()))
        await asyncio.wait_for(monitor.ready.wait(), 5)
        await settle()
        return monitor

    async def order(self, task_id: str = "v1-t1", kind: str = "log") -> None:
        task = Task.model_validate(
            {
                "incident": "i1",
                "task_id": task_id,
                "attempt": 1,
                "kind": kind,
                "type": "check_logs",
                "target": "orders",
                "args": {},
                "plan_version": 1,
                "risk": "read",
                "timeout_s": 10.0,
                "timer_id": "t1",
            }
        )
        signer = signing.signer("scheduler", journal=self.journal)
        await self._scheduler.publish(task.subject(), signer.seal(task))

    def worker(self, instance: str, role: Role = "log") -> Worker:
        return Worker(self, instance, role)

    async def close_incident(self) -> None:
        closed = IncidentClosed(incident="i1", verdict="unresolved", reason="test", plan_version=1, actions=0)
        signer = signing.signer("scheduler", journal=self.journal)
        await self._scheduler.publish(closed.subject(), signer.seal(closed))

    def said(self, pattern: str) -> list[AgentLost | AgentUp]:
        messages = [self._gate.admit(stored).message for stored in self.journal.messages(pattern)]
        return [message for message in messages if isinstance(message, AgentLost | AgentUp)]

    def lost(self) -> list[AgentLost]:
        return [message for message in self.said("triage.agent.*.lost") if isinstance(message, AgentLost)]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Worker:
    """A worker that takes and claims tasks, and then does nothing."""

    def __init__(self, stack: Stack, instance: str, role: Role) -> None:
        self.stack, self.instance, self.role = stack, instance, role
        self.broker = MemoryBroker(stack.journal, instance, role)
        self.signer = signing.signer(role, instance, journal=stack.journal)

    async def take(self) -> Delivery | None:
        """Pull without waiting for anything but what is there."""
        pulling = asyncio.create_task(self.broker.pull(f"w-{self.role}", 0.01))
        await settle()
        await self.stack.journal.advance(0.02)
        return await pulling

    async def claim(
        self, delivery: Delivery, *, reply: str | None = None, instance: str | None = None, task_id: str | None = None
    ) -> None:
        kind, incident, task, attempt = delivery.stored.subject.split(".")[2:]
        message = Claim.model_validate(
            {
                "incident": incident,
                "task_id": task_id or task,
                "attempt": int(attempt[1:]),
                "kind": kind,
                "instance": instance or self.instance,
                "task_seq": delivery.stored.seq,
                "delivery": reply or delivery.reply,
            }
        )
        await self.broker.publish(message.subject(), self.signer.seal(message))
        await settle()

    async def take_and_claim(self) -> Delivery:
        delivery = await self.take()
        assert delivery is not None
        await self.claim(delivery)
        return delivery

    async def finish(self, delivery: Delivery) -> None:
        kind, incident, task, attempt = delivery.stored.subject.split(".")[2:]
        result = Result.model_validate(
            {
                "incident": incident,
                "task_id": task,
                "attempt": int(attempt[1:]),
                "kind": kind,
                "instance": self.instance,
                "status": "OK",
                "out": "done",
            }
        )
        await self.broker.publish(result.subject(), self.signer.seal(result))
        await delivery.ack()
        await settle()

    async def die(self, reason: str = "Client Closed") -> None:
        self.stack.journal.kill(self.instance, reason)
        await settle()


@asynccontextmanager
async def running_stack(monitors: int = 1) -> AsyncIterator[Stack]:
    stack = Stack()
    for number in range(monitors):
        await stack.start_monitor(f"monitor-{number + 1}")
    try:
        yield stack
    finally:
        await stack.close()


async def test_a_killed_worker_s_task_is_with_another_one_at_once() -> None:
    async with running_stack() as stack:
        first, second = stack.worker("log-agent-1"), stack.worker("log-agent-2")
        await stack.order()
        await first.take_and_claim()
        assert await second.take() is None
        before = stack.journal.now_us
        await first.die()
        delivery = await second.take()
        assert delivery is not None
        assert (delivery.stored.subject, delivery.deliveries) == (TASK, 2)
        assert stack.journal.now_us - before < 250_000
        (lost,) = stack.lost()
        assert (lost.instance, lost.role, lost.handed_on, lost.reason) == (
            "log-agent-1",
            "log",
            (TASK,),
            "Client Closed",
        )


@pytest.mark.parametrize("monitors", [2, 3])
async def test_several_monitors_say_it_once_and_hand_on_once(monitors: int) -> None:
    async with running_stack(monitors) as stack:
        first = stack.worker("log-agent-1")
        await stack.order()
        await first.take_and_claim()
        others = [stack.worker(f"log-agent-{number}") for number in (2, 3)]
        await first.die()
        taken = [await other.take() for other in others]
        assert [item.deliveries for item in taken if item is not None] == [2]
        assert len(stack.lost()) == 1


async def test_a_finished_task_is_not_handed_on() -> None:
    async with running_stack() as stack:
        first, second = stack.worker("log-agent-1"), stack.worker("log-agent-2")
        await stack.order()
        await first.finish(await first.take_and_claim())
        await first.die()
        assert await second.take() is None
        assert [lost.handed_on for lost in stack.lost()] == [()]


async def test_only_the_dead_worker_s_tasks_are_handed_on() -> None:
    async with running_stack() as stack:
        first, second, third = (stack.worker(f"log-agent-{number}") for number in (1, 2, 3))
        await stack.order("v1-t1")
        await stack.order("v1-t2")
        await first.take_and_claim()
        await second.take_and_claim()
        await first.die()
        delivery = await third.take()
        assert delivery is not None
        assert delivery.stored.subject == TASK
        assert await third.take() is None


async def test_a_task_that_another_worker_claimed_since_stays_with_it() -> None:
    async with running_stack() as stack:
        first, second, third = (stack.worker(f"log-agent-{number}") for number in (1, 2, 3))
        await stack.order()
        await first.take_and_claim()
        await stack.journal.advance(6.0)
        await second.take_and_claim()
        await first.die("Stale Connection")
        assert await third.take() is None
        assert [lost.handed_on for lost in stack.lost()] == [()]


async def test_a_claim_made_before_the_monitor_started_is_known_to_it() -> None:
    async with running_stack(0) as stack:
        first, second = stack.worker("log-agent-1"), stack.worker("log-agent-2")
        await stack.order()
        await first.take_and_claim()
        await stack.start_monitor()
        await first.die()
        assert await second.take() is not None


async def test_a_task_is_handed_on_once_even_if_its_worker_comes_back_and_dies_again() -> None:
    async with running_stack() as stack:
        first, second = stack.worker("log-agent-1"), stack.worker("log-agent-2")
        await stack.order()
        await first.take_and_claim()
        await first.die()
        delivery = await second.take()
        assert delivery is not None
        again = stack.worker("log-agent-1")
        await settle()
        await again.die()
        assert [lost.handed_on for lost in stack.lost()] == [(TASK,), ()]


async def test_a_late_disconnect_of_an_old_connection_leaves_the_new_one_s_claims_alone() -> None:
    async with running_stack() as stack:
        old = stack.worker("log-agent-1")
        client = stack.journal.clients[-1]
        await settle()
        new = stack.worker("log-agent-1")
        await settle()
        await stack.order()
        await new.take_and_claim()
        stack.journal.disconnect(client, "Stale Connection")
        await settle()
        assert old.instance == new.instance
        assert [lost.handed_on for lost in stack.lost()] == [()]
        assert await stack.worker("log-agent-2").take() is None


async def test_a_connection_whose_end_a_killed_broker_never_told_keeps_no_task_from_being_handed_on() -> None:
    async with running_stack() as stack:
        stack.worker("log-agent-1")
        await settle()
        stack.journal.clients[-1].gone = "the broker was killed"
        back = stack.worker("log-agent-1")
        await settle()
        await stack.order()
        await back.take_and_claim()
        await back.die()
        assert [lost.handed_on for lost in stack.lost()] == [(TASK,)]


async def test_a_closed_incident_s_claims_are_dropped() -> None:
    async with running_stack() as stack:
        first = stack.worker("log-agent-1")
        await stack.order()
        await first.take_and_claim()
        await stack.close_incident()
        await settle()
        assert len(stack.monitors[0].claims) == 0


async def test_clients_that_are_no_agents_are_nobody_s_loss() -> None:
    async with running_stack() as stack:
        stack.worker("planner-1", "planner")
        await settle()
        stack.journal.kill("planner-1")
        await settle()
        assert stack.said("triage.agent.>") == []


async def test_a_connecting_worker_is_announced_once() -> None:
    async with running_stack(2) as stack:
        stack.worker("action-agent-1", "action")
        await settle()
        (up,) = stack.said("triage.agent.*.up")
        assert isinstance(up, AgentUp)
        assert (up.instance, up.role) == ("action-agent-1", "action")
        assert up.role in AGENTS


async def test_a_client_name_that_is_no_instance_is_passed_over() -> None:
    async with running_stack() as stack:
        stack.journal.connect("Not A Name!", "log")
        await settle()
        stack.journal.kill("Not A Name!")
        await settle()
        await stack.worker("log-agent-2").die()
        assert [lost.instance for lost in stack.lost()] == ["log-agent-2"]


@pytest.mark.parametrize(
    "reply",
    ["triage.control.halt", "$JS.ACK.TRIAGE.w-action.1.1.0.0.0", "$JS.API.STREAM.DELETE.TRIAGE.w-log.", "$JS.ACK. x"],
)
async def test_a_claim_that_aims_the_hand_on_elsewhere_is_not_followed(reply: str) -> None:
    async with running_stack() as stack:
        first = stack.worker("log-agent-1")
        await stack.order()
        delivery = await first.take()
        assert delivery is not None
        await first.claim(delivery, reply=reply)
        await first.die()
        assert [lost.handed_on for lost in stack.lost()] == [()]


async def test_a_claim_in_another_worker_s_name_is_not_followed() -> None:
    async with running_stack() as stack:
        first, victim = stack.worker("log-agent-1"), stack.worker("log-agent-2")
        await stack.order()
        delivery = await first.take()
        assert delivery is not None
        await first.claim(delivery, instance="log-agent-2")
        await victim.die()
        assert [lost.handed_on for lost in stack.lost()] == [()]


async def test_unsigned_claims_are_passed_over() -> None:
    async with running_stack() as stack:
        first = stack.worker("log-agent-1")
        await first.broker.publish("triage.claim.log.i1.v1-t1.a1", b"garbage")
        await first.die()
        assert [lost.handed_on for lost in stack.lost()] == [()]


async def test_a_lost_answer_of_the_broker_leaves_it_to_the_ack_wait_and_the_monitor_goes_on() -> None:
    async with running_stack() as stack:
        first, second = stack.worker("log-agent-1"), stack.worker("log-agent-2")
        await stack.order()
        await first.take_and_claim()
        stack.journal.faults.lost_publishes = 1
        await first.die()
        assert await second.take() is None
        await stack.journal.advance(5.0)
        assert await second.take() is not None
        await stack.worker("log-agent-3").die()
        assert [lost.instance for lost in stack.lost()] == ["log-agent-3"]
