"""A consumer that its queue gives nothing, on the real server: who says so, what does not help, and what does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.nats.config import server_binary
from services.inventory.declared import CONSUMERS
from services.platform.embedded import consumers
from services.platform.embedded.world import Program
from services.platform.port import VerbFailedError
from services.shop.errors import ConsumerStalledError
from services.shop.messages import ORDERS_CREATED, ORDERS_DELIVERY
from services.shop.queue import CREATED, Consuming, Queue, administration
from tests.support.nats_server import free_port

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]
PATIENCE_S = 30.0
PAUSED = "its consumer is paused until 2100-01-01T00:00:00Z"
CONFIG = 'host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: "{home}/store" }}\n'


class Mq:
    """A queue's server that may be stopped and started, and its declaration."""

    def __init__(self, home: Path) -> None:
        self._config = home / "nats.conf"
        self.port = free_port()
        self._config.write_text(CONFIG.format(port=self.port, home=home))
        self._process: asyncio.subprocess.Process | None = None
        self.url = f"nats://127.0.0.1:{self.port}"
        self.program = Program(
            name="shop-mq",
            command=(),
            environment={},
            managed=True,
            probe="nats",
            host="127.0.0.1",
            port=self.port,
            consumers=CONSUMERS,
        )

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            server_binary(), "-c", str(self._config), stderr=asyncio.subprocess.DEVNULL
        )

    async def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            await self._process.wait()
            self._process = None

    async def drift(self) -> list[str]:
        return [f"{item.name}: {item.actual}" for item in await consumers.consumers_drift(self.program)]


class Shipper:
    """A consumer as fulfilment is one: what it was given, and what it says of its queue."""

    def __init__(self) -> None:
        self.given: list[bytes] = []
        self.stall: ConsumerStalledError | None = None
        self.complaints: list[Exception] = []

    async def take(self, message: bytes) -> bool:
        self.given.append(message)
        return True

    def told(self, stall: ConsumerStalledError | None) -> None:
        self.stall = stall


@pytest_asyncio.fixture
async def mq(tmp_path: Path) -> AsyncIterator[Mq]:
    server = Mq(tmp_path)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def shipping(mq: Mq) -> AsyncIterator[tuple[Queue, Shipper]]:
    """A consumer's process of its own, for the length of a block."""
    shipper, queue = Shipper(), Queue("shop-mq", mq.url, "fulfilment")
    async with queue.open(Consuming(shipper.take, shipper.complaints.append, shipper.told)):
        await until(lambda: _answers(queue))
        yield queue, shipper


@asynccontextmanager
async def storing(mq: Mq) -> AsyncIterator[Queue]:
    """A service that stores messages and consumes none, as orders is one."""
    queue = Queue(ORDERS_CREATED.stream, mq.url, "orders")
    async with queue.open():
        await until(lambda: _answers(queue))
        yield queue


async def _answers(queue: Queue) -> bool:
    try:
        await queue.check()
    except Exception:
        return False
    return True


async def until(holds: Callable[[], object]) -> None:
    """Wait for a condition, plain or awaited."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = holds()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s"
        await asyncio.sleep(0.05)


async def test_a_paused_consumer_says_that_messages_wait_and_only_the_repair_gives_it_any(mq: Mq) -> None:
    async with shipping(mq) as (queue, shipper):
        await queue.publish(CREATED, b"before", "1")
        await until(lambda: shipper.given == [b"before"])
        assert await mq.drift() == []
        await consumers.pause(mq.program)
        await queue.publish(CREATED, b"held back", "2")
        await until(lambda: shipper.stall is not None)
        assert str(shipper.stall) == f"1 message waits and none is given: {PAUSED}"
        assert await consumers.paused(mq.program) == ["fulfilment is paused until 2100-01-01T00:00:00Z"]
    await mq.stop()
    await mq.start()
    async with shipping(mq) as (_, again):  # both were started anew
        await until(lambda: again.stall is not None)
        assert await mq.drift() == ["fulfilment paused: until 2100-01-01T00:00:00Z"]
        assert again.given == []
        assert await consumers.restore_consumers(mq.program) == ["consumer fulfilment resumed"]
        await until(lambda: again.given == [b"held back"])
        await until(lambda: again.stall is None)
        assert await mq.drift() == []
        assert await consumers.restore_consumers(mq.program) == []
        assert (shipper.complaints, again.complaints) == ([], [])


async def test_settings_that_somebody_changed_are_drift_and_are_put_back(mq: Mq) -> None:
    item = CONSUMERS[0]
    async with shipping(mq) as (queue, shipper):
        await queue.publish(CREATED, b"first", "1")
        await until(lambda: shipper.given == [b"first"])
        async with administration(mq.url) as session:
            changed = ORDERS_DELIVERY._replace(max_deliver=7)
            await session.serve(item.stream, item.name, "shop.orders.nobody", changed)
        assert await mq.drift() == ["fulfilment subject: shop.orders.nobody", "fulfilment max_deliver: 7"]
        await queue.publish(CREATED, b"second", "2")
        assert await consumers.restore_consumers(mq.program) == ["consumer fulfilment is served as declared"]
        assert await mq.drift() == []
        await until(lambda: shipper.given == [b"first", b"second"])


async def test_nobody_has_consumed_yet_so_nothing_is_drift_and_nothing_can_be_paused(mq: Mq) -> None:
    async with storing(mq) as queue:
        await queue.publish(CREATED, b"x", "1")
        assert await mq.drift() == []
        assert await consumers.paused(mq.program) == []
        with pytest.raises(VerbFailedError, match="shop-mq did not pause its consumers"):
            await consumers.pause(mq.program)


async def test_a_queue_that_is_away_is_no_drift_and_is_said_by_name_to_who_asks(
    mq: Mq, monkeypatch: pytest.MonkeyPatch
) -> None:
    await mq.stop()
    monkeypatch.setattr(consumers, "TIMEOUT_S", 0.5)
    assert await mq.drift() == []
    with pytest.raises(VerbFailedError, match="shop-mq does not say how it serves its consumers"):
        await consumers.paused(mq.program)
    with pytest.raises(VerbFailedError, match="shop-mq does not serve its consumers as declared"):
        await consumers.restore_consumers(mq.program)
