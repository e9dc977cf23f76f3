"""Metrics and health of one role: an own registry, and a small HTTP server for /metrics and /healthz in a thread.

Base units, few labels: reasons, outcomes and names of checks come from closed sets, never from a message.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from broker.errors import REFUSALS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Registered(Protocol):
    """Whatever keeps its metrics in a registry."""

    @property
    def registry(self) -> CollectorRegistry: ...


class Metrics:
    """The counters that the runtime keeps; a role may add its own to `registry`."""

    def __init__(self, role: str = "", instance: str = "") -> None:
        self.registry = registry = CollectorRegistry()
        self.signed = Counter("triage_envelopes_signed_total", "Envelopes sealed by this process.", registry=registry)
        self.accepted = Counter("triage_envelopes_accepted_total", "Messages the gate let in.", registry=registry)
        self.refused = Counter(
            "triage_envelopes_refused_total", "Messages the gate refused, by name.", ["reason"], registry=registry
        )
        self.commands = Counter(
            "triage_commands_total",
            "Commands of the machine: said, already_there or already_read (another instance said the same), refused.",
            ["outcome"],
            registry=registry,
        )
        self.divergences = Counter(
            "triage_divergences_total", "Decisions that differ from the journal.", registry=registry
        )
        self.machine_faults = Counter(
            "triage_machine_faults_total", "Events a machine could not take and passed over.", registry=registry
        )
        self.work = Counter("triage_work_total", "Orders ended, by outcome.", ["outcome"], registry=registry)
        self.work_seconds = Histogram(
            "triage_work_duration_seconds",
            "From an order's arrival to the end of its handler.",
            registry=registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
        )
        self.redeliveries = Counter(
            "triage_redeliveries_total", "Orders that came for the second time or later.", registry=registry
        )
        self.fenced = Counter(
            "triage_fenced_total", "Results refused because another worker held the claim.", registry=registry
        )
        self.lag = Gauge("triage_host_lag_events", "Messages read and not yet decided upon.", registry=registry)
        # `name`, for Prometheus has an `instance` of its own: the address it scraped.
        build = Gauge("triage_build_info", "Always 1.", ["version", "role", "name"], registry=registry)
        build.labels(_version(), role, instance).set(1)
        for refusal in REFUSALS:
            self.refused.labels(refusal.name)
        ProcessCollector(registry=registry)


def _version() -> str:
    try:
        return version("agentic-triage")
    except PackageNotFoundError:  # run from a bare checkout
        return "unknown"


class Health:
    """What must hold before a role counts as ready: named checks, each true or false. Safe to read from a thread."""

    def __init__(self, role: str = "", instance: str = "") -> None:
        self.role = role
        self.instance = instance
        self._checks: dict[str, bool] = {}
        self._lock = threading.Lock()

    def set(self, check: str, holds: bool) -> None:
        """Say whether a check holds."""
        with self._lock:
            self._checks[check] = holds

    def checks(self) -> dict[str, bool]:
        """Return the checks as they stand now."""
        with self._lock:
            return dict(self._checks)

    def report(self) -> dict[str, object]:
        """Return what /healthz answers."""
        checks = self.checks()
        ready = bool(checks) and all(checks.values())
        return {
            "status": "OK" if ready else "ERROR",
            "role": self.role,
            "instance": self.instance,
            "checks": checks,
        }

    @property
    def ready(self) -> bool:
        """True if every check holds, and there is one."""
        return self.report()["status"] == "OK"


class HealthMetrics(Collector):
    """The checks behind /healthz as a metric."""

    NAME = "triage_health_check"

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """Yield 1 for each check that holds, else 0."""
        family = GaugeMetricFamily(self.NAME, "1 if the check behind /healthz holds, by name.", labels=["check"])
        for check, holds in self._health.checks().items():
            family.add_metric([check], float(holds))
        yield family


class MetricsServer:
    """Serves /metrics and /healthz until `close`."""

    def __init__(self, port: int, metrics: Registered, health: Health, host: str = "127.0.0.1") -> None:
        """
        Args:
            port: 0 takes a free one; see `port` afterwards.
            host: address to listen on.

        Raises:
            OSError: the port is in use, or the address is none of this machine's.
        """
        self._server = ThreadingHTTPServer((host, port), _handler(metrics, health))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving; returns when the port is free again."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(metrics: Registered, health: Health) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, CONTENT_TYPE, generate_latest(metrics.registry))
            elif path == "/healthz":
                report = health.report()
                code = 200 if report["status"] == "OK" else 503
                self._answer(code, "application/json", json.dumps(report).encode())
            else:
                self._answer(404, "text/plain", b"not found\n")

        def _answer(self, code: int, content_type: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are no news."""

    return Handler
