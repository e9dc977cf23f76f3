"""CPU hog: processes in the workload's scope that burn every core they get."""

from __future__ import annotations

from collections.abc import Mapping

from broker.contracts.plan import FaultClass
from injector.fault import Bounds, Evidence, Fault, Spec, World


class CpuHog(Fault):
    """Spec 7: push the CPU up with processes that do nothing but burn it."""

    name = "cpu_hog"
    summary = "foreign processes in the workload's scope burn CPU"
    fault_class: FaultClass = "cpu_saturation"
    targets: tuple[str, ...] = ("catalog", "orders", "gateway", "fulfilment")
    arguments: Mapping[str, Bounds] = {"processes": (2.0, 1.0, 16.0)}

    async def inject(self, world: World, spec: Spec) -> None:
        await world.port.hog(spec.target, int(self.number(spec, "processes")))

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        count = await world.port.hogs(spec.target)
        return Evidence(count > 0, f"foreign processes in the scope of {spec.target} that burn CPU: {count}")

    async def heal(self, world: World, spec: Spec) -> None:
        await world.port.unhog(spec.target)
