"""A real nats-server from the wheel, with the generated configuration, on a free port and in its own directory."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

from broker.subjects import BROKER_USERS
from deploy.nats.config import server_binary, server_config, write_config

READY_S = 15.0


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class NatsServer:
    """One server process; the same port and store across restarts."""

    def __init__(self, home: Path, *, max_store_bytes: int | None = None) -> None:
        self.port, self.monitoring_port = free_port(), free_port()
        self.passwords = {user: f"password-of-{user}" for user in BROKER_USERS}
        self._log = home / "nats.log"
        self._config = home / "nats.conf"
        home.mkdir(parents=True, exist_ok=True)
        write_config(
            self._config,
            server_config(
                port=self.port,
                monitoring_port=self.monitoring_port,
                store_dir=home / "store",
                passwords=self.passwords,
                max_store_bytes=max_store_bytes,
            ),
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until JetStream is ready."""
        with self._log.open("ab") as log:
            command = [str(server_binary()), "-c", str(self._config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_S
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nats-server did not start:\n{self._log.read_text()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order; harmless when it is gone."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.monitoring_port}/healthz", timeout=1) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


@contextmanager
def running_server(home: Path, *, max_store_bytes: int | None = None) -> Iterator[NatsServer]:
    """A started server for the length of a block; no streams yet (`broker.jetstream.ensure`)."""
    server = NatsServer(home, max_store_bytes=max_store_bytes)
    server.start()
    try:
        yield server
    finally:
        server.stop()
