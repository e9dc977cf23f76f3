"""Faults of a workload's place in the network: taken off it, or without anybody to ask for names."""

from __future__ import annotations

from broker.contracts.plan import FaultClass
from injector.fault import CONTAINERS, Evidence, Fault, Platform, Spec, World
from injector.faults.process import SERVERS, SERVICES
from services.platform.fault_port import here


class NetworkDisconnected(Fault):
    """The container runs and is on no network: nobody can reach it, and its name is not known any more."""

    name = "network_disconnected"
    summary = "the workload is taken off its networks while it runs"
    fault_class: FaultClass = "network_partition"
    targets: tuple[str, ...] = SERVICES + SERVERS
    platforms: tuple[Platform, ...] = CONTAINERS

    async def inject(self, world: World, spec: Spec) -> None:
        await here(world.port.networks).disconnect(spec.target)

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        missing = await here(world.port.networks).disconnected(spec.target)
        where = f"is not on {', '.join(missing)}" if missing else "is on all its networks"
        return Evidence(bool(missing), f"{spec.target} {where}")

    async def heal(self, world: World, spec: Spec) -> None:
        await here(world.port.networks).reconnect(spec.target)


class DnsBroken(Fault):
    """The container's name server does not answer it. Connections that stand go on; new ones cannot be made by name."""

    name = "dns_broken"
    summary = "the workload cannot resolve names any more"
    fault_class: FaultClass = "network_partition"
    targets: tuple[str, ...] = ("gateway", "fulfilment", "orders", "catalog")
    platforms: tuple[Platform, ...] = CONTAINERS

    async def inject(self, world: World, spec: Spec) -> None:
        await here(world.port.names).break_names(spec.target)

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        broken = await here(world.port.names).names_broken(spec.target)
        return Evidence(broken, f"what {spec.target} asks its name server {'is dropped' if broken else 'arrives'}")

    async def heal(self, world: World, spec: Spec) -> None:
        await here(world.port.names).restore_names(spec.target)
