"""The control plane's containers, and what the proxy does by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture

from broker.contracts.inventory import Inventory
from broker.tasks import end
from services.platform.docker.adapter import DockerPlatform
from services.platform.docker.container import TOOL_PROJECT
from services.platform.docker.roster import kill_role, roster, start_killed
from services.platform.port import RefusedError, UnknownWorkloadError
from services.platform.proxy.metrics import ProxyMetrics
from services.platform.proxy.world import WatchedWorld
from tests.support.docker_hand import Hand, one
from tests.support.docker_world import TOOL_IMAGE, compose
from tests.support.waiting import eventually

pytestmark = pytest.mark.docker


# -- the control plane's containers


@pytest.mark.asyncio
async def test_a_killed_role_comes_back_and_a_workload_is_not_taken_for_one(
    world: DockerPlatform, tmp_path: Path
) -> None:
    notes = tmp_path / "killed"
    before = next(row for row in await roster(world.engine) if row.role == "log")
    assert (before.name, before.state, before.healthy) == ("agent-1", "running", True)
    assert before.memory_bytes > 0
    await kill_role(world.engine, "agent-1", "KILL", None, notes)
    after = next(row for row in await roster(world.engine) if row.role == "log")
    assert (after.state, after.pid != before.pid) == ("running", True)
    await kill_role(world.engine, "agent", "STOP", None, notes)
    assert next(row for row in await roster(world.engine) if row.role).state == "paused"
    await kill_role(world.engine, "agent", "KILL", None, notes)
    [agent] = await world.engine.find("agent")
    assert agent.status == "running"
    with pytest.raises(RefusedError, match="web is a workload"):
        await kill_role(world.engine, "web", "KILL", None, notes)
    with pytest.raises(RefusedError, match="is the platform proxy itself"):
        await kill_role(world.engine, "agent", "KILL", agent.id, notes)
    with pytest.raises(UnknownWorkloadError, match="no single container is called 'twin'"):
        await kill_role(world.engine, "twin", "KILL", None, notes)
    assert _files(notes) == []


@pytest.mark.asyncio
async def test_a_role_that_was_killed_and_not_started_again_is_started_by_the_next_proxy(
    world: DockerPlatform, tmp_path: Path
) -> None:
    [agent] = await world.engine.find("agent")
    await world.engine.kill(agent)
    (tmp_path / agent.id).touch()
    (tmp_path / ("0" * 64)).touch()  # one that was removed meanwhile
    assert await start_killed(world.engine, tmp_path) == ("agent-1 started: it was killed and not brought back",)
    assert (await world.engine.inspect(agent)).status == "running"
    assert _files(tmp_path) == []


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.mark.asyncio
async def test_roles_are_no_workloads(world: DockerPlatform) -> None:
    assert [item.name for item in await world.list()] == ["web", "store", "cache", "users", "twin"]
    with pytest.raises(UnknownWorkloadError, match="agent"):
        await world.restart("agent", key="role-1")


# -- what the proxy does by itself


@pytest.mark.asyncio
async def test_the_proxy_writes_the_labels_as_inventory_and_leaves_no_sidecar(
    world: DockerPlatform, hand: Hand, tmp_path: Path
) -> None:
    file, log = tmp_path / "made" / "inventory.json", structlog.wrap_logger(None, processors=[LogCapture()])
    watched = WatchedWorld(world, file, ProxyMetrics(), log, None)
    assert not watched.ready
    await watched.open()
    running = asyncio.create_task(watched.run())

    async def ready() -> bool:
        return watched.ready

    await eventually(ready)
    inventory = Inventory.decode(file.read_bytes())
    assert inventory.names() == ("web", "store", "cache", "users", "twin")
    assert file.stat().st_mode & 0o777 == 0o644
    store = await one(world, "store")
    await world.engine.start_sidecar(
        store, ["python3", "-c", "import time; time.sleep(99)"], image=TOOL_IMAGE, purpose="x"
    )
    [tool] = await world.engine.sidecars(store, "x")
    await world.engine.end_sidecar(tool)
    await world.engine.end_sidecar(tool)  # again: it is gone
    await world.engine.start_sidecar(
        store, ["python3", "-c", "import time; time.sleep(99)"], image=TOOL_IMAGE, purpose="y"
    )
    async with watched.events() as queue:
        await world.engine.pause(store)
        async with asyncio.timeout(5):
            assert (await queue.get()).happening == "paused"
    await end(running)
    await watched.close()
    assert await world.engine.sidecars() == ()
    assert hand.docker("ps", "-aq", "--filter", f"label={TOOL_PROJECT}={hand.name}") == ""


@pytest.mark.asyncio
async def test_a_workload_removed_by_hand_is_still_known_to_a_proxy_that_starts_anew(
    world: DockerPlatform, hand: Hand, tmp_path: Path
) -> None:
    hand.docker("rm", "-f", hand.of("web"))
    await _started(world, tmp_path)
    assert "web" in (await world.inventory()).inventory.names()
    assert (await world.start("web", key="anew-1")).changed
    assert (await world.health("web"))[0]


@pytest.mark.asyncio
async def test_a_service_that_went_with_the_whole_project_is_forgotten_when_the_proxy_starts(
    world: DockerPlatform, hand: Hand, tmp_path: Path
) -> None:
    assert "users" in (await world.inventory()).inventory.names()
    services = {name: item for name, item in hand.file["services"].items() if name != "users"}
    file = {**hand.file, "services": services}
    compose(hand.name, "up", "-d", "-t", "1", "--force-recreate", "--remove-orphans", file=file)
    await _started(world, tmp_path)
    assert "users" not in (await world.inventory()).inventory.names()


async def _started(world: DockerPlatform, folder: Path) -> None:
    """Have a proxy start."""
    log = structlog.wrap_logger(None, processors=[LogCapture()])
    await WatchedWorld(world, folder / "inventory.json", ProxyMetrics(), log, None).open()
