"""How fast a task finds another agent when the one that holds it is killed, or hangs.

The task is a log search whose pattern explodes, so that the agent works at it until its own time limit and every kill
hits it in the middle. The orders are signed with the scheduler's key: real tasks on the real queue, of an incident that
does not exist, so that no plan is disturbed.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal

from broker import jetstream
from broker.contracts.monitor import AgentUp
from broker.contracts.task import Claim, Result, Task
from broker.envelope import Signer
from broker.gate import Trusted
from broker.port import Broker, CaughtUp
from harness.bench.figures import Figure
from harness.bench.orders import EXPLODING, order
from harness.control import ControlPlane, connect
from harness.errors import TimedOutError
from harness.figures import percentile
from harness.site import deployment, open_site

KILLS = 50
HANGS = 3
KILL_BOUND_S = 0.250
HANG_BOUND_S = 5.5
STEP_TIMEOUT_S = 20.0


async def measure(home: Path, say: Callable[[str], None]) -> list[Figure]:
    """Kill an action agent in mid-task KILLS times, hang one HANGS times; measure until another one has the task."""
    killed, hung = [], []
    async with connect(home) as control, _scheduler(home) as (broker, signer):
        rounds = Rounds(home, control, broker, signer)
        for number in range(KILLS):
            killed.append(await rounds.one("KILL"))
            if number % 10 == 9:
                say(f"{number + 1} kills, slowest so far {max(killed) * 1_000:.0f} ms")
        for _ in range(HANGS):
            hung.append(await rounds.one("STOP"))
            say(f"hung agent's task reassigned after {hung[-1]:.2f} s")
    worst, middle = percentile(killed, 0.99), percentile(killed, 0.5)
    return [
        Figure(
            "agent SIGKILLed in mid-task -> another agent has it, p99 of 50",
            "250 ms",
            f"p99 {worst * 1_000:.0f} ms, median {middle * 1_000:.0f} ms",
            worst <= KILL_BOUND_S,
        ),
        Figure("agent SIGSTOPped -> reassigned", "5.5 s", f"{max(hung):.2f} s", max(hung) <= HANG_BOUND_S),
    ]


class Rounds:
    """One kill after the other."""

    def __init__(self, home: Path, control: ControlPlane, broker: Broker, signer: Signer) -> None:
        self._stack = deployment(home)
        self._control = control
        self._broker = broker
        self._signer = signer

    async def one(self, signal: Literal["KILL", "STOP"]) -> float:
        """Return seconds from the signal to the next claim by another agent; afterwards all agents are back."""
        try:
            start = await self._control.broker.last_sequence() + 1
            task = order(f"bench-{secrets.token_hex(4)}", 1, EXPLODING)
            await self._broker.publish(task.subject(), self._signer.seal(task), once=True)
            async with asyncio.timeout(STEP_TIMEOUT_S):
                first = await self._claim(start, task, other_than=None)
                at = time.time()
                await self._stack.kill(first.instance, signal)
                second = await self._claim(start, task, other_than=first.instance)
        except TimeoutError as error:
            raise TimedOutError(f"the task was not reassigned within {STEP_TIMEOUT_S:g} s after SIG{signal}") from error
        if signal == "STOP":
            await self._stack.kill(first.instance)
        await self._settle(start, task, first.instance)
        return second.at - at

    async def _claim(self, start: int, task: Task, *, other_than: str | None) -> _Seen:
        async for item in self._trusted(start):
            message = item.message
            if isinstance(message, Claim) and message.task_id == task.task_id and message.instance != other_than:
                return _Seen(message.instance, item.stored.time_us / 1e6)
        raise TimedOutError("the journal ended")

    async def _settle(self, start: int, task: Task, killed: str) -> None:
        """Wait until the task is done and the killed agent is connected again."""
        ended = back = False
        async with asyncio.timeout(STEP_TIMEOUT_S):
            async for item in self._trusted(start):
                message = item.message
                ended = ended or (isinstance(message, Result) and message.task_id == task.task_id)
                back = back or (isinstance(message, AgentUp) and message.instance == killed)
                if ended and back:
                    return

    async def _trusted(self, start: int) -> AsyncIterator[Trusted]:
        async for item in self._control.follow(start):
            if not isinstance(item, CaughtUp) and isinstance(item, Trusted):
                yield item


class _Seen:
    def __init__(self, instance: str, at: float) -> None:
        self.instance = instance
        self.at = at


@contextlib.asynccontextmanager
async def _scheduler(home: Path) -> AsyncIterator[tuple[Broker, Signer]]:
    """Open a connection that may order agents about."""
    site = open_site(home)
    ring = site.keys.load("scheduler")
    broker = await jetstream.connect(site.nats_url, role="scheduler", instance="bench", password=ring.broker_password())
    try:
        yield broker, Signer("scheduler", "bench", ring)
    finally:
        await broker.close()
