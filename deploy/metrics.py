"""Writes docs/metrics.md: every metric of every process, made from the registries themselves.

`python -m deploy.metrics` writes the file; `--check` only compares and ends with 1 if the file is out of date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase

from agents.metric.agent import SourceMetrics
from agents.runbook.metrics import RunbookMetrics
from auditor_svc.metrics import AuditMetrics
from broker.runtime.metrics import Health, HealthMetrics
from broker.runtime.metrics import Metrics as RoleMetrics
from dashboard.api.metrics import DashboardMetrics
from deploy.nats.exporter import LastLook
from deploy.nats.readings import FAMILIES, Reading
from injector.watch import WatchHealth, WatchMetrics
from monitor_svc.journal_metrics import JournalMetrics
from monitor_svc.sensors.events import EventMetrics
from monitor_svc.sensors.service import SensorMetrics
from scheduler_svc.shell import DeliveryMetrics
from services.platform.proxy.metrics import ProxyMetrics
from services.shop.metrics import Metrics as ShopMetrics

PATH = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
UNITS: Mapping[str, str] = {
    "_requests_per_second": "requests/s",
    "_seconds": "seconds",
    "_bytes": "bytes",
    "_cores": "cores",
    "_ratio": "0..1",
    "_messages": "messages",
    "_events": "messages",
    "_rows": "messages",
    "_seq": "sequence",
    "_info": "1",
    "_up": "0 or 1",
    "_ok": "0 or 1",
    "_engine_up": "0 or 1",
    "_check": "0 or 1",
    "_halted": "0 or 1",
    "_status": "0, 1 or 2",
}
"""What a name's end says of its unit; what ends otherwise counts things."""
HEAD = """# Metrics

Made from the registries by `python -m deploy.metrics`; do not edit. A test compares.

Every role and every service of the shop serves `/metrics`: embedded on 127.0.0.1, in containers on port 9100 (roles),
8080 (shop), 7000 (platform proxy) and 17480 (dashboard), scraped every 2 s (`deploy/prometheus/prometheus.yml`).
Prometheus adds `service`, the compose service. Units are base units; counters end in `_total` and begin anew with their
process. No incident, task, order, article or customer is ever a label.

The shop's database, cache and queue have no exporter of their own: the sensors measure them by their own protocols
(`triage_device_*`), and what the sensors see is what the control plane acts on.
"""


@dataclass(frozen=True, slots=True)
class Described:
    """One metric as people see it."""

    name: str
    """As it is exposed: a counter's ends in `_total`."""
    kind: str
    help: str
    labels: tuple[str, ...]

    @property
    def unit(self) -> str:
        """Return what it counts or measures in."""
        if self.kind == "counter":
            base = self.name.removesuffix("_total")
            return next((UNITS[end] for end in ("_seconds", "_bytes") if base.endswith(end)), "count")
        return next((unit for end, unit in UNITS.items() if self.name.endswith(end)), "count")


def _every_role(registry: CollectorRegistry) -> None:
    for collector in list(_collectors(RoleMetrics().registry)):
        registry.register(collector)
    health = Health()
    health.set("broker", True)
    registry.register(HealthMetrics(health))


def _shop(registry: CollectorRegistry) -> None:
    for collector in list(_collectors(ShopMetrics().registry)):
        registry.register(collector)


def _sensors(registry: CollectorRegistry) -> None:
    SensorMetrics(registry)
    EventMetrics(registry)


def _platform(registry: CollectorRegistry) -> None:
    for collector in list(_collectors(ProxyMetrics().registry)):
        registry.register(collector)


def _injector(registry: CollectorRegistry) -> None:
    for collector in list(_collectors(WatchMetrics(WatchHealth("injector", "")).registry)):
        registry.register(collector)


def _broker(registry: CollectorRegistry) -> None:
    last = LastLook()
    last.set(tuple(Reading(family.name, family.labels, 0.0) for family in FAMILIES))
    registry.register(last)


def _dashboard(registry: CollectorRegistry) -> None:
    for collector in list(_collectors(DashboardMetrics().registry)):
        registry.register(collector)


SOURCES: Mapping[str, Callable[[CollectorRegistry], object]] = {
    "Every role": _every_role,
    "Monitor: what the journal tells": JournalMetrics,
    "Sensors": _sensors,
    "Scheduler": DeliveryMetrics,
    "Metric agents": SourceMetrics,
    "Runbook agents": RunbookMetrics,
    "Auditor": AuditMetrics,
    "Services of the shop and the load generator": _shop,
    "Platform proxy": _platform,
    "Injector": _injector,
    "Dashboard": _dashboard,
    "Broker (`nats-exporter`)": _broker,
}
"""What registers the metrics of which process."""


def described() -> dict[str, tuple[Described, ...]]:
    """Return all metrics by process, in the order of their names."""
    found = {}
    for title, register in SOURCES.items():
        registry = CollectorRegistry()
        register(registry)
        found[title] = tuple(sorted(_describe(registry), key=lambda item: item.name))
    return found


def _describe(registry: CollectorRegistry) -> Iterator[Described]:
    for collector in _collectors(registry):
        for metric in collector.collect():
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            yield Described(name, metric.type, metric.documentation, _labels(collector, metric))


def _collectors(registry: CollectorRegistry) -> Iterator[MetricWrapperBase]:
    # The library has no public way to what is registered, nor to a metric's labels before its first sample.
    yield from registry._collector_to_names  # type: ignore[misc]


def _labels(collector: object, metric: Metric) -> tuple[str, ...]:
    owner = collector if isinstance(collector, MetricWrapperBase) else metric
    return tuple(getattr(owner, "_labelnames", ()))


def text() -> str:
    """Return the file's text."""
    parts = [HEAD]
    for title, metrics in described().items():
        rows = (
            f"| `{item.name}` | {item.kind} | {item.unit} | {', '.join(item.labels)} | {item.help} |"
            for item in metrics
        )
        parts.append("\n".join((f"## {title}", "", "| name | kind | unit | labels | meaning |", _RULE, *rows, "")))
    return "\n".join(parts)


_RULE = "|---|---|---|---|---|"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the file; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.metrics", description="Write docs/metrics.md.")
    parser.add_argument("--check", action="store_true", help="compare only; 1 if the file is out of date")
    if parser.parse_args(arguments).check:
        if PATH.is_file() and PATH.read_text(encoding="utf-8") == text():
            return 0
        sys.stderr.write("docs/metrics.md is out of date; run `python -m deploy.metrics`\n")
        return 1
    PATH.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
