"""A real worker process is killed or stopped in mid-task on a real broker: another worker has its task."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.contracts.monitor import AgentLost
from broker.contracts.task import Task
from broker.port import Broker, Delivery, Stored
from broker.subjects import ACK_WAIT_S
from monitor_svc.reassign import Reassigner
from tests.contract.jetstream_world import JetStreamWorld, open_world
from tests.support import signing

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

ROUNDS = 3


@asynccontextmanager
async def worker_process(world: JetStreamWorld, instance: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker that is connected and waits for a task; killed at the end."""
    command = ("-m", "tests.support.claiming_worker", world.server.url, world.server.passwords["log"], instance)
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    try:
        await said(process, b"ready\n")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def said(process: asyncio.subprocess.Process, line: bytes) -> None:
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == line


@asynccontextmanager
async def monitors(world: JetStreamWorld, count: int) -> AsyncIterator[None]:
    tasks = []
    for number in range(count):
        instance = f"monitor-{number + 1}"
        broker = await world.connect("monitor", instance)
        monitor = Reassigner(broker, signing.signer("monitor", instance), signing.gate("monitor"))
        tasks.append(asyncio.create_task(monitor.run()))
        await asyncio.wait_for(monitor.ready.wait(), 10)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def order(scheduler: Broker, number: int) -> Task:
    task = Task(
        incident="i1",
        task_id=f"v1-t{number}",
        attempt=1,
        kind="log",
        type="check_logs",
        target="orders",
        args={},
        plan_version=1,
        risk="read",
        timeout_s=30.0,
        timer_id=f"t{number}",
    )
    await scheduler.publish(task.subject(), signing.signer("scheduler").seal(task))
    return task


async def next_delivery(worker: Broker, within_s: float) -> Delivery:
    delivery = await worker.pull("w-log", within_s)
    assert delivery is not None, f"nothing was delivered within {within_s} s"
    return delivery


async def lost_agents(reader: Broker) -> list[AgentLost]:
    gate = signing.gate("reader")
    found = []
    async for item in reader.read(1, "triage.agent.*.lost", follow=False):
        if isinstance(item, Stored):
            message = gate.admit(item).message
            assert isinstance(message, AgentLost)
            found.append(message)
    return found


async def killed_rounds(world: JetStreamWorld, rounds: int) -> list[float]:
    """Kill a worker in mid-task `rounds` times; return how long it took until another had the task, in seconds."""
    scheduler = await world.connect("scheduler", "scheduler-1")
    other = await world.connect("log", "log-agent-2")
    took = []
    for number in range(rounds):
        async with worker_process(world, "log-agent-1") as process:
            task = await order(scheduler, number)
            await said(process, b"claimed\n")
            waiting = asyncio.create_task(next_delivery(other, 10.0))
            await asyncio.sleep(0)
            process.kill()
            killed = time.perf_counter()
            delivery = await waiting
            took.append(time.perf_counter() - killed)
            assert (delivery.stored.subject, delivery.deliveries) == (task.subject(), 2)
            await delivery.ack()
    return took


async def test_a_killed_worker_s_task_moves_on_long_before_its_ack_wait(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world, monitors(world, 2):
        took = await killed_rounds(world, ROUNDS)
        # The figure itself (250 ms at the 99th percentile) is the benchmark's; the ack wait would be 5 s.
        assert max(took) < ACK_WAIT_S / 2
        lost = await lost_agents(await world.connect("reader", "reader-1"))
        assert [item.handed_on for item in lost if item.instance == "log-agent-1"] == [
            (f"triage.task.log.i1.v1-t{number}.a1",) for number in range(ROUNDS)
        ]


async def test_a_hung_worker_is_given_up_when_it_misses_its_pings(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world, monitors(world, 1):
        scheduler = await world.connect("scheduler", "scheduler-1")
        other = await world.connect("log", "log-agent-2")
        async with worker_process(world, "log-agent-1") as process:
            await order(scheduler, 1)
            await said(process, b"claimed\n")
            process.send_signal(signal.SIGSTOP)
            delivery = await next_delivery(other, 15.0)
            process.send_signal(signal.SIGCONT)
            assert delivery.deliveries == 2
            await delivery.ack()
