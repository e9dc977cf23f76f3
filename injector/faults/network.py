"""Faults of one network link between two workloads: partition, latency, dropped connections."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from broker.contracts.plan import FaultClass
from injector.fault import CONTAINERS, Bounds, Evidence, Fault, Platform, Spec, World
from services.inventory.ports import LINKS
from services.platform.fault_port import LinkFault

HEALTHY = LinkFault("ok")
SEEN = {
    "ok": "lets traffic pass",
    "partition": "swallows traffic",
    "refuse": "refuses connections",
    "latency": "delays traffic",
    "drop": "resets a share of new connections",
    "throttle": "throttles traffic",
}
"""What a link in each mode does."""


def ends(target: str) -> tuple[str, str]:
    """Return source and destination of a link's name."""
    source, _, destination = target.partition("--")
    return source, destination


class _Link(Fault):
    """Common to what is done to the traffic of one link."""

    targets: tuple[str, ...] = tuple(f"{source}--{destination}" for source, destination in LINKS)

    def truth(self, spec: Spec) -> tuple[str, FaultClass]:
        return ends(spec.target)[0], self.fault_class

    @abstractmethod
    def fault(self, spec: Spec) -> LinkFault:
        """Return what the link is to do."""

    async def inject(self, world: World, spec: Spec) -> None:
        await world.port.set_link(*ends(spec.target), self.fault(spec))

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        found = await world.port.link(*ends(spec.target))
        return Evidence(found.mode != "ok", f"the link {spec.target} {SEEN[found.mode]}")

    async def heal(self, world: World, spec: Spec) -> None:
        await world.port.set_link(*ends(spec.target), HEALTHY)


class NetworkPartition(_Link):
    """Packets vanish both ways: connections hang until the caller's time-out."""

    name = "network_partition"
    summary = "all traffic between two workloads vanishes"
    fault_class: FaultClass = "network_partition"
    targets = ("orders--shop-db", *(name for name in _Link.targets if name != "orders--shop-db"))

    def fault(self, _spec: Spec) -> LinkFault:
        return LinkFault("partition")


class NetworkLatency(_Link):
    """Every packet is late."""

    name = "network_latency"
    summary = "traffic between two workloads is delayed"
    fault_class: FaultClass = "network_latency"
    arguments: Mapping[str, Bounds] = {"latency_ms": (300.0, 1.0, 10_000.0)}
    targets = ("gateway--orders", *(name for name in _Link.targets if name != "gateway--orders"))

    def fault(self, spec: Spec) -> LinkFault:
        return LinkFault("latency", latency_ms=self.number(spec, "latency_ms"))


class ConnectionsDropped(_Link):
    """Spec 7, "coins": one connection in a hundred is reset."""

    name = "connections_dropped"
    summary = "a share of new connections between two workloads is reset"
    fault_class: FaultClass = "network_loss"
    arguments: Mapping[str, Bounds] = {"ratio": (0.01, 0.001, 1.0), "seed": (1.0, 0.0, 2.0**31)}
    targets = ("gateway--orders", *(name for name in _Link.targets if name != "gateway--orders"))

    def fault(self, spec: Spec) -> LinkFault:
        return LinkFault("drop", drop_ratio=self.number(spec, "ratio"), seed=int(self.number(spec, "seed")))


class NetworkThrottle(_Link):
    """What a workload sends to another one passes at a crawl, as on a line that somebody else fills.

    The default is far below what the shop sends, so the line is full at once and nothing arrives in time: what is to be
    diagnosed is that the one gets no answer from the other.
    """

    name = "network_throttle"
    summary = "traffic from one workload to another is throttled"
    fault_class: FaultClass = "network_partition"
    platforms: tuple[Platform, ...] = CONTAINERS
    arguments: Mapping[str, Bounds] = {"rate_kbit": (16.0, 1.0, 1_000_000.0)}
    targets = ("gateway--catalog", *(name for name in _Link.targets if name != "gateway--catalog"))

    def fault(self, spec: Spec) -> LinkFault:
        return LinkFault("throttle", rate_kbit=self.number(spec, "rate_kbit"))
