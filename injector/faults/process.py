"""Faults of whole processes: stopped, killed, hung, and the queue's server stopped."""

from __future__ import annotations

from broker.contracts.plan import FaultClass
from injector.fault import Evidence, Fault, Spec, World

SERVICES = ("orders", "catalog", "gateway", "fulfilment")
SERVERS = ("shop-db", "shop-cache", "shop-mq")


class _Down(Fault):
    """Common to what leaves a workload not running."""

    fault_class: FaultClass = "process_down"
    targets: tuple[str, ...] = SERVICES + SERVERS

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


class ServiceHung(Fault):
    """SIGSTOP: connections are accepted by the kernel and never answered."""

    name = "service_hung"
    summary = "the workload is frozen by SIGSTOP; its callers time out"
    fault_class: FaultClass = "process_hung"
    targets: tuple[str, ...] = SERVICES + SERVERS

    async def inject(self, world: World, spec: Spec) -> None:
        await world.port.freeze(spec.target)

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        frozen = await world.port.is_frozen(spec.target)
        return Evidence(frozen, f"{spec.target} is {'frozen' if frozen else 'not frozen'}")

    async def heal(self, world: World, spec: Spec) -> None:
        await world.port.thaw(spec.target)
