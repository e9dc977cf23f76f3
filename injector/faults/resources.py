"""Faults of what a workload may use: too little processor time, too little memory, a full volume."""

from __future__ import annotations

from collections.abc import Mapping

from broker.contracts.plan import FaultClass
from injector.fault import CONTAINERS, PROCESSES, Bounds, Evidence, Fault, Platform, Spec, World
from injector.faults.process import SERVICES
from services.platform.fault_port import Limits, here

MEBIBYTE = 1 << 20


class CpuLimit(Fault):
    """The workload may use a fraction of a core: it lives and is late with everything."""

    name = "cpu_limit"
    summary = "the workload's share of the processor is cut while it runs"
    fault_class: FaultClass = "resource_limit"
    targets: tuple[str, ...] = ("gateway", *(name for name in SERVICES if name != "gateway"))
    arguments: Mapping[str, Bounds] = {"cores": (0.05, 0.01, 16.0)}
    platforms: tuple[Platform, ...] = CONTAINERS

    async def inject(self, world: World, spec: Spec) -> None:
        await world.port.set_limits(spec.target, Limits(cpu_cores=self.number(spec, "cores")))

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        cores = (await world.port.limits(spec.target)).cpu_cores
        has = "has no limit of processor time" if cores is None else f"may use {cores:g} cores"
        return Evidence(cores is not None and abs(cores - self.number(spec, "cores")) < 1e-6, f"{spec.target} {has}")

    async def heal(self, world: World, spec: Spec) -> None:
        await world.port.reset_limits(spec.target)


class MemoryLimit(Fault):
    """The workload may use less memory than it needs: the kernel kills it while it starts."""

    name = "memory_limit"
    summary = "the workload is started with too little memory and killed by the kernel"
    fault_class: FaultClass = "resource_limit"
    targets: tuple[str, ...] = ("catalog", *(name for name in SERVICES if name != "catalog"))
    arguments: Mapping[str, Bounds] = {"mebibytes": (24.0, 6.0, 65_536.0)}
    platforms: tuple[Platform, ...] = CONTAINERS

    async def inject(self, world: World, spec: Spec) -> None:
        await world.port.set_limits(spec.target, Limits(memory_bytes=self._bytes(spec)))

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        """The limit is the fault; the kernel's kill follows from it, and again at every start."""
        memory = (await world.port.limits(spec.target)).memory_bytes
        has = "has no limit of memory" if memory is None else f"may use {memory / MEBIBYTE:g} MiB"
        running = await world.port.is_running(spec.target)
        detail = f"{spec.target} {has} and {'runs' if running else 'does not run'}"
        return Evidence(memory == self._bytes(spec), detail)

    async def heal(self, world: World, spec: Spec) -> None:
        await world.port.reset_limits(spec.target)

    def _bytes(self, spec: Spec) -> int:
        return int(self.number(spec, "mebibytes")) * MEBIBYTE


class DescriptorsExhausted(Fault):
    """The process may hold hardly more descriptors than it needs when idle: under load it cannot open what it needs."""

    name = "descriptors_exhausted"
    summary = "the workload may open almost no file or connection more; calls fail with EMFILE"
    fault_class: FaultClass = "resource_limit"
    targets: tuple[str, ...] = ("gateway",)
    arguments: Mapping[str, Bounds] = {"files": (8.0, 4.0, 256.0)}
    platforms: tuple[Platform, ...] = PROCESSES

    async def inject(self, world: World, spec: Spec) -> None:
        await world.port.set_limits(spec.target, Limits(open_files=int(self.number(spec, "files"))))

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        files = (await world.port.limits(spec.target)).open_files
        has = "may hold what it began with" if files is None else f"may hold {files} descriptors"
        return Evidence(files == int(self.number(spec, "files")), f"{spec.target} {has}")

    async def heal(self, world: World, spec: Spec) -> None:
        await world.port.reset_limits(spec.target)


class DiskFull(Fault):
    """A foreign file takes every byte of the cache's small volume: it cannot save, and refuses to change anything.

    Nothing in the catalogue deletes a file. The shop's volume lies in memory, so that a restart, with which the cache
    loses its entries, makes it empty; on a disk no agent could repair this.
    """

    name = "disk_full"
    summary = "a foreign file fills the cache's volume; it refuses writes"
    fault_class: FaultClass = "disk_full"
    targets: tuple[str, ...] = ("shop-cache",)
    platforms: tuple[Platform, ...] = CONTAINERS

    async def inject(self, world: World, spec: Spec) -> None:
        await here(world.port.volumes).fill_volume(spec.target)

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        size = await here(world.port.volumes).filler(spec.target)
        what = f"a foreign file of {size} bytes" if size else "no foreign file"
        return Evidence(size > 0, f"{what} lies in the volume of {spec.target}")

    async def heal(self, world: World, spec: Spec) -> None:
        await here(world.port.volumes).free_volume(spec.target)
