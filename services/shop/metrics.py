"""Prometheus metrics of one shop service, in base units (seconds, bytes), in a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0)


class Metrics:
    """The counters, gauges and histograms every service has."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "shop_requests_total", "Finished requests or messages.", ("operation", "status"), registry=self.registry
        )
        self._failures = Counter(
            "shop_request_failures_total",
            "Finished requests or messages that failed.",
            ("operation",),
            registry=self.registry,
        )
        self._durations = Histogram(
            "shop_request_duration_seconds",
            "Time from a request's arrival to its answer.",
            ("operation",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._errors = Counter(
            "shop_errors_total", "Failures by the name they had.", ("dependency", "error_code"), registry=self.registry
        )
        self._up = Gauge("shop_dependency_up", "1 if the last check passed.", ("dependency",), registry=self.registry)
        self._check = Gauge(
            "shop_dependency_check_seconds", "Time of the last check.", ("dependency",), registry=self.registry
        )
        self._cores = Gauge("shop_scope_cpu_cores", "Cores in use by the service's scope.", registry=self.registry)
        self._memory = Gauge("shop_scope_memory_bytes", "Resident memory of the scope.", registry=self.registry)
        ProcessCollector(registry=self.registry)

    def request(self, operation: str, status: str, seconds: float, *, failed: bool = False) -> None:
        """Count one finished request."""
        self._requests.labels(operation, status).inc()
        # Also when none failed: a ratio needs both series from the first request on.
        self._failures.labels(operation).inc(1 if failed else 0)
        self._durations.labels(operation).observe(seconds)

    def error(self, dependency: str, error_code: str) -> None:
        """Count one failure."""
        self._errors.labels(dependency, error_code).inc()

    def dependency(self, name: str, up: bool, seconds: float) -> None:
        """Note the outcome of a dependency check."""
        self._up.labels(name).set(1.0 if up else 0.0)
        self._check.labels(name).set(seconds)

    def usage(self, cores: float, mem_bytes: int) -> None:
        """Note what the scope uses."""
        self._cores.set(cores)
        self._memory.set(mem_bytes)

    def render(self) -> bytes:
        """Return the exposition text."""
        return generate_latest(self.registry)
