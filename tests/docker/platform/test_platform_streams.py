"""What containers say: their logs, and that they died."""

from __future__ import annotations

import asyncio

import pytest

from services.platform.docker.adapter import DockerPlatform
from services.platform.docker.container import blueprint_of
from services.platform.docker.engine import MAX_LOG_BYTES
from services.platform.docker.events import WorkloadEvent, event_of
from tests.support.docker_hand import Hand, one
from tests.support.waiting import eventually

pytestmark = pytest.mark.docker


# -- logs


@pytest.mark.asyncio
async def test_of_a_long_log_the_newest_lines_come_oldest_first(world: DockerPlatform) -> None:
    container = await one(world, "web")
    script = "for n in range(600): print(n, 'x' * 8_000)"
    await world.engine.exec(container, ["sh", "-c", f'python3 -c "{script}" > /proc/1/fd/1'])
    got = await world.engine.logs(container, since_us=0, tail=20_000)
    assert 1_000_000 < sum(len(text) for _, text in got) <= MAX_LOG_BYTES
    assert got[-1][1].startswith("599 ")
    numbers = [int(text.split()[0]) for _, text in got]
    assert numbers == sorted(numbers)
    assert len(await world.logs("web", since_us=0, limit=5)) == 5


# -- events


@pytest.mark.asyncio
async def test_a_death_is_told_within_a_tenth_of_a_second(world: DockerPlatform, hand: Hand) -> None:
    heard: list[WorkloadEvent] = []
    said: list[tuple[str, str]] = []

    async def follow() -> None:
        async for raw in world.engine.events():
            said.append((raw["Actor"]["ID"], raw["Action"]))
            event = event_of(raw)
            heard.extend([event] if event else [])

    async def following() -> bool:
        await world.engine.pause(await one(world, "store"))
        await world.engine.unpause(await one(world, "store"))
        return bool(said)

    follower = asyncio.create_task(follow())
    await eventually(following)
    await world.engine.kill(await one(world, "store"))

    async def told() -> bool:
        return any(event.name == "store" and event.happening == "died" for event in heard)

    await eventually(told, timeout_s=2.0)
    await world.start("store", key="event-1")

    async def back() -> bool:
        return heard[-1].happening == "started"

    await eventually(back, timeout_s=2.0)
    assert next(event for event in heard if event.happening == "died").exit_code == 137
    store = await one(world, "store")
    await world.engine.recreate(store, blueprint_of(store.raw))
    await eventually(back, timeout_s=2.0)

    async def gone() -> bool:
        return (store.id, "destroy") in said

    await eventually(gone, timeout_s=2.0)  # the end of the replaced one comes last, and is no end of the workload
    assert [event.happening for event in heard][-2:] == ["died", "started"]
    follower.cancel()
    await asyncio.gather(follower, return_exceptions=True)
