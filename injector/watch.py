"""Watching the open faults: which there are, and whether the world still shows them. Changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from structlog.typing import FilteringBoundLogger

from broker.errors import BrokerError
from broker.runtime.metrics import Health
from injector.errors import InjectorError
from injector.injector import Injector
from injector.journal import OpenFault
from services.platform.port import PlatformError

POLL_S = 5.0
"""Looking at a fault of the network takes the engine a third of a second."""
CHECK = "watching"


@dataclass(frozen=True, slots=True)
class Watched:
    """One open fault as the world showed it last; None: it could not be looked at."""

    fault: OpenFault
    shown: bool | None
    detail: str


class WatchHealth(Health):
    """/healthz of the injector's container: beside its checks, every open fault."""

    def __init__(self, role: str, instance: str) -> None:
        super().__init__(role, instance)
        self.watched: tuple[Watched, ...] = ()

    def report(self) -> dict[str, object]:
        """Return what /healthz answers. An open fault is no reason to be unhealthy: it is what the container is for."""
        faults = [
            {
                "id": item.fault.id,
                "state": item.fault.state,
                "since": item.fault.at,
                "shown": item.shown,
                "detail": item.detail,
            }
            for item in self.watched
        ]
        return super().report() | {"faults": faults}


class WatchMetrics(Collector):
    """The injector's metrics, and the registry that holds them."""

    def __init__(self, health: WatchHealth) -> None:
        self._health = health
        self.registry = CollectorRegistry()
        self.failures = Counter(
            "triage_fault_looks_failed_total", "Looks at an open fault that failed.", registry=self.registry
        )
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield one row per kind of fault and target, both from closed lists."""
        opened = GaugeMetricFamily("triage_faults_open", "Faults injected and not healed.", labels=["fault", "target"])
        shown = GaugeMetricFamily("triage_faults_shown", "Those the world shows.", labels=["fault", "target"])
        rows: dict[tuple[str, str], list[Watched]] = {}
        for item in self._health.watched:
            rows.setdefault((item.fault.spec.fault, item.fault.spec.target), []).append(item)
        for labels, items in sorted(rows.items()):
            opened.add_metric(labels, len(items))
            shown.add_metric(labels, sum(item.shown is True for item in items))
        yield opened
        yield shown


async def watch(
    open_injector: Callable[[], Injector],
    health: WatchHealth,
    metrics: WatchMetrics,
    log: FilteringBoundLogger,
    *,
    poll_s: float = POLL_S,
) -> None:
    """Look at the open faults every `poll_s` seconds until cancelled. A world that cannot be looked at is said, and
    looked at again."""
    while True:
        try:
            health.watched = await look(open_injector())
        except (InjectorError, PlatformError, BrokerError, OSError, ValueError) as error:
            health.set(CHECK, False)
            metrics.failures.inc()
            log.warning("world_not_seen", reason=str(error))
        else:
            failed = sum(item.shown is None for item in health.watched)
            metrics.failures.inc(failed)
            health.set(CHECK, not failed)
        await asyncio.sleep(poll_s)


async def look(injector: Injector) -> tuple[Watched, ...]:
    """Return every open fault with what the world shows of it."""
    return tuple([await _look(injector, fault) for fault in injector.open()])


async def _look(injector: Injector, fault: OpenFault) -> Watched:
    try:
        found = await injector.evidence(fault.spec)
    except (InjectorError, PlatformError, OSError) as error:
        return Watched(fault, None, str(error))
    return Watched(fault, found.present, found.detail)
