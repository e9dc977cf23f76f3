"""What only a world of containers knows: removal by hand, images, limits, networks, several containers, crashes."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog
from structlog.testing import LogCapture

from broker.contracts.inventory import Inventory
from broker.tasks import end
from services.platform.docker.adapter import DockerPlatform
from services.platform.docker.connection import ContainerGoneError
from services.platform.docker.container import REPLACED, TOOL_PROJECT, Container, Resources, blueprint_of
from services.platform.docker.engine import MAX_LOG_BYTES, Engine
from services.platform.docker.events import WorkloadEvent, event_of
from services.platform.docker.roster import kill_role, roster, start_killed
from services.platform.port import Drift, RefusedError, UnknownWorkloadError, VerbFailedError
from services.platform.proxy.metrics import ProxyMetrics
from services.platform.proxy.world import WatchedWorld
from tests.support.docker_world import TOOL_IMAGE, compose, missing, platform_of, project, small_world, until_well
from tests.support.embedded_world import free_ports
from tests.support.waiting import eventually

pytestmark = pytest.mark.docker

MIB = 2**20


@dataclass(frozen=True)
class Hand:
    """The project under test, and what somebody does to it by hand."""

    name: str
    file: dict[str, Any]
    store: Path

    def docker(self, *arguments: str) -> str:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def of(self, service: str, number: int = 1) -> str:
        return f"{self.name}-{service}-{number}"

    def up(self) -> None:
        compose(self.name, "up", "-d", "--force-recreate", "-t", "1", file=self.file)


def _file() -> dict[str, Any]:
    [port] = free_ports(1)
    file = small_world(port)
    services = file["services"]
    services["web"] |= {
        "networks": {"shop": {"aliases": ["front"]}, "edge": {}},
        "mem_limit": 64 * MIB,
        "volumes": ["/data"],
        "healthcheck": {"test": ["CMD-SHELL", "sleep 0.2; exit 0"], "interval": "1s"},
    }
    services["twin"] = {**services["store"], "scale": 2}
    services["twin"]["labels"] = {**services["store"]["labels"], "triage.order": "5"}
    services["agent"] = {
        "image": services["store"]["image"],
        "init": True,
        "command": ["sleep", "inf"],
        "labels": {"triage.role": "log"},
        "networks": ["shop"],
        "restart": "unless-stopped",
    }
    file["networks"]["edge"] = {"internal": True}
    return file


@pytest.fixture(scope="module")
def hand() -> Iterator[Hand]:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    store = Path(tempfile.mkdtemp(prefix="tp-"))
    made = Hand(f"tp{store.name[3:].lower().replace('_', 'x')}", _file(), store)
    try:
        with project(made.name, made.file):
            yield made
    finally:
        shutil.rmtree(store)


@pytest_asyncio.fixture
async def world(hand: Hand) -> AsyncIterator[DockerPlatform]:
    """The project as compose makes it, with a fresh memory of it."""
    shutil.rmtree(hand.store / "declared", ignore_errors=True)
    compose(hand.name, "up", "-d", "-t", "1", file=hand.file)
    engine = Engine(hand.name)
    platform = platform_of(engine, hand.store)
    await until_well(platform)
    yield platform
    for item in await platform.list():
        if item.managed:
            await platform.reconcile(item.name, key=f"mend-{item.name}-{id(platform)}")
    engine.close()


async def one(world: DockerPlatform, service: str) -> Container:
    [found] = await world.containers(service)
    return found


def _found(drift: tuple[Drift, ...]) -> set[tuple[str, str]]:
    return {(item.what, item.name) for item in drift}


# -- removed by hand


@pytest.mark.parametrize("verb", ["start", "reconcile", "restart"])
@pytest.mark.asyncio
async def test_a_container_removed_by_hand_is_known_and_made_again_as_declared(
    world: DockerPlatform, hand: Hand, verb: str
) -> None:
    before = await one(world, "web")
    hand.docker("rm", "-f", hand.of("web"))
    seen = await world.inspect("web")
    assert (seen.state, seen.pid, _found(seen.drift)) == ("stopped", None, {("container", hand.of("web"))})
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
    assert {("image", "web"), ("command", "web"), ("limits", "memory")} <= _found(seen.drift)
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
    assert _found((await world.inspect("web")).drift) == {("network", edge)}
    assert _found((await world.inspect("store")).drift) == {("network", edge)}
    hand.docker("network", "disconnect", shop, hand.of("web"))
    hand.docker("network", "connect", shop, hand.of("web"))  # without its other name
    assert _found((await world.inspect("web")).drift) == {("network", edge), ("network", shop)}
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


# -- only this project, and only in whole


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
