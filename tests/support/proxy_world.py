"""A platform proxy without an engine: its server over a world in memory, reached as its clients reach it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from structlog.testing import LogCapture

from services.platform.docker.events import WorkloadEvent
from services.platform.docker.readings import ContainerRow, Usage
from services.platform.port import UnknownWorkloadError
from services.platform.proxy.client import RemotePlatform
from services.platform.proxy.fault_client import RemoteFaults
from services.platform.proxy.listening import configured
from services.platform.proxy.metrics import ProxyMetrics
from services.platform.proxy.policy import CLIENTS, Client
from services.platform.proxy.server import Server
from services.platform.proxy.tokens import Tokens
from tests.support.waiting import eventually
from tests.support.world import FakeFaults, FakePlatform


@dataclass(frozen=True)
class _Group:
    managed: bool


class ManagedPlatform(FakePlatform):
    """The world in memory, which can say what is managed."""

    async def group(self, name: str) -> _Group:
        if name not in self.workloads:
            raise UnknownWorkloadError(f"no workload is called {name!r}")
        return _Group(self.workloads[name].managed)


class KillableFaults(FakeFaults):
    """Faults in memory, and signals to the control plane."""

    async def kill_role(self, instance: str, signal: str) -> None:
        self.down.add(f"{instance}/{signal}")


@dataclass
class MemoryWorld:
    """What the server serves."""

    platform: Any
    faults: Any = field(default_factory=KillableFaults)
    ready: bool = True
    queue: asyncio.Queue[WorkloadEvent] = field(default_factory=asyncio.Queue)
    closed: bool = False

    async def containers(self) -> tuple[ContainerRow, ...]:
        return (ContainerRow("log-agent-1", "log-agent", None, "log", "running", True, "healthy", 0, 1, 5, 7),)

    async def stats(self, name: str) -> Usage:
        return Usage(0.5, 1_000, None, 3)

    @asynccontextmanager
    async def events(self) -> AsyncIterator[asyncio.Queue[WorkloadEvent]]:
        yield self.queue

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class Proxied:
    """A proxy that listens."""

    url: str
    tokens: Path
    world: MemoryWorld
    metrics: ProxyMetrics
    log: LogCapture

    def token(self, client: Client) -> Path:
        """Return the token file of a client."""
        return self.tokens / f"{client}.token"

    def platform(self, client: Client) -> RemotePlatform:
        """Return the platform as a client sees it."""
        return RemotePlatform(self.url, self.token(client), retry_s=0.2)

    def faults(self, client: Client) -> RemoteFaults:
        """Return the fault port as a client sees it."""
        return RemoteFaults(self.url, self.token(client), retry_s=0.2)

    def counted(self, name: str, **labels: str) -> float:
        """Return a counter's value."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def proxied(folder: Path, world: MemoryWorld) -> AsyncIterator[Proxied]:
    """Serve a world on a free port for the length of a block."""
    for client in CLIENTS:
        (folder / f"{client}.token").write_text(f"{client}-0123456789abcdef\n")
    metrics, capture = ProxyMetrics(), LogCapture()
    log = structlog.wrap_logger(None, processors=[capture])
    app = Server(world, Tokens(folder), metrics, log).app()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = _Quiet(configured(app, grace_s=1))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await eventually(server.has_started)
            yield Proxied(f"http://127.0.0.1:{listener.getsockname()[1]}", folder, world, metrics, capture)
        finally:
            server.should_exit = True
            await task


class _Quiet(uvicorn.Server):
    """Leaves the process's signals alone."""

    async def has_started(self) -> bool:
        return self.started

    def install_signal_handlers(self) -> None:
        """Nothing."""
