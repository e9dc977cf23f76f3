"""What goes wrong between a queue and its consumer: a message that comes back for ever, a consumer given none."""

from __future__ import annotations

from broker.contracts.plan import FaultClass
from injector.fault import PROCESSES, Evidence, Fault, Platform, Spec, World
from services.platform.fault_port import here


class PoisonMessage(Fault):
    """Nested so deeply that fulfilment's JSON decoder gives up: never acknowledged, delivered again each second."""

    name = "poison_message"
    summary = "a message lies in the queue that breaks its consumer's decoder; it is delivered again and again"
    fault_class: FaultClass = "config_drift"
    targets: tuple[str, ...] = ("shop-mq",)
    platforms: tuple[Platform, ...] = PROCESSES

    async def inject(self, world: World, spec: Spec) -> None:
        await here(world.port.messages).poison(spec.target)

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        """Look at what the queue's consumer is not done with."""
        found = await here(world.port.messages).unreadable(spec.target)
        return Evidence(bool(found), "; ".join(found) or f"the consumer of {spec.target} can read all it has to")

    async def heal(self, world: World, spec: Spec) -> None:
        await here(world.port.messages).set_aside(spec.target)


class StuckConsumer(Fault):
    """Paused at the queue's server by somebody who forgot it: its process is up and well, and is given nothing."""

    name = "stuck_consumer"
    summary = "the queue's consumer was paused and forgotten: it is up and well, is given nothing, and messages pile up"
    fault_class: FaultClass = "config_drift"
    targets: tuple[str, ...] = ("shop-mq",)
    platforms: tuple[Platform, ...] = PROCESSES

    async def inject(self, world: World, spec: Spec) -> None:
        await here(world.port.consumers).pause(spec.target)

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        """Ask the queue's server."""
        found = await here(world.port.consumers).paused(spec.target)
        return Evidence(bool(found), "; ".join(found) or f"no consumer of {spec.target} is paused")

    async def heal(self, world: World, spec: Spec) -> None:
        await here(world.port.consumers).resume(spec.target)
