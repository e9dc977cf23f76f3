"""A role of the database loses a privilege that its service needs."""

from __future__ import annotations

from broker.contracts.plan import FaultClass
from injector.fault import PROCESSES, Evidence, Fault, Platform, Spec, World
from services.platform.fault_port import here

ROLE, PRIVILEGE = "orders", "INSERT"


class PrivilegesRevoked(Fault):
    """Orders may not insert any more: the database answers and refuses every new order by name."""

    name = "privileges_revoked"
    summary = "the database takes the right to insert orders away; every checkout is refused there"
    fault_class: FaultClass = "config_drift"
    targets: tuple[str, ...] = ("shop-db",)
    platforms: tuple[Platform, ...] = PROCESSES

    async def inject(self, world: World, spec: Spec) -> None:
        await here(world.port.grants).revoke(spec.target, ROLE, PRIVILEGE)

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        lacking = await here(world.port.grants).missing_grants(spec.target)
        return Evidence(bool(lacking), "; ".join(lacking) or f"roles of {spec.target} may do what is declared")

    async def heal(self, world: World, spec: Spec) -> None:
        await here(world.port.grants).restore_grants(spec.target)
