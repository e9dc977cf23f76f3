"""The hosts on the real broker: two machines and two workers, a server killed in the middle."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.contracts.base import Contract
from broker.contracts.task import Task
from broker.jetstream import JetStreamBroker, connect, ensure
from broker.port import Stored
from broker.runtime.control import ControlFollower, KillSwitch
from broker.runtime.machine_host import MachineHost
from broker.runtime.worker_host import Work, WorkerHost
from broker.subjects import ADMIN_USER, Role
from tests.support.machines import DeskMachine, DeskState, answer, report, result
from tests.support.nats_server import NatsServer, running_server
from tests.support.signing import gate, signer

pytestmark = [pytest.mark.asyncio, pytest.mark.integration]
INCIDENTS = 6


class Finder:
    """Finds at once, and counts how often it looked."""

    def __init__(self, seen: list[str]) -> None:
        self._seen = seen

    async def handle(self, work: Work) -> Contract:
        assert isinstance(work.order, Task)
        self._seen.append(work.subject)
        return result(work.order)

    def failure(self, work: Work, error: Exception) -> Contract:
        assert isinstance(work.order, Task)
        return result(work.order, str(error), status="FAIL")


class Stack:
    """Connections and tasks of one test, all ended at its end."""

    def __init__(self, server: NatsServer) -> None:
        self.server = server
        self.looked: list[str] = []
        self._brokers: list[JetStreamBroker] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def broker(self, role: Role, instance: str) -> JetStreamBroker:
        broker = await connect(self.server.url, role=role, instance=instance, password=self.server.passwords[role])
        self._brokers.append(broker)
        return broker

    async def machine(self, instance: str) -> MachineHost[DeskState]:
        broker = await self.broker("scheduler", instance)
        host = MachineHost(DeskMachine(), broker, signer("scheduler", instance), gate("scheduler"))
        self._tasks.append(asyncio.create_task(host.run()))
        return host

    async def worker(self, instance: str) -> None:
        broker, switch = await self.broker("log", instance), KillSwitch()
        follower = ControlFollower(broker, gate("log"), switch, on_rotate=lambda _: None)
        self._tasks.append(asyncio.create_task(follower.run()))
        host = WorkerHost("w-log", Finder(self.looked), broker, signer("log", instance), gate("log"), switch=switch)
        self._tasks.append(asyncio.create_task(host.run()))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        for broker in self._brokers:
            await broker.close()
        failed = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        assert failed == []


async def journal(broker: JetStreamBroker) -> list[Stored]:
    return [item async for item in broker.read(follow=False) if isinstance(item, Stored)]


async def until(holds: Callable[[], bool], within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - conditions of several connections; there is no event to wait for
            await asyncio.sleep(0.02)


async def test_rivals_and_a_killed_server_leave_every_decision_once(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        await ensure(server.url, server.passwords[ADMIN_USER])
        stack = Stack(server)
        try:
            await drive(stack)
            operator = await stack.broker("operator", "op-2")
            before = await journal(operator)
            check_once_each(before)
            late = await stack.machine("scheduler-3")
            async with asyncio.timeout(20):
                await late.caught_up.wait()
            assert len(late.state.closed) == INCIDENTS
            assert [item.seq for item in await journal(operator)] == [item.seq for item in before]
        finally:
            await stack.close()


async def drive(stack: Stack) -> None:
    """Report and answer incidents while the server is killed once."""
    operator = await stack.broker("operator", "op-1")
    seal = signer("operator").seal
    machines = [await stack.machine(f"scheduler-{n}") for n in (1, 2)]
    for n in (1, 2):
        await stack.worker(f"log-{n}")
    for n in range(INCIDENTS):
        for message in (report(f"i{n}"), answer(f"i{n}")):
            await operator.publish(message.subject(), seal(message), message_id=message.subject())
        if n == INCIDENTS // 2:
            stack.server.kill()
            stack.server.start()
    await until(lambda: all(len(machine.state.closed) == INCIDENTS for machine in machines))


def check_once_each(stored: list[Stored]) -> None:
    said = Counter(item.subject for item in stored)
    for n in range(INCIDENTS):
        for subject in (
            f"triage.plan.i{n}.v1.a1.requested",
            f"triage.task.log.i{n}.v1-t1.a1",
            f"triage.result.log.i{n}.v1-t1.a1",
            f"triage.incident.i{n}.closed",
        ):
            assert said[subject] == 1, subject
