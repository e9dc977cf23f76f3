"""What /metrics shows of the platform proxy. Labels come from closed sets: clients, verbs, outcomes."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class ProxyMetrics:
    """Counters in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.calls = Counter(
            "triage_platform_calls_total",
            "Calls, by client, verb and outcome (ok, or the kind of the error).",
            ["client", "verb", "outcome"],
            registry=registry,
        )
        self.refused = Counter(
            "triage_platform_refused_total", "Calls that nobody may make.", ["client", "verb"], registry=registry
        )
        self.seconds = Histogram(
            "triage_platform_call_duration_seconds",
            "From a call's arrival to its answer.",
            ["verb"],
            registry=registry,
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )
        self.events = Counter(
            "triage_platform_events_total", "Events of workloads, by what happened.", ["happening"], registry=registry
        )
        self.engine_up = Gauge("triage_platform_engine_up", "1 if the Docker engine answers.", registry=registry)
        self.devices = Gauge("triage_platform_devices", "Workloads in the inventory.", registry=registry)
