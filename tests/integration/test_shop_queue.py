"""The shop's queue when its service was stopped for a while: the client library then dies without a word."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.nats.config import server_binary
from services.shop.errors import DependencyFailed
from services.shop.queue import CREATED, Queue
from tests.support.nats_server import free_port

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]
STOPPED_S = 2.5
"""Longer than the server waits for a client that does not answer its pings."""
PATIENCE_S = 10.0
CONFIG = 'host: 127.0.0.1\nport: {port}\nping_interval: "1s"\nping_max: 1\njetstream {{ store_dir: "{home}/store" }}\n'


@pytest_asyncio.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    port = free_port()
    config = tmp_path / "nats.conf"
    config.write_text(CONFIG.format(port=port, home=tmp_path))
    server = await asyncio.create_subprocess_exec(server_binary(), "-c", config, stderr=asyncio.subprocess.DEVNULL)
    found = Queue("shop-mq", f"nats://127.0.0.1:{port}", "orders")
    try:
        async with found.open():
            await working(found)
            yield found
    finally:
        server.kill()
        await server.wait()


async def working(queue: Queue) -> None:
    """Wait until the queue answers; what it raised last is the test's failure if it never does."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await queue.check()
        except Exception:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.05)


async def publish(queue: Queue, name: str) -> None:
    with suppress(DependencyFailed):
        await queue.publish(CREATED, b"x" * 200, name)


async def test_a_service_that_was_stopped_while_busy_finds_its_queue_again(queue: Queue) -> None:
    for stop in range(2):  # where the client is caught decides whether it says that it ended
        before = [asyncio.ensure_future(publish(queue, f"before-{stop}-{n}")) for n in range(64)]
        await asyncio.sleep(0.001 * stop)
        time.sleep(STOPPED_S)  # noqa: ASYNC251 - to the loop it is what SIGSTOP and SIGCONT are
        after = [asyncio.ensure_future(publish(queue, f"after-{stop}-{n}")) for n in range(64)]
        await asyncio.gather(*before, *after)
        await working(queue)
