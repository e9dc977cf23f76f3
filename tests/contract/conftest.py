"""Three worlds behind one contract: the broker in memory on a virtual clock, the real server on a free port, and the
real server in a container of the image that the compose file names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Protocol, TypeVar

import pytest
import pytest_asyncio

from broker.memory import MemoryBroker, MemoryJournal, settle
from broker.port import Broker

T = TypeVar("T")


class World(Protocol):
    """What a contract test needs of a broker, real or not."""

    async def connect(self, role: str, instance: str) -> Broker:
        """Return a new connection; closed at the end of the test."""
        ...

    async def within(self, seconds: float, wanted: Awaitable[T]) -> T:
        """Return what is awaited, at most `seconds` later by the broker's clock; else TimeoutError."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let the broker's time pass; only inside of what `within` waits for."""
        ...

    def now_us(self) -> int:
        """Return the broker's clock, microseconds since the epoch."""
        ...

    async def lose(self, broker: Broker) -> None:
        """End a connection without a word, as the death of its process does."""
        ...


class MemoryWorld:
    """The fake: time passes only when a test waits for something."""

    STEP_S = 0.05

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.brokers: list[MemoryBroker] = []

    async def connect(self, role: str, instance: str) -> Broker:
        broker = MemoryBroker(self.journal, instance, role)
        self.brokers.append(broker)
        return broker

    async def within(self, seconds: float, wanted: Awaitable[T]) -> T:
        task = asyncio.ensure_future(wanted)
        until = self.journal.now_us + round(seconds * 1e6)
        await settle()
        while not task.done() and self.journal.now_us < until:
            await self.journal.advance(self.STEP_S)
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise TimeoutError(f"not within {seconds} s")
        return await task

    async def sleep(self, seconds: float) -> None:
        await self.journal.sleep(seconds)

    def now_us(self) -> int:
        return self.journal.now_us

    async def lose(self, broker: Broker) -> None:
        assert isinstance(broker, MemoryBroker)
        self.journal.kill(broker.instance)

    async def close(self) -> None:
        for broker in self.brokers:
            await broker.close()


@pytest_asyncio.fixture(
    params=[
        "memory",
        pytest.param("jetstream", marks=pytest.mark.integration),
        pytest.param("container", marks=pytest.mark.docker),
    ]
)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "memory":
        memory = MemoryWorld()
        yield memory
        await memory.close()
        return
    from tests.contract.jetstream_world import open_container_world, open_world  # late: the fake needs no server

    async with open_world(tmp_path) if request.param == "jetstream" else open_container_world(tmp_path) as real:
        yield real
