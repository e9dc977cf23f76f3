"""A message that its consumer cannot work on: it comes back for ever."""

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
