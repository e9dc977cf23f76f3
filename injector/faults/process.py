"""Faults of whole processes: stopped, killed, hung, and the queue's server stopped."""

from __future__ import annotations

from collections.abc import Mapping

from broker.contracts.plan import FaultClass
from injector.fault import EVERYWHERE, Evidence, Platform, Spec, World

SERVICES = ("orders", "catalog", "gateway", "fulfilment")
SERVERS = ("shop-db", "shop-cache", "shop-mq")


class _Down:
    """Common to what leaves a workload not running."""

    targets: tuple[str, ...] = SERVICES + SERVERS
    arguments: Mapping[str, tuple[float, float, float]] = {}
    platforms: tuple[Platform, ...] = EVERYWHERE

    def truth(self, spec: Spec) -> tuple[str, FaultClass]:
        return spec.target, "process_down"

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        running = await world.port.is_running(spec.target)
        return Evidence(not running, f"{spec.target} {'runs' if running else 'does not run'}")

    async def heal(self, world: World, spec: Spec) -> None:
        await world.port.start(spec.target)


class ServiceStopped(_Down):
    """An orderly stop: connections are refused."""

    name = "service_stopped"
    summary = "the workload is stopped; its callers get connection refused"

    async def inject(self, world: World, spec: Spec) -> None:
        await world.port.stop(spec.target)


class ServiceKilled(_Down):
    """SIGKILL, and nobody brings it back."""

    name = "service_killed"
    summary = "the workload is killed by SIGKILL and stays down"

    async def inject(self, world: World, spec: Spec) -> None:
        await world.port.kill(spec.target)


class QueueStopped(_Down):
    """The message queue's server is stopped."""

    name = "mq_stopped"
    summary = "the shop's message queue is stopped; orders cannot publish"
    targets: tuple[str, ...] = ("shop-mq",)

    async def inject(self, world: World, spec: Spec) -> None:
        await world.port.stop(spec.target)


class ServiceHung:
    """SIGSTOP: connections are accepted by the kernel and never answered."""

    name = "service_hung"
    summary = "the workload is frozen by SIGSTOP; its callers time out"
    targets: tuple[str, ...] = SERVICES + SERVERS
    arguments: Mapping[str, tuple[float, float, float]] = {}
    platforms: tuple[Platform, ...] = EVERYWHERE

    def truth(self, spec: Spec) -> tuple[str, FaultClass]:
        return spec.target, "process_hung"

    async def inject(self, world: World, spec: Spec) -> None:
        await world.port.freeze(spec.target)

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        frozen = await world.port.is_frozen(spec.target)
        return Evidence(frozen, f"{spec.target} is {'frozen' if frozen else 'not frozen'}")

    async def heal(self, world: World, spec: Spec) -> None:
        await world.port.thaw(spec.target)
