"""Faults of deployment: a workload is started by another command line than the declared one."""

from __future__ import annotations

import sys
from abc import abstractmethod

from broker.contracts.plan import FaultClass
from injector.fault import PROCESSES, Evidence, Fault, Platform, Spec, World
from services.platform.fault_port import here


class _Command(Fault):
    """Common to what changes a workload's command line and restarts it, as a bad deployment would."""

    fault_class: FaultClass = "config_drift"
    platforms: tuple[Platform, ...] = PROCESSES

    @abstractmethod
    def module(self, spec: Spec) -> str:
        """Return the module that is started instead of the declared one."""

    async def inject(self, world: World, spec: Spec) -> None:
        await here(world.port.commands).set_command(spec.target, self._command(spec))

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        bad = await here(world.port.commands).command(spec.target) == self._command(spec)
        runs = "runs" if await world.port.is_running(spec.target) else "does not run"
        given = "was given" if bad else "was not given"
        return Evidence(bad, f"{spec.target} {given} python -m {self.module(spec)}, and {runs}")

    async def heal(self, world: World, spec: Spec) -> None:
        await here(world.port.commands).reset_command(spec.target)

    def _command(self, spec: Spec) -> tuple[str, ...]:
        return (sys.executable, "-m", self.module(spec))


class BadCommand(_Command):
    """A module that does not exist: Python ends at once, at every start."""

    name = "bad_command"
    summary = "the workload is given a command that cannot work; it ends at once, at every start"
    targets: tuple[str, ...] = ("orders", "catalog", "gateway", "fulfilment")

    def module(self, spec: Spec) -> str:
        return f"services.shop.{spec.target}_server"


class BadVersion(_Command):
    """A build with a bug (`injector/builds/`): it starts, answers its health check and fails its requests."""

    name = "bad_version"
    summary = "a build with a bug is deployed: it starts, and fails every request for a product"
    targets: tuple[str, ...] = ("catalog",)

    def module(self, spec: Spec) -> str:
        return f"injector.builds.{spec.target}"
