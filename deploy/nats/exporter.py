"""`python -m deploy.nats.exporter http://nats:8222`: the broker's monitoring as Prometheus metrics.

Every two seconds it looks at each server's /varz, /connz and /jsz; /metrics shows the last look, so a server that hangs
makes no scrape hang: it shows `nats_up 0` and nothing else. /healthz is 200 while at least one server answers.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from broker.runtime.metrics import Health, MetricsServer
from deploy.nats.readings import FAMILIES, PATHS, UP, Reading, readings

PERIOD_S = 2.0
TIMEOUT_S = 1.0
"""For each of a server's three answers."""
MAX_BYTES = 4 * 1024 * 1024
MAX_SERVERS = 16
DEFAULT_PORT = 9100


class LastLook(Collector):
    """What the last look showed, as a collector. Safe to read from threads."""

    def __init__(self) -> None:
        self._readings: tuple[Reading, ...] = ()
        self._lock = threading.Lock()

    def set(self, found: tuple[Reading, ...]) -> None:
        """Replace what is shown."""
        with self._lock:
            self._readings = found

    def describe(self) -> Iterator[Metric]:
        """Yield every family, without values."""
        return self._families(())

    def collect(self) -> Iterator[Metric]:
        """Yield every family that has a value."""
        with self._lock:
            found = self._readings
        return (family for family in self._families(found) if family.samples)

    def _families(self, found: tuple[Reading, ...]) -> Iterator[Metric]:
        for family in FAMILIES:
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            metric = kind(family.name, family.help, labels=family.labels)
            for reading in found:
                if reading.family == family.name:
                    metric.add_metric(reading.labels, reading.value)
            yield metric


class Exporter:
    """Looks at servers and keeps what it saw. `servers`: base URL of the monitoring by the name it is shown under."""

    def __init__(self, servers: Mapping[str, str]) -> None:
        self._servers = dict(servers)
        self.registry = CollectorRegistry()
        self.health = Health("nats-exporter", "nats-exporter")
        self.health.set("broker", False)
        self._last = LastLook()
        self.registry.register(self._last)
        self._client = httpx.Client(timeout=TIMEOUT_S, trust_env=False, verify=False)  # noqa: S501 - plain HTTP
        self._pool = ThreadPoolExecutor(len(self._servers), thread_name_prefix="look")

    def look(self) -> None:
        """Look at every server at once. Nothing that goes wrong leaves here."""
        found = list(self._pool.map(self._look_at, self._servers))
        self._last.set(tuple(reading for of_server in found for reading in of_server))
        self.health.set(
            "broker", any(Reading(UP, (name,), 1.0) in of for name, of in zip(self._servers, found, strict=True))
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown()
        self._client.close()

    def _look_at(self, name: str) -> tuple[Reading, ...]:
        try:
            answers = {path: self._get(f"{self._servers[name]}/{path}") for path in PATHS}
        except (httpx.HTTPError, ValueError, RecursionError):
            return (Reading(UP, (name,), 0.0),)
        return (Reading(UP, (name,), 1.0), *readings(name, answers))

    def _get(self, url: str) -> Any:
        """Return the parsed answer.

        Raises:
            httpx.HTTPError: the server is away, slow or answers with an error. ValueError, RecursionError: no JSON.
        """
        with self._client.stream("GET", url) as response:
            response.raise_for_status()
            body = bytearray()
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError("the answer is too long")
        return json.loads(bytes(body))


def named(urls: Sequence[str]) -> dict[str, str]:
    """Return base URLs by host name.

    Raises:
        ValueError: one is no plain HTTP address, two have the same host, or there are none or too many.
    """
    found: dict[str, str] = {}
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{url} is no address like http://nats:8222")
        if parts.hostname in found:
            raise ValueError(f"two servers are called {parts.hostname}")
        found[parts.hostname] = url.rstrip("/")
    if not 0 < len(found) <= MAX_SERVERS:
        raise ValueError(f"name one to {MAX_SERVERS} servers")
    return found


def serve(exporter: Exporter, host: str, port: int, stopping: threading.Event) -> None:
    """Look and serve until `stopping` is set.

    Raises:
        OSError: the port is in use.
    """
    exporter.look()
    server = MetricsServer(port, exporter, exporter.health, host)
    try:
        while not stopping.wait(PERIOD_S):
            exporter.look()
    finally:
        server.close()
        exporter.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; return the exit code: 0, 1 (port taken) or 2 (bad arguments)."""
    parser = argparse.ArgumentParser(prog="nats-exporter", description=__doc__)
    parser.add_argument("urls", nargs="+", metavar="URL", help="where a server's monitoring listens: http://nats:8222")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    given = parser.parse_args(argv)
    try:
        exporter = Exporter(named(given.urls))
    except ValueError as error:
        parser.error(str(error))
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        serve(exporter, given.host, given.port, stopping)
    except OSError as error:
        sys.stderr.write(f"nats-exporter cannot listen on {given.host}:{given.port}: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
