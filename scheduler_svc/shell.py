"""What runs beside the scheduler's machine: a watch over orders whose deliveries are used up.

It counts and logs, and says nothing into the journal. The machine needs no word of it: a time-out timer stands beside
every order and ends the attempt in any case, and a message said from here would depend on which instance saw the
advisory first. An order is given up by its timer, which every scheduler decides alike.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter
from structlog.typing import FilteringBoundLogger

from broker.port import Broker
from broker.runtime.process import Context
from broker.subjects import AGENT_KINDS
from broker.tasks import until_any_ends


async def watch_deliveries(context: Context) -> None:
    """Watch on this process's connection until cancelled.

    Raises:
        BrokerDownError: the connection was closed for good.
    """
    await watch(context.broker, context.metrics.registry, context.log)


class DeliveryMetrics:
    """What /metrics shows of the watch."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.used_up = Counter(
            "triage_deliveries_used_up_total",
            "Orders that no worker finished in all their deliveries, of the last day and since.",
            ["kind"],
            registry=registry,
        )
        for kind in AGENT_KINDS:
            self.used_up.labels(kind)


async def watch(broker: Broker, registry: CollectorRegistry, log: FilteringBoundLogger) -> None:
    """Count and log every order that no worker finished in all its deliveries, until cancelled."""
    counter = DeliveryMetrics(registry).used_up
    await until_any_ends(*(_watch(broker, kind, counter, log) for kind in AGENT_KINDS))


async def _watch(broker: Broker, kind: str, counter: Counter, log: FilteringBoundLogger) -> None:
    async for seq in broker.exhausted(f"w-{kind}"):
        counter.labels(kind).inc()
        log.warning("deliveries_used_up", kind=kind, task_seq=seq)
