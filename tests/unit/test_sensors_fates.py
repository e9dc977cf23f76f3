"""What the platform's events say of a silent device, and that they bring a sample at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest
import structlog
from prometheus_client import CollectorRegistry

from broker.contracts.inventory import Device, Inventory, Objective
from monitor_svc.errors import ProbeError
from monitor_svc.sensors.events import EventFollower
from monitor_svc.sensors.fates import DIED, OUT_OF_MEMORY, Fates
from monitor_svc.sensors.probes import Prober
from services.platform.docker.events import Happening, WorkloadEvent
from services.platform.port import PlatformDownError
from tests.support.waiting import eventually
from tests.support.world import shop_inventory

FAILURE = ProbeError("gaierror", "no such name")
SECOND = 1_000_000


def fates(*events: tuple[Happening, int]) -> Fates:
    noted = Fates()
    for happening, at_us in events:
        noted.note("orders", happening, at_us, 137 if happening == "died" else None)
    return noted


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([], "gaierror"),
        ([("died", 0)], DIED),
        ([("oom", 0), ("died", SECOND)], OUT_OF_MEMORY),
        ([("oom", 0), ("died", 20 * SECOND)], DIED),
        ([("oom", 0)], "gaierror"),
        ([("oom", 0), ("died", 1), ("removed", 2)], OUT_OF_MEMORY),
        ([("removed", 0)], DIED),
        ([("died", 0), ("started", 1)], "gaierror"),
        ([("died", 0), ("started", 1), ("died", 2)], DIED),
        ([("died", 0), ("started", 1), ("removed", 2)], "gaierror"),
        ([("paused", 0), ("unhealthy", 1)], "gaierror"),
    ],
)
def test_the_last_word_of_the_platform_explains_a_silent_device(events: list[tuple[Happening, int]], code: str) -> None:
    noted = fates(*events)
    assert noted.explain("orders", FAILURE).code == code
    assert noted.explain("catalog", FAILURE) is FAILURE


def test_missed_events_are_forgotten_events() -> None:
    noted = fates(("died", 0))
    noted.forget()
    assert noted.explain("orders", FAILURE) is FAILURE


@pytest.mark.asyncio
async def test_only_a_device_that_does_not_answer_is_called_dead() -> None:
    async def healthy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{"status":"OK"}')
        writer.close()

    noted = fates(("died", 0))
    prober = Prober(Objective(), explain=noted.explain)
    async with await asyncio.start_server(healthy, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        device = Device(name="orders", kind="service", managed=True, probe="http", host="127.0.0.1", port=port)
        alive = await prober.sample(device, datetime.now(UTC))
    silent = await prober.sample(device, datetime.now(UTC))
    await prober.close()
    assert (alive.status, alive.error_code) == ("OK", None)
    assert (silent.status, silent.error_code) == ("ERROR", DIED)
    assert silent.log_sample == "the container of orders died with exit code 137"


class Stream:
    """The platform's events, as a test says them; each `None` breaks the stream."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[WorkloadEvent | None] = asyncio.Queue()
        self.opened = 0

    async def open(self) -> AsyncIterator[WorkloadEvent]:
        self.opened += 1
        while (event := await self.queue.get()) is not None:
            yield event
        raise PlatformDownError("the platform proxy is away")

    def say(self, happening: Happening, name: str = "orders") -> None:
        self.queue.put_nowait(WorkloadEvent(name=name, happening=happening, at_us=1, exit_code=None))


def follower(stream: Stream, sample: Callable[[Device], object], inventory: Inventory) -> EventFollower:
    async def taken(device: Device) -> None:
        sample(device)

    return EventFollower(
        inventory,
        stream.open,
        Fates(),
        taken,
        registry=CollectorRegistry(),
        log=structlog.get_logger(),
        first_wait_s=0.01,
    )


@pytest.mark.asyncio
async def test_a_death_has_the_device_sampled_at_once_and_only_once() -> None:
    stream, sampled = Stream(), list[str]()
    task = asyncio.create_task(follower(stream, lambda device: sampled.append(device.name), shop_inventory()).run())
    deadly: tuple[Happening, ...] = ("oom", "died", "removed")
    for happening in deadly:
        stream.say(happening)
    stream.say("died", "nobody-knows-this")
    stream.say("started", "catalog")

    async def done() -> bool:
        return len(sampled) > 0 and stream.queue.empty()

    await eventually(done)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert sampled == ["orders"]


@pytest.mark.asyncio
async def test_a_platform_that_goes_away_is_followed_again() -> None:
    stream, sampled = Stream(), list[str]()
    task = asyncio.create_task(follower(stream, lambda device: sampled.append(device.name), shop_inventory()).run())
    for _ in range(3):
        stream.queue.put_nowait(None)

    async def reopened() -> bool:
        return stream.opened == 4

    await eventually(reopened)
    stream.say("died")

    async def heard() -> bool:
        return sampled == ["orders"]

    await eventually(heard)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
