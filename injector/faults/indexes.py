"""An import leaves a table grown and without the index that the shop's statements need."""

from __future__ import annotations

from broker.contracts.plan import FaultClass
from injector.fault import PROCESSES, Evidence, Fault, Platform, Spec, World
from services.platform.fault_port import here


class DroppedIndex(Fault):
    """Dropped for a bulk import and forgotten: every new order reads the whole table for the customer's earlier one."""

    name = "dropped_index"
    summary = "an index was dropped for an import and forgotten; each checkout reads the whole table and takes too long"
    fault_class: FaultClass = "config_drift"
    targets: tuple[str, ...] = ("shop-db",)
    platforms: tuple[Platform, ...] = PROCESSES

    async def inject(self, world: World, spec: Spec) -> None:
        await here(world.port.indexes).drop_index(spec.target)

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        """Ask the database which indexes it has."""
        lacking = await here(world.port.indexes).missing_indexes(spec.target)
        return Evidence(bool(lacking), "; ".join(lacking) or f"{spec.target} has its indexes")

    async def heal(self, world: World, spec: Spec) -> None:
        await here(world.port.indexes).restore_indexes(spec.target)
