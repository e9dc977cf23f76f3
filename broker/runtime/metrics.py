"""Metrics and health of one role: an own registry, and a small HTTP server for /metrics and /healthz in a thread.

Base units, few labels: reasons, outcomes and names of checks come from closed sets, never from a message.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


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
        build = Gauge("triage_build_info", "Always 1.", ["version", "role", "instance"], registry=registry)
        build.labels(_version(), role, instance).set(1)


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

    def report(self) -> dict[str, object]:
        """Return what /healthz answers."""
        with self._lock:
            checks = dict(self._checks)
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


class MetricsServer:
    """Serves /metrics and /healthz on 127.0.0.1 until `close`."""

    def __init__(self, port: int, metrics: Metrics, health: Health) -> None:
        """
        Args:
            port: 0 takes a free one; see `port` afterwards.

        Raises:
            OSError: the port is in use.
        """
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(metrics, health))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving; returns when the port is free again."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(metrics: Metrics, health: Health) -> type[BaseHTTPRequestHandler]:
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
