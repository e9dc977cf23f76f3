"""Containers that somebody removes by hand: known, told, made again."""

from __future__ import annotations

import pytest

from services.platform.docker.adapter import DockerPlatform
from services.platform.docker.connection import ContainerGoneError
from services.platform.docker.container import Container
from services.platform.port import VerbFailedError
from tests.support.docker_hand import Hand, found, one
from tests.support.docker_world import compose

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("verb", ["start", "reconcile", "restart"])
@pytest.mark.asyncio
async def test_a_container_removed_by_hand_is_known_and_made_again_as_declared(
    world: DockerPlatform, hand: Hand, verb: str
) -> None:
    before = await one(world, "web")
    hand.docker("rm", "-f", hand.of("web"))
    seen = await world.inspect("web")
    assert (seen.state, seen.pid, found(seen.drift)) == ("stopped", None, {("container", hand.of("web"))})
    assert "web" in [item.name for item in await world.list()]
    assert await world.health("web") == (False, "web does not run")
    assert (await getattr(world, verb)("web", key=f"gone-{verb}")).changed
    after, again = await world.inspect("web"), await one(world, "web")
    assert (after.state, after.drift) == ("running", ())
    assert (again.environment, again.networks[0].aliases) == (before.environment, before.networks[0].aliases)
    assert again.labels == before.labels


@pytest.mark.asyncio
async def test_a_container_removed_while_a_verb_is_carried_out_fails_it_in_a_sentence(
    world: DockerPlatform, hand: Hand
) -> None:
    container = await one(world, "store")
    hand.docker("rm", "-f", hand.of("store"))
    for act in (world.engine.start, world.engine.stop, world.engine.pause, world.engine.inspect):
        with pytest.raises(ContainerGoneError, match=r"store-1 was removed by somebody else .* `reconcile` of store"):
            await act(container)
    assert issubclass(ContainerGoneError, VerbFailedError)
    await world.start("store", key="after-gone")
    assert (await world.health("store"))[0]


@pytest.mark.asyncio
async def test_a_container_removed_before_it_answers_is_told_as_removed(
    world: DockerPlatform, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = world.engine.start

    async def start_and_lose(container: Container) -> None:
        await start(container)
        hand.docker("rm", "-f", container.name)

    monkeypatch.setattr(world.engine, "start", start_and_lose)
    with pytest.raises(VerbFailedError, match="store was removed by somebody else right after it was restarted"):
        await world.restart("store", key="lost")
    monkeypatch.undo()
    assert (await world.restart("store", key="lost")).changed  # the same key: it had no effect


@pytest.mark.asyncio
async def test_what_compose_makes_anew_is_the_declaration(world: DockerPlatform, hand: Hand) -> None:
    changed = {**hand.file["services"]["store"], "environment": {"NAME": "store", "PORT": "8080", "NEW": "1"}}
    file = {**hand.file, "services": {**hand.file["services"], "store": changed}}
    compose(hand.name, "up", "-d", "-t", "1", "store", file=file)
    seen = await world.inspect("store")
    assert (seen.state, seen.drift) == ("running", ())
    assert (await one(world, "store")).environment["NEW"] == "1"
