"""Faults of a workload's place in the network: taken off it, or without anybody to ask for names."""

from __future__ import annotations

from collections.abc import Mapping

from broker.contracts.plan import FaultClass
from injector.fault import CONTAINERS, Evidence, Platform, Spec, World
from injector.faults.process import SERVERS, SERVICES


class NetworkDisconnected:
    """The container runs and is on no network: nobody can reach it, and its name is not known any more."""

    name = "network_disconnected"
    summary = "the workload is taken off its networks while it runs"
    targets: tuple[str, ...] = SERVICES + SERVERS
    arguments: Mapping[str, tuple[float, float, float]] = {}
    platforms: tuple[Platform, ...] = CONTAINERS

    def truth(self, spec: Spec) -> tuple[str, FaultClass]:
        return spec.target, "network_partition"

    async def inject(self, world: World, spec: Spec) -> None:
        await world.port.disconnect(spec.target)

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        missing = await world.port.disconnected(spec.target)
        where = f"is not on {', '.join(missing)}" if missing else "is on all its networks"
        return Evidence(bool(missing), f"{spec.target} {where}")

    async def heal(self, world: World, spec: Spec) -> None:
        await world.port.reconnect(spec.target)


class DnsBroken:
    """The container's name server does not answer it. Connections that stand go on; new ones cannot be made by name."""

    name = "dns_broken"
    summary = "the workload cannot resolve names any more"
    targets: tuple[str, ...] = ("gateway", "fulfilment", "orders", "catalog")
    arguments: Mapping[str, tuple[float, float, float]] = {}
    platforms: tuple[Platform, ...] = CONTAINERS

    def truth(self, spec: Spec) -> tuple[str, FaultClass]:
        return spec.target, "network_partition"

    async def inject(self, world: World, spec: Spec) -> None:
        await world.port.break_names(spec.target)

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        broken = await world.port.names_broken(spec.target)
        return Evidence(broken, f"what {spec.target} asks its name server {'is dropped' if broken else 'arrives'}")

    async def heal(self, world: World, spec: Spec) -> None:
        await world.port.restore_names(spec.target)
