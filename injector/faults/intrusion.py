"""Faults by foreign programs in a workload's scope: what somebody started there by hand and forgot."""

from __future__ import annotations

from collections.abc import Mapping

from broker.contracts.plan import FaultClass
from injector.fault import PROCESSES, Bounds, Evidence, Fault, Platform, Spec, World
from services.platform.fault_port import here

PACKAGE = "injector.intruders"


class _Intrusion(Fault):
    """Common to all of them. `module` says what they do."""

    targets: tuple[str, ...] = ("shop-db",)
    platforms: tuple[Platform, ...] = PROCESSES
    module: str
    does: str

    async def inject(self, world: World, spec: Spec) -> None:
        await here(world.port.intruders).intrude(spec.target, self._module, self.words(spec))

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        """The process says itself when its harm is done; whether it lives, the kernel says."""
        count = await here(world.port.intruders).harmful(spec.target, self._module)
        return Evidence(count > 0, f"foreign processes in the scope of {spec.target} that {self.does}: {count}")

    async def heal(self, world: World, spec: Spec) -> None:
        await here(world.port.intruders).expel(spec.target, self._module)

    def words(self, spec: Spec) -> tuple[str, ...]:
        """Return the arguments of the command."""
        return ()

    @property
    def _module(self) -> str:
        return f"{PACKAGE}.{self.module}"


class TableLocked(_Intrusion):
    """A forgotten transaction holds the table of orders: every statement on it waits until its time is over."""

    name = "table_locked"
    summary = "a foreign session holds an exclusive lock on the table of orders; its statements time out"
    fault_class: FaultClass = "config_drift"
    module = "table_lock"
    does = "hold a lock on the table orders"


class ConnectionsExhausted(_Intrusion):
    """A foreign client holds every connection that the database gives: nobody else gets one."""

    name = "connections_exhausted"
    summary = "a foreign client takes every connection of the database; others are refused"
    fault_class: FaultClass = "resource_limit"
    module = "connections"
    does = "hold every connection of the database"


class LoadSpike(_Intrusion):
    """A foreign script asks the front door for the whole range, as fast as it is answered."""

    name = "load_spike"
    summary = "a foreign script floods the gateway with requests; users find no place"
    fault_class: FaultClass = "cpu_saturation"
    targets: tuple[str, ...] = ("gateway",)
    arguments: Mapping[str, Bounds] = {"clients": (100.0, 1.0, 500.0)}
    module = "load"
    does = "send requests without end"

    def words(self, spec: Spec) -> tuple[str, ...]:
        return (str(int(self.number(spec, "clients"))),)
