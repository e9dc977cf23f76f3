"""What the proxy keeps doing by itself: write the inventory, follow the engine's events, remember declarations."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from structlog.typing import FilteringBoundLogger

from broker.subjects import JOURNAL_MAX_AGE_S
from broker.tasks import until_any_ends
from services.platform.docker.adapter import DockerPlatform
from services.platform.docker.events import WorkloadEvent, event_of
from services.platform.docker.faults import DockerFaults
from services.platform.docker.readings import ContainerRow, Signal, Usage
from services.platform.docker.roster import kill_role, roster, start_killed
from services.platform.port import PlatformError
from services.platform.proxy.metrics import ProxyMetrics

REFRESH_S: Final = 5.0
RETRY_S: Final = 1.0
QUEUE: Final = 256
"""Events that a follower may lag behind by; who lags more misses some."""


class WatchedWorld:
    """One project: the adapter, the injector's side of it, its inventory and its events."""

    def __init__(
        self,
        platform: DockerPlatform,
        inventory_file: Path,
        metrics: ProxyMetrics,
        log: FilteringBoundLogger,
        own_id: str | None,
    ) -> None:
        """
        Args:
            own_id: container id of this process, if it lives in one.
        """
        self.platform = platform
        self.faults = _Faults(platform, own_id)
        self._file = inventory_file
        self._metrics = metrics
        self._log = log
        self._written: bytes | None = None
        self._faults_said: tuple[str, ...] = ()
        self._followers: set[asyncio.Queue[WorkloadEvent]] = set()
        self._again = asyncio.Event()
        self._failed = False
        self.engine_up = False

    @property
    def ready(self) -> bool:
        """True once the inventory is written, while the engine answers and nothing unforeseen ended the watch."""
        return self.engine_up and self._written is not None and not self._failed

    async def containers(self) -> tuple[ContainerRow, ...]:
        """Return every container of the project."""
        return await roster(self.platform.engine)

    async def stats(self, name: str) -> Usage:
        """Measure what a workload uses."""
        return await self.platform.stats(name)

    async def open(self) -> None:
        """Finish what a crash left half-done, and forget what is no more: the declarations of services, and effects
        whose orders the journal has dropped, so that nobody can ask for them again.

        Raises:
            PlatformDownError: there is no engine, or it is too old.
        """
        await self.platform.engine.check()
        for sentence in (*await self.platform.engine.mend(), *await self.faults.mend()):
            self._log.warning("mended", text=sentence)
        present = await self.platform.engine.containers()
        for service in self.platform.view.declarations.forget(present):
            self._log.info("declaration_forgotten", workload=service)
        oldest_us = time.time_ns() // 1_000 - JOURNAL_MAX_AGE_S * 1_000_000
        if dropped := await asyncio.to_thread(self.platform.ledger.drop_before, oldest_us):
            self._log.info("effects_dropped", rows=dropped)

    async def close(self) -> None:
        """End every sidecar: nobody could end them after this process, and `docker compose down` does not know them."""
        try:
            for tool in await self.platform.engine.sidecars():
                await self.platform.engine.end_sidecar(tool)
        except PlatformError as error:
            self._log.warning("sidecars_left", error=str(error))

    async def run(self) -> None:
        """Watch until cancelled. Whatever goes wrong is told (`ready`, the log), and does not end it."""
        while True:
            try:
                await until_any_ends(self._keep_fresh(), self._follow())
            except Exception:
                self._failed = True
                self._log.exception("watch_failed")
            await asyncio.sleep(RETRY_S)

    @asynccontextmanager
    async def events(self) -> AsyncIterator[asyncio.Queue[WorkloadEvent]]:
        """Follow events from now on, for the length of a block."""
        queue: asyncio.Queue[WorkloadEvent] = asyncio.Queue(QUEUE)
        self._followers.add(queue)
        try:
            yield queue
        finally:
            self._followers.discard(queue)

    async def refresh(self) -> None:
        """Look at all labels once, and write the inventory if it is another one.

        Raises:
            PlatformError: the engine does not answer. OSError: the file cannot be written.
        """
        found = await self.platform.inventory()
        self._metrics.devices.set(len(found.inventory.devices))
        if found.faults != self._faults_said:
            self._faults_said = found.faults
            for sentence in found.faults:
                self._log.warning("label_ignored", text=sentence)
        text = found.inventory.encode()
        if found.inventory.devices and text != self._written:
            await asyncio.to_thread(_write, self._file, text)
            self._written = text
            self._log.info("inventory_written", devices=len(found.inventory.devices))

    async def _keep_fresh(self) -> None:
        while True:
            self._again.clear()
            try:
                await self.refresh()
                self._set_up(True)
                self._failed = False
            except PlatformError as error:
                self._set_up(False, str(error))
            except OSError as error:
                self._log.error("inventory_not_written", error=str(error))
            try:
                async with asyncio.timeout(REFRESH_S):
                    await self._again.wait()
            except TimeoutError:
                continue

    async def _follow(self) -> None:
        """Pass the engine's events on; come back when it was away."""
        while True:
            try:
                async for raw in self.platform.engine.events():
                    self._again.set()
                    event = event_of(raw)
                    if event is not None:
                        self._tell(event)
            except PlatformError as error:
                self._log.warning("events_lost", error=str(error))
            await asyncio.sleep(RETRY_S)

    def _tell(self, event: WorkloadEvent) -> None:
        self._metrics.events.labels(event.happening).inc()
        for queue in self._followers:
            if not queue.full():
                queue.put_nowait(event)

    def _set_up(self, up: bool, why: str = "") -> None:
        self._metrics.engine_up.set(int(up))
        if up != self.engine_up:
            self.engine_up = up
            self._log.warning("engine_lost", error=why) if not up else self._log.info("engine_found")


class _Faults(DockerFaults):
    """The fault port, and signals to the control plane."""

    def __init__(self, platform: DockerPlatform, own_id: str | None) -> None:
        super().__init__(platform)
        self._own_id = own_id
        self._killed = platform.store / "killed"

    async def kill_role(self, instance: str, signal: Signal) -> None:
        """Signal a container of the control plane (`services.platform.docker.roster.kill_role`)."""
        await kill_role(self._engine, instance, signal, self._own_id, self._killed)

    async def mend(self) -> tuple[str, ...]:
        """Start what was killed and not started again; returns a sentence for each."""
        return await start_killed(self._engine, self._killed)


def _write(path: Path, text: bytes) -> None:
    """Replace a file that everybody may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(0o644)  # whatever the umask is
    draft.replace(path)
