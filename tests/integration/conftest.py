"""Real servers for integration tests: each in its own directory, on free ports, ended with its test or module."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from broker.jetstream import JetStreamBroker, connect, ensure
from broker.subjects import ADMIN_USER, Role
from tests.support.nats_server import NatsServer, running_server

Connect = Callable[..., Awaitable[JetStreamBroker]]


@pytest.fixture(scope="module")
def shared_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A prepared broker for all tests of a module: they use subjects of their own and never stop it."""
    with running_server(tmp_path_factory.mktemp("nats")) as server:
        asyncio.run(ensure(server.url, server.passwords[ADMIN_USER]))
        yield server


@pytest_asyncio.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A prepared broker of one test, which may kill and restart it."""
    with running_server(tmp_path / "nats") as server:
        await ensure(server.url, server.passwords[ADMIN_USER])
        yield server


@pytest_asyncio.fixture
async def join() -> AsyncIterator[Connect]:
    """`await join(server, role)`: a connection that is closed at the end of the test."""
    brokers: list[JetStreamBroker] = []

    async def joined(server: NatsServer, role: Role, instance: str | None = None) -> JetStreamBroker:
        name = instance or f"{role}-1"
        broker = await connect(server.url, role=role, instance=name, password=server.passwords[role])
        brokers.append(broker)
        return broker

    yield joined
    for broker in brokers:
        await broker.close()
