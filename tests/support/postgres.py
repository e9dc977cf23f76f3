"""A real PostgreSQL server from the wheel, on a free port and in its own directory; one database per test."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from deploy.embedded import postgres, unprivileged
from tests.support.nats_server import free_port

READY_S = 20.0
HOST = "127.0.0.1"
OWNER, PASSWORD = "postgres", "secret"


class PostgresServer:
    """One server process; the same port and data across restarts."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self._data = home / "data"
        self._log = home / "postgres.log"
        self._numbers = itertools.count(1)
        postgres.ensure_cluster(self._data, PASSWORD)
        self._process: subprocess.Popen[bytes] | None = None

    def dsn(self, database: str = "postgres", user: str = OWNER, password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password}@{HOST}:{self.port}/{database}"

    def start(self) -> None:
        """Start and wait until it answers."""
        command = [str(postgres.binary("postgres")), "-D", str(self._data), "-p", str(self.port)]
        # Without fsync a killed server still has all it committed: only a lost machine would not.
        settings = {"listen_addresses": HOST, "unix_socket_directories": "", "shared_buffers": "32MB", "fsync": "off"}
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        if os.geteuid() == 0:
            command = [*_AS_SERVER, *command]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
        deadline = time.monotonic() + READY_S
        while not asyncio.run(_answers(self.dsn())):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"postgres did not start:\n{self._log.read_text()}")
            time.sleep(0.03)

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it: SIGINT breaks all connections, SIGQUIT is a crash. Harmless when it is gone."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None

    def new_database(self) -> str:
        """Make an empty database; return its DSN."""
        name = f"audit{next(self._numbers)}"
        asyncio.run(_execute(self.dsn(), f"CREATE DATABASE {name}"))
        return self.dsn(name)


_AS_SERVER = ("python3", "-I", "-S", str(Path(unprivileged.__file__)), postgres.RUN_AS)


async def _answers(dsn: str) -> bool:
    try:
        await _execute(dsn, "SELECT 1")
    except (OSError, asyncpg.PostgresError):
        return False
    return True


async def _execute(dsn: str, statement: str) -> None:
    session = await asyncpg.connect(dsn, timeout=5)
    try:
        await session.execute(statement)
    finally:
        await session.close()


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A started server for the length of a block, in a short path that its own user may pass."""
    home = Path(tempfile.mkdtemp(prefix="triage-pg-"))
    home.chmod(0o755)
    server = PostgresServer(home)
    server.start()
    try:
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(home, ignore_errors=True)
