"""Each fault on a small world of containers: it is shown, a dependent feels the real error, healing ends both."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from services.platform.docker.container import Blueprint, Container, blueprint_of
from services.platform.docker.engine import Engine
from services.platform.docker.faults import DockerFaults
from services.platform.docker.netfault import NetFaults
from services.platform.docker.volumes import SMALL_VOLUME
from services.platform.fault_port import Limits, LinkFault
from services.platform.port import UnknownWorkloadError, VerbFailedError
from tests.support.docker_world import docker
from tests.support.fault_world import CACHE_IMAGE, TOOL_IMAGE, FaultWorld, fault_world

pytestmark = pytest.mark.docker

URL = "http://server:8000/"
OK = LinkFault("ok")
NOT_KNOWN = "gaierror(-3, 'Temporary failure in name resolution')"
"""On an internal network the engine's name server has nobody to ask on: -3, and not -2, for a name it does not know."""


class SiteUnderTest:
    """The docker adapter as the fault port sees it; what runs at the start is what is declared."""

    def __init__(self, world: FaultWorld, store: Path) -> None:
        self.engine = Engine(world.project)
        self.tool_image = TOOL_IMAGE
        self.net = NetFaults(self.engine, TOOL_IMAGE, store)
        self._declared: dict[str, Blueprint] = {}
        self._lock = asyncio.Lock()

    async def declare(self) -> None:
        """Take what runs now for the declaration."""
        self._declared = {c.service: blueprint_of(c.raw) for c in await self.engine.containers()}

    @asynccontextmanager
    async def locked(self, name: str) -> AsyncIterator[None]:
        async with self._lock:
            yield

    async def containers(self, name: str) -> tuple[Container, ...]:
        if name not in self._declared:
            raise UnknownWorkloadError(f"there is no workload {name}")
        return await self.engine.find(name)

    def declared(self, container: Container) -> Blueprint:
        return self._declared[container.service]


@pytest.fixture(scope="module")
def world() -> Iterator[FaultWorld]:
    with fault_world() as made:
        made.until_served(URL)
        yield made


@pytest_asyncio.fixture
async def site(world: FaultWorld, tmp_path: Path) -> AsyncIterator[SiteUnderTest]:
    made = SiteUnderTest(world, tmp_path)
    await made.declare()
    yield made
    made.engine.close()


@pytest.fixture
def faults(site: SiteUnderTest) -> DockerFaults:
    return DockerFaults(site)


async def said(world: FaultWorld, timeout_s: float = 1.0) -> str:
    return (await asyncio.to_thread(world.get, URL, timeout_s=timeout_s)).said


async def served(world: FaultWorld) -> None:
    await asyncio.to_thread(world.until_served, URL)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "felt"),
    [
        (LinkFault("partition"), "timed out"),
        (LinkFault("refuse"), "ConnectionRefusedError(111, 'Connection refused')"),
        (LinkFault("drop", drop_ratio=1.0, seed=1), "ConnectionResetError(104, 'Connection reset by peer')"),
    ],
    ids=lambda value: value.mode if isinstance(value, LinkFault) else "",
)
async def test_broken_link_is_shown_and_felt_and_healed(
    world: FaultWorld, faults: DockerFaults, fault: LinkFault, felt: str
) -> None:
    await faults.set_link("client", "server", fault)
    assert await faults.link("client", "server") == fault
    assert felt in await said(world)
    await faults.set_link("client", "server", OK)
    assert await faults.link("client", "server") == OK
    await served(world)


@pytest.mark.asyncio
@pytest.mark.parametrize("ratio", [0.001, 0.01, 0.123456789])
async def test_any_share_of_drops_is_read_back_and_taken_back(faults: DockerFaults, ratio: float) -> None:
    fault = LinkFault("drop", drop_ratio=ratio, seed=1)
    await faults.set_link("client", "server", fault)
    assert await faults.link("client", "server") == fault
    await faults.set_link("client", "server", OK)
    assert await faults.link("client", "server") == OK


@pytest.mark.asyncio
async def test_latency_delays_both_ways_and_leaves_no_process_behind(
    world: FaultWorld, site: SiteUnderTest, faults: DockerFaults
) -> None:
    await faults.set_link("client", "server", LinkFault("latency", latency_ms=200.0))
    assert await faults.link("client", "server") == LinkFault("latency", latency_ms=200.0)
    answer = await asyncio.to_thread(world.get, URL)
    assert answer.said == "ok"
    assert 0.4 <= answer.seconds < 1.5
    await faults.set_link("client", "server", OK)
    assert (await asyncio.to_thread(world.get, URL)).seconds < 0.4
    assert await site.engine.sidecars() == ()


@pytest.mark.asyncio
async def test_latency_whose_process_died_is_no_fault_any_more(
    world: FaultWorld, site: SiteUnderTest, faults: DockerFaults
) -> None:
    await faults.set_link("client", "server", LinkFault("latency", latency_ms=200.0))
    tools = await site.engine.sidecars()
    if not tools:
        pytest.skip("this kernel delays by itself: there is no process")
    for tool in tools:
        await site.engine.end_sidecar(tool)
    assert await faults.link("client", "server") == OK
    assert (await asyncio.to_thread(world.get, URL)).seconds < 0.4
    await faults.set_link("client", "server", OK)


@pytest.mark.asyncio
async def test_throttled_link_lets_through_what_it_may(world: FaultWorld, faults: DockerFaults) -> None:
    large = f"{URL}?{'x' * 20_000}"
    free = await asyncio.to_thread(world.get, large, timeout_s=20.0)
    await faults.set_link("client", "server", LinkFault("throttle", rate_kbit=64.0))
    assert await faults.link("client", "server") == LinkFault("throttle", rate_kbit=64.0)
    slow = await asyncio.to_thread(world.get, large, timeout_s=20.0)
    assert (free.said, slow.said) == ("ok", "ok")
    assert slow.seconds > 1.5  # 20 kB at 8 kB/s, but for the burst
    assert free.seconds < 0.5
    await faults.set_link("client", "server", OK)
    assert (await asyncio.to_thread(world.get, large, timeout_s=20.0)).seconds < 0.5


@pytest.mark.asyncio
async def test_one_fault_takes_the_place_of_another(
    world: FaultWorld, site: SiteUnderTest, faults: DockerFaults
) -> None:
    await faults.set_link("client", "server", LinkFault("latency", latency_ms=200.0))
    await faults.set_link("client", "server", LinkFault("latency", latency_ms=100.0))
    assert await faults.link("client", "server") == LinkFault("latency", latency_ms=100.0)
    assert len(await site.engine.sidecars()) <= 1
    assert (await asyncio.to_thread(world.get, URL)).seconds >= 0.2
    await faults.set_link("client", "server", LinkFault("throttle", rate_kbit=512.0))
    assert await faults.link("client", "server") == LinkFault("throttle", rate_kbit=512.0)
    assert await site.engine.sidecars() == ()
    await faults.set_link("client", "server", OK)
    await served(world)


@pytest.mark.asyncio
async def test_two_faults_of_one_source_do_not_touch_each_other(world: FaultWorld, faults: DockerFaults) -> None:
    await faults.set_link("client", "server", LinkFault("throttle", rate_kbit=512.0))
    await faults.names.break_names("client")
    await faults.set_link("client", "server", OK)
    assert await faults.names.names_broken("client")
    await faults.names.restore_names("client")
    await served(world)


@pytest.mark.asyncio
async def test_broken_name_resolution_is_felt_and_healed(world: FaultWorld, faults: DockerFaults) -> None:
    await faults.names.break_names("client")
    assert await faults.names.names_broken("client")
    assert await said(world) == "gaierror(-3, 'Temporary failure in name resolution')"
    await faults.names.restore_names("client")
    assert not await faults.names.names_broken("client")
    await served(world)


@pytest.mark.asyncio
async def test_restarted_source_has_no_rules_any_more(
    world: FaultWorld, site: SiteUnderTest, faults: DockerFaults
) -> None:
    await faults.set_link("client", "server", LinkFault("latency", latency_ms=100.0))
    await faults.stop("client")
    await faults.start("client")
    assert await faults.link("client", "server") == OK
    deadline = time.monotonic() + 10.0
    while await site.engine.sidecars():
        assert time.monotonic() < deadline, "the process that delays outlives its source"
        await asyncio.sleep(0.1)


@pytest.mark.asyncio
async def test_rules_for_an_address_that_is_not_the_destinations_any_more_do_not_count(
    world: FaultWorld, faults: DockerFaults
) -> None:
    await faults.set_link("client", "server", LinkFault("partition"))
    await faults.networks.disconnect("server")
    world.run("squatter", TOOL_IMAGE, ("infinity",), "--entrypoint", "sleep")  # takes the address that is free now
    await faults.networks.reconnect("server")
    assert await faults.link("client", "server") == OK
    await served(world)
    await faults.set_link("client", "server", OK)
    docker("rm", "-f", world.name("squatter"))


@pytest.mark.asyncio
async def test_stopped_server_is_unknown_to_the_name_server(world: FaultWorld, faults: DockerFaults) -> None:
    await faults.stop("server")
    assert not await faults.is_running("server")
    assert await said(world) == NOT_KNOWN
    await faults.start("server")
    await served(world)


@pytest.mark.asyncio
async def test_killed_server_stays_down_until_it_is_started(world: FaultWorld, faults: DockerFaults) -> None:
    await faults.freeze("server")
    await faults.kill("server")
    assert not await faults.is_running("server")
    assert await said(world) == NOT_KNOWN
    await faults.start("server")
    await served(world)


@pytest.mark.asyncio
async def test_frozen_server_accepts_and_never_answers(world: FaultWorld, faults: DockerFaults) -> None:
    await faults.freeze("server")
    await faults.freeze("server")
    assert await faults.is_frozen("server")
    assert "timed out" in await said(world)
    await faults.thaw("server")
    await faults.thaw("server")
    assert not await faults.is_frozen("server")
    await served(world)


@pytest.mark.asyncio
async def test_disconnected_server_is_unknown_and_comes_back_under_its_name(
    world: FaultWorld, faults: DockerFaults
) -> None:
    await faults.networks.disconnect("server")
    assert await faults.networks.disconnected("server") == (world.network,)
    assert await faults.is_running("server")
    assert await said(world) == NOT_KNOWN
    await faults.networks.reconnect("server")
    assert await faults.networks.disconnected("server") == ()
    await served(world)


@pytest.mark.asyncio
async def test_burners_are_counted_topped_up_and_ended(faults: DockerFaults) -> None:
    await faults.hog("server", 1)
    await faults.hog("server", 2)
    assert await faults.hogs("server") == 2
    await faults.unhog("server")
    assert await faults.hogs("server") == 0
    with pytest.raises(VerbFailedError, match="between 1 and 16"):
        await faults.hog("server", 17)


@pytest.mark.asyncio
async def test_changed_environment_is_that_of_the_container_and_all_else_is_kept(
    world: FaultWorld, site: SiteUnderTest, faults: DockerFaults
) -> None:
    [before] = await site.engine.find("server")
    await faults.set_environment("server", {"DB_HOST": "shop-db-old.invalid"})
    assert (await faults.environment("server"))["DB_HOST"] == "shop-db-old.invalid"
    [drifted] = await site.engine.find("server")
    assert drifted.labels == before.labels
    assert [e.aliases for e in drifted.networks] == [e.aliases for e in before.networks]
    await faults.reset_environment("server")
    assert "DB_HOST" not in await faults.environment("server")
    [after] = await site.engine.find("server")
    await faults.reset_environment("server")
    assert [c.id for c in await site.engine.find("server")] == [after.id]
    await served(world)


@pytest.mark.asyncio
async def test_processor_limit_is_given_while_it_runs_and_taken_back(
    world: FaultWorld, site: SiteUnderTest, faults: DockerFaults
) -> None:
    [before] = await site.engine.find("server")
    await faults.set_limits("server", Limits(cpu_cores=0.05))
    assert (await faults.limits("server")).cpu_cores == 0.05
    [limited] = await site.engine.find("server")
    assert limited.started_at_us == before.started_at_us
    await faults.reset_limits("server")
    assert await faults.limits("server") == Limits()
    await served(world)


@pytest.mark.asyncio
async def test_memory_limit_ends_in_a_kill_by_the_kernel(
    world: FaultWorld, site: SiteUnderTest, faults: DockerFaults
) -> None:
    await faults.set_limits("server", Limits(memory_bytes=7 << 20))
    deadline = time.monotonic() + 10.0
    while (await site.engine.find("server"))[0].running:
        assert time.monotonic() < deadline, "it lives within 7 MiB"
        await asyncio.sleep(0.1)
    [container] = await site.engine.find("server")
    assert (container.oom_killed, container.exit_code) == (True, 137)
    assert (await faults.limits("server")).memory_bytes == 7 << 20
    assert await said(world) == NOT_KNOWN
    await faults.reset_limits("server")
    assert await faults.limits("server") == Limits()
    await served(world)


@pytest.mark.asyncio
async def test_full_volume_makes_the_cache_refuse_writes(world: FaultWorld, site: SiteUnderTest) -> None:
    volume = f"{world.project}_cache"
    docker(
        "volume", "create", "-d", "local", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=8m,uid=999", volume
    )
    try:
        world.run(
            "cache", CACHE_IMAGE, ("valkey-server", "--save", "1", "1"),
            "-v", f"{volume}:/data", "--label", f"{SMALL_VOLUME}=/data",
        )  # fmt: skip
        await site.declare()
        faults = DockerFaults(site)
        assert await faults.volumes.filler("cache") == 0
        await faults.volumes.fill_volume("cache")
        assert await faults.volumes.filler("cache") > 1 << 20
        await _until_cli(world, ("set", "key", "value"), "MISCONF")
        await faults.volumes.free_volume("cache")
        assert await faults.volumes.filler("cache") == 0
        await _until_cli(world, ("set", "key", "value"), "OK")
    finally:
        docker("rm", "-f", "-v", world.name("cache"))
        docker("volume", "rm", "-f", volume)


async def _until_cli(world: FaultWorld, command: tuple[str, ...], wanted: str) -> None:
    deadline = time.monotonic() + 20.0
    while not (answer := docker("exec", world.name("cache"), "valkey-cli", *command)).startswith(wanted):
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.2)


@pytest.mark.asyncio
async def test_looking_at_a_healed_container_costs_nothing_again(
    site: SiteUnderTest, faults: DockerFaults, tmp_path: Path
) -> None:
    notes = tmp_path / "namespaces.json"
    await faults.set_link("client", "server", LinkFault("refuse"))
    await faults.names.break_names("client")
    await faults.set_link("client", "server", OK)
    assert json.loads(notes.read_text()) != []
    [client] = await site.engine.find("client")
    assert await site.net.heal(client) == ("client--dns",)
    assert json.loads(notes.read_text()) == []
    assert await site.net.heal(client) == ()


@pytest.mark.asyncio
async def test_link_that_nobody_declares_is_refused_by_name(faults: DockerFaults) -> None:
    with pytest.raises(UnknownWorkloadError, match="no link 'server--client'"):
        await faults.set_link("server", "client", LinkFault("partition"))


@pytest.mark.asyncio
async def test_workload_without_a_small_volume_is_refused(faults: DockerFaults) -> None:
    with pytest.raises(VerbFailedError, match="declares no small volume"):
        await faults.volumes.fill_volume("server")
