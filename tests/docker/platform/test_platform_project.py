"""Only this project, and only in whole: other people's containers, images that are not there, crashes in the middle."""

from __future__ import annotations

import pytest

from services.platform.docker.adapter import DockerPlatform
from services.platform.docker.container import REPLACED, blueprint_of
from services.platform.docker.engine import Engine
from services.platform.port import VerbFailedError
from tests.support.docker_hand import Hand, one

pytestmark = pytest.mark.docker


@pytest.mark.asyncio
async def test_a_container_of_another_project_cannot_be_touched(world: DockerPlatform, hand: Hand) -> None:
    stranger = Engine(f"{hand.name}other")
    try:
        container = await one(world, "web")
        for act in (stranger.stop, stranger.kill, stranger.inspect, stranger.start):
            with pytest.raises(VerbFailedError, match=f"is none of the project {hand.name}other"):
                await act(container)
        with pytest.raises(VerbFailedError, match="is no container of the project"):
            await stranger.create(blueprint_of(container.raw))
        assert await stranger.containers() == ()
    finally:
        stranger.close()


@pytest.mark.asyncio
async def test_an_image_that_is_not_there_leaves_the_old_container_running(world: DockerPlatform) -> None:
    container = await one(world, "web")
    with pytest.raises(VerbFailedError, match="web-1 could not be created: No such image"):
        await world.engine.recreate(container, blueprint_of(container.raw).with_image("nobody/has-this:1"))
    again = await one(world, "web")
    assert (again.id, again.status) == (container.id, "running")


@pytest.mark.parametrize("successor", [False, True])
@pytest.mark.asyncio
async def test_a_crash_in_the_middle_of_a_recreation_is_mended(
    world: DockerPlatform, hand: Hand, successor: bool
) -> None:
    container = await one(world, "web")
    hand.docker("stop", "-t", "1", container.name)
    hand.docker("rename", container.name, f"{container.name}{REPLACED}")
    if successor:
        await world.engine.create(blueprint_of(container.raw))
    [sentence] = await world.engine.mend()
    assert ("has taken its place" if successor else "again") in sentence
    assert ((await one(world, "web")).id == container.id) is not successor
    assert REPLACED not in hand.docker("ps", "-a", "--format", "{{.Names}}", "--filter", f"name={hand.name}")
