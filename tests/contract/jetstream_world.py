"""The contract's world on a real server: own process or container, own port, own store, real time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar, cast

import httpx
import pytest

from broker.jetstream import JetStreamBroker, connect, ensure
from broker.port import Broker
from broker.subjects import ADMIN_USER, Role
from tests.support import containers
from tests.support.nats_server import running_server
from tests.support.waiting import eventually

T = TypeVar("T")
SLACK_S = 5.0
"""What a loaded machine may be late by before a wait counts as failed, seconds."""


class Server(Protocol):
    """What the world needs of a server."""

    passwords: dict[str, str]

    @property
    def url(self) -> str: ...


class JetStreamWorld:
    """A started server with its streams and queues."""

    virtual = False

    def __init__(self, server: Server) -> None:
        self.server = server
        self.brokers: list[JetStreamBroker] = []

    async def connect(self, role: str, instance: str) -> Broker:
        password = self.server.passwords[role]
        broker = await connect(self.server.url, role=cast(Role, role), instance=instance, password=password)
        self.brokers.append(broker)
        return broker

    async def within(self, seconds: float, wanted: Awaitable[T]) -> T:
        return await asyncio.wait_for(asyncio.ensure_future(wanted), seconds + SLACK_S)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def now_us(self) -> int:
        return time.time_ns() // 1_000

    async def lose(self, broker: Broker) -> None:
        await broker.close()

    async def close(self) -> None:
        for broker in self.brokers:
            await broker.close()


@asynccontextmanager
async def open_world(home: Path) -> AsyncIterator[JetStreamWorld]:
    """A server for the length of a block."""
    with running_server(home) as server:
        async with _prepared(server) as world:
            yield world


@asynccontextmanager
async def open_container_world(home: Path) -> AsyncIterator[JetStreamWorld]:
    """A server in a container for the length of a block; skips the test where there can be none."""
    if (why := containers.missing()) is not None:
        pytest.skip(why)
    with containers.running_nats(home) as server:

        async def healthy() -> bool:
            async with httpx.AsyncClient(trust_env=False) as client:
                return (await client.get(f"{server.monitoring_url}/healthz")).status_code == 200

        await eventually(healthy, containers.READY_S)
        async with _prepared(server) as world:
            yield world


@asynccontextmanager
async def _prepared(server: Server) -> AsyncIterator[JetStreamWorld]:
    await ensure(server.url, server.passwords[ADMIN_USER])
    world = JetStreamWorld(server)
    try:
        yield world
    finally:
        await world.close()
