"""What one kind of world cannot suffer: refused in one sentence that says where it can be done, and no fault that is
offered there needs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from injector.fault import Fault, Platform, Spec, World
from injector.registry import FAULTS
from services.platform.docker import lacking as docker_lacking
from services.platform.docker.faults import DockerFaults
from services.platform.embedded import lacking as embedded_lacking
from services.platform.embedded.faults import EmbeddedFaults
from services.platform.fault_port import FaultPort, Lacking, Limits, LinkFault, here
from services.platform.links.model import parse_fault
from services.platform.port import NotOnThisPlatformError
from services.platform.proxy.fault_client import RemoteFaults
from services.platform.proxy.wire import FAULT_VERBS
from tests.support.world import FakeFaults, shop_inventory

ONLY_CONTAINERS: dict[str, Callable[[EmbeddedFaults], Awaitable[None]]] = {
    "processor": lambda faults: faults.set_limits("orders", Limits(cpu_cores=0.1)),
    "memory": lambda faults: faults.set_limits("orders", Limits(memory_bytes=1 << 20)),
    "throttle": lambda faults: faults.set_link("orders", "shop-db", LinkFault("throttle", rate_kbit=8.0)),
}
PARTS = ("commands", "intruders", "grants", "indexes", "messages", "consumers", "networks", "names", "volumes")
OFFERED: dict[Platform, frozenset[str]] = {
    "embedded": frozenset({"commands", "intruders", "grants", "indexes", "messages", "consumers"}),
    "docker": frozenset({"networks", "names", "volumes"}),
}
NOT_TRIED_THERE = {"missing_variable", "cache_full", "cache_password_changed"}
"""Need nothing that containers lack, and are kept to processes for another reason (docs/faults.md)."""


class OnProcesses(FakeFaults):
    """A world that lacks what processes lack."""

    networks = embedded_lacking.NETWORKS
    names = embedded_lacking.NAMES
    volumes = embedded_lacking.VOLUMES

    async def set_link(self, source: str, destination: str, fault: LinkFault) -> None:
        if fault.mode == "throttle":
            raise embedded_lacking.THROTTLE.refusal()
        await super().set_link(source, destination, fault)

    async def set_limits(self, name: str, limits: Limits) -> None:
        if limits.open_files is None:
            raise embedded_lacking.SHARES.refusal()
        await super().set_limits(name, limits)


class OnContainers(FakeFaults):
    """A world that lacks what containers lack."""

    commands = docker_lacking.COMMANDS
    intruders = docker_lacking.INTRUDERS
    grants = docker_lacking.GRANTS
    indexes = docker_lacking.INDEXES
    messages = docker_lacking.MESSAGES
    consumers = docker_lacking.CONSUMERS

    async def set_limits(self, name: str, limits: Limits) -> None:
        if limits.open_files is not None:
            raise docker_lacking.DESCRIPTORS.refusal()
        await super().set_limits(name, limits)


WORLDS: dict[Platform, type[FakeFaults]] = {"embedded": OnProcesses, "docker": OnContainers}


def adapters(folder: Path) -> list[tuple[Platform, FaultPort]]:
    remote = RemoteFaults("http://127.0.0.1:1", folder / "token")
    return [("embedded", EmbeddedFaults(folder)), ("docker", remote)]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ONLY_CONTAINERS)
async def test_a_limit_of_containers_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotOnThisPlatformError, match=r"the embedded platform cannot do this: .*; use the docker"):
        await ONLY_CONTAINERS[name](EmbeddedFaults(tmp_path))


def test_every_adapter_offers_what_its_platform_has_and_refuses_the_rest_by_name(tmp_path: Path) -> None:
    for platform, port in adapters(tmp_path):
        for part in PARTS:
            found = getattr(port, part)
            assert isinstance(found, Lacking) is (part not in OFFERED[platform]), f"{part} on {platform}"
            if isinstance(found, Lacking):
                with pytest.raises(NotOnThisPlatformError, match=rf"^the {platform} platform cannot do this: .+; use"):
                    here(found)


def test_the_proxy_passes_on_what_its_adapter_has_and_nothing_else() -> None:
    for part in ("commands", "intruders", "grants", "indexes", "messages", "consumers"):
        assert getattr(DockerFaults, part) is getattr(RemoteFaults, part)
    assert {verb.part for verb in FAULT_VERBS.values()} == {"", *OFFERED["docker"]}
    assert "fault.set_command" not in FAULT_VERBS


@pytest.mark.asyncio
@pytest.mark.parametrize("platform", WORLDS)
@pytest.mark.parametrize(
    "fault",
    [fault for fault in FAULTS.values() if fault.targets != ("shop-cache",) or fault.name == "disk_full"],
    ids=lambda f: f.name,
)
async def test_a_fault_needs_nothing_that_its_platforms_lack(platform: Platform, fault: Fault) -> None:
    world = World(WORLDS[platform](), shop_inventory(), platform)
    spec = Spec(fault.name, fault.targets[0])
    if platform in fault.platforms or fault.name in NOT_TRIED_THERE:
        await fault.inject(world, spec)
        assert (await fault.evidence(world, spec)).present
        await fault.heal(world, spec)
        assert not (await fault.evidence(world, spec)).present
    else:
        with pytest.raises(NotOnThisPlatformError, match=f"the {platform} platform cannot do this"):
            await fault.inject(world, spec)


def test_the_proxies_of_links_know_no_throttle() -> None:
    with pytest.raises(ValueError, match="mode must be one of"):
        parse_fault({"mode": "throttle", "rate_kbit": 8.0})
