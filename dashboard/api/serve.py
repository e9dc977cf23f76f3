"""Serves the dashboard for a stack's home, until it is told to end. Bound to loopback unless there is a token."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from broker.errors import SettingsError
from dashboard.api.app import Parts, make_app
from dashboard.api.feed import Feed
from dashboard.api.guard import LOOPBACK, Rules
from dashboard.api.records import Records
from dashboard.api.stack import StackDoor
from deploy.sockets import is_free
from harness.control import ControlPlane, connect
from harness.errors import ConflictError

FAULTS_S = 2.0
"""How often the open faults are looked at, seconds: the command line injects too."""
MIN_TOKEN = 16
"""Shortest token that is taken, in characters."""
GRACE_S = 2


@dataclass(frozen=True, slots=True)
class Place:
    """Where it listens, and who may ask."""

    host: str
    port: int
    token: str | None = None

    @property
    def address(self) -> str:
        """Return what to open in a browser."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.port}/"


def place(host: str, port: int, token_file: Path | None) -> Place:
    """Return a place that is safe to listen at.

    Raises:
        SettingsError: another address than loopback without a token, or a token that cannot be used.
    """
    token = None if token_file is None else _token(token_file)
    if token is None and not _is_loopback(host):
        raise SettingsError(
            f"the dashboard at {host} could be commanded by whoever reaches it; give a token with --token-file, or let "
            "it listen on 127.0.0.1"
        )
    return Place(host, port, token)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _token(file: Path) -> str:
    try:
        if file.stat().st_mode & 0o077:
            raise SettingsError(f"the token file {file} can be read by others; make it private with: chmod 600 {file}")
        token = (file.read_text(encoding="utf-8").splitlines() or [""])[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the token file {file} cannot be read: {getattr(error, 'strerror', error)}") from error
    if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable():
        raise SettingsError(f"the token in {file} must have at least {MIN_TOKEN} ASCII characters and no spaces around")
    return token


def rules(where: Place) -> Rules:
    """Return how the door is set for a place."""
    if where.token is not None:
        return Rules(where.token, None)
    return Rules(None, LOOPBACK | {f"[{where.host}]" if ":" in where.host else where.host})


async def serve(home: Path, where: Place, ready: Callable[[str], None] = lambda _address: None) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is told the address once it answers.

    Raises:
        ConflictError: the port is taken.
    """
    if where.port and not is_free(where.port):
        raise ConflictError(f"port {where.port} is in use, perhaps by another dashboard; choose one with --port")
    stack = StackDoor(home)

    def open_() -> AbstractAsyncContextManager[ControlPlane]:
        return connect(home, sender="dashboard")

    feed = Feed(open_, stack.identity)
    app = make_app(Parts(feed, Records(stack.audit_dsn), stack, rules(where)))
    server = server_of(app, where)
    tasks = [asyncio.create_task(feed.run()), asyncio.create_task(watch_faults(feed, stack))]
    try:
        await _serve(server, feed, where, ready)
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def server_of(app: object, where: Place) -> Server:
    """Return a server that is not started yet."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]  # a plain ASGI application
        host=where.host,
        port=where.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=256,
        lifespan="off",
    )
    return Server(config)


class Server(uvicorn.Server):
    """Leaves signals to us (uvicorn would raise them again when it has ended), and tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(server: Server, feed: Feed, where: Place, ready: Callable[[str], None]) -> None:
    loop = asyncio.get_running_loop()

    def end() -> None:
        feed.close()
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    serving = asyncio.create_task(server.serve())
    try:
        await asyncio.wait({serving, asyncio.create_task(server.up.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if server.started:
            port = server.servers[0].sockets[0].getsockname()[1]
            ready(Place(where.host, port).address)
        await serving
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def watch_faults(feed: Feed, stack: StackDoor) -> None:
    """Tell the pages when the open faults changed, whoever injected or healed."""
    before = await asyncio.to_thread(stack.open_faults)
    while True:
        await asyncio.sleep(FAULTS_S)
        now = await asyncio.to_thread(stack.open_faults)
        if now != before:
            feed.notify("faults")
            before = now
