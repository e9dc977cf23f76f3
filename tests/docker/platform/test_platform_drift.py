"""Drift that only containers have: images, commands, limits, networks, shells. Several containers of one service."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from services.platform.docker.adapter import DockerPlatform
from services.platform.docker.container import Resources, blueprint_of
from tests.support.docker_hand import MIB, Hand, found, one
from tests.support.docker_world import TOOL_IMAGE
from tests.support.waiting import eventually

pytestmark = pytest.mark.docker


# -- drift that only containers have


@pytest.mark.asyncio
async def test_another_image_command_and_limit_are_drift_and_are_brought_back(world: DockerPlatform) -> None:
    container = await one(world, "web")
    blueprint = blueprint_of(container.raw).with_image(TOOL_IMAGE)
    blueprint = replace(
        blueprint, config={**blueprint.config, "Entrypoint": ["python3"], "Cmd": ["-c", "while 1: pass"]}
    )
    await world.engine.recreate(container, blueprint.with_resources(Resources(memory=80 * MIB, memory_swap=80 * MIB)))
    seen = await world.inspect("web")
    assert {("image", "web"), ("command", "web"), ("limits", "memory")} <= found(seen.drift)
    limits = next(item for item in seen.drift if item.what == "limits")
    assert (limits.declared, limits.actual) == (f"{64 * MIB} bytes", f"{80 * MIB} bytes")
    assert (await world.reconcile("web", key="image-1")).changed
    after = await one(world, "web")
    assert (after.image_id, after.resources, after.command) == (
        container.image_id,
        container.resources,
        container.command,
    )
    assert (await world.inspect("web")).drift == ()


@pytest.mark.asyncio
async def test_a_recreation_keeps_data_names_labels_and_addresses_of_the_network(world: DockerPlatform) -> None:
    container = await one(world, "web")
    await world.engine.exec(container, ["sh", "-c", "echo kept > /data/file"])
    made = await world.engine.recreate(container, blueprint_of(container.raw).with_environment({"SETTING": "x"}))
    assert made.id != container.id
    assert (await world.engine.exec(made, ["cat", "/data/file"])).output == "kept\n"
    await world.reconcile("web", key="data-1")
    again = await one(world, "web")
    assert (await world.engine.exec(again, ["cat", "/data/file"])).output == "kept\n"
    assert (again.labels, again.environment) == (container.labels, container.environment)
    assert {place.network: place.aliases for place in again.networks} == {
        place.network: place.aliases for place in container.networks
    }


@pytest.mark.asyncio
async def test_a_network_that_was_taken_away_or_added_is_put_right_without_a_restart(
    world: DockerPlatform, hand: Hand
) -> None:
    before = await world.inspect("web")
    shop, edge = f"{hand.name}_shop", f"{hand.name}_edge"
    hand.docker("network", "disconnect", edge, hand.of("web"))
    hand.docker("network", "connect", edge, hand.of("store"))
    assert found((await world.inspect("web")).drift) == {("network", edge)}
    assert found((await world.inspect("store")).drift) == {("network", edge)}
    hand.docker("network", "disconnect", shop, hand.of("web"))
    hand.docker("network", "connect", shop, hand.of("web"))  # without its other name
    assert found((await world.inspect("web")).drift) == {("network", edge), ("network", shop)}
    assert (await world.reconcile("web", key="net-1")).changed
    assert (await world.reconcile("store", key="net-2")).changed
    assert await world.inspect("web") == before
    answer = await world.engine.exec(await one(world, "store"), ["getent", "hosts", "front"])
    assert answer.code == 0


@pytest.mark.asyncio
async def test_health_checks_are_not_foreign_and_a_shell_from_outside_is(world: DockerPlatform) -> None:
    for _ in range(8):  # the check runs for a fifth of each second
        assert (await world.inspect("web")).drift == ()
        await asyncio.sleep(0.11)
    container = await one(world, "web")
    # a tree: its children would be adopted by the main process if their parent alone were ended
    await world.engine.exec(container, ["sh", "-c", "(while :; do :; done) & (sleep 97531) & wait"], detach=True)

    async def seen() -> bool:
        return len((await world.inspect("web")).drift) >= 3

    await eventually(seen)
    await world.reconcile("web", key="foreign-1")
    left = [item.command for item in await world.engine.top(await one(world, "web"))]
    assert not [command for command in left if "97531" in command or "while" in command]
    assert (await one(world, "web")).id == container.id


# -- several containers of one service


@pytest.mark.asyncio
async def test_a_workload_of_two_containers_is_as_well_as_the_worst_of_them(world: DockerPlatform, hand: Hand) -> None:
    assert len(await world.containers("twin")) == 2
    hand.docker("pause", hand.of("twin", 2))
    assert (await world.inspect("twin")).state == "paused"
    assert not (await world.health("twin", timeout_s=0.3))[0]
    assert (await world.resume("twin", key="twin-1")).changed
    hand.docker("kill", hand.of("twin", 1))
    assert (await world.inspect("twin")).state == "failed"
    assert (await world.reconcile("twin", key="twin-2")).changed
    assert (await world.inspect("twin")).state == "running"
    before = {item.id: item.started_at_us for item in await world.containers("twin")}
    assert (await world.restart("twin", key="twin-3")).changed
    after = {item.id: item.started_at_us for item in await world.containers("twin")}
    assert before.keys() == after.keys()
    assert all(before[ident] != after[ident] for ident in before)


@pytest.mark.asyncio
async def test_a_container_scaled_away_is_not_missed(world: DockerPlatform, hand: Hand) -> None:
    hand.docker("rm", "-f", hand.of("twin", 2))
    seen = await world.inspect("twin")
    assert (seen.state, seen.drift) == ("running", ())
