"""Breaking the embedded world for real: the injector's side of the adapter."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from services.platform.embedded import lacking, processes
from services.platform.embedded.commands import EmbeddedCommands
from services.platform.embedded.freezing import freeze, thaw
from services.platform.embedded.home import Home, scope_of
from services.platform.embedded.importing import EmbeddedIndexes
from services.platform.embedded.intruders import EmbeddedIntruders
from services.platform.embedded.pausing import EmbeddedConsumers
from services.platform.embedded.poisoning import EmbeddedMessages
from services.platform.embedded.privileges import EmbeddedGrants
from services.platform.embedded.restarts import Restarts
from services.platform.embedded.supervisor import Supervisor
from services.platform.embedded.view import View
from services.platform.embedded.world import Program
from services.platform.fault_port import Limits, LinkFault
from services.platform.links.model import OK
from services.platform.port import VerbFailedError

HOG_MARKER = "TRIAGE_HOG"
"""CPU burners carry this variable beside the scope of their victim."""
MAX_HOGS = 16
HOG_NAME = "triage-hog"
"""Last word of a burner's command line."""
HOG_START_S = 5.0
POLL_S = 0.01
_BURN = "while :; do :; done"


class EmbeddedFaults:
    """Implements `services.platform.fault_port.FaultPort` for the stack under a home.

    No state of its own: every question is answered by looking at the world. Raises the errors of
    `services.platform.port`.
    """

    networks = lacking.NETWORKS
    names = lacking.NAMES
    volumes = lacking.VOLUMES

    def __init__(self, home: Path) -> None:
        self._home = Home(home.resolve())
        self._view = View(self._home)
        self._restarts = Restarts(self._home, self._view)
        self.commands = EmbeddedCommands(self._view, self._restarts)
        self.intruders = EmbeddedIntruders(self._home, self._view)
        self.grants = EmbeddedGrants(self._view)
        self.indexes = EmbeddedIndexes(self._view)
        self.messages = EmbeddedMessages(self._view)
        self.consumers = EmbeddedConsumers(self._view)

    @property
    def _supervisor(self) -> Supervisor:
        return self._view.supervisor

    async def kill(self, name: str) -> None:
        """SIGKILL the whole process tree. Workloads have no restart policy, so it stays down."""
        info = await self._supervisor.program(self._program(name).name)
        if info.pid is not None:
            await asyncio.to_thread(processes.signal_tree, info.pid, signal.SIGKILL)
            await self._supervisor.until_down(name)

    async def stop(self, name: str) -> None:
        """Stop the workload in order, also if it is frozen."""
        async with self._restarts.locked(name):
            await self._restarts.stop(name)

    async def start(self, name: str) -> None:
        """Start the workload with whatever environment it was given last."""
        async with self._restarts.locked(name):
            await self._supervisor.start(name)

    async def freeze(self, name: str) -> None:
        """SIGSTOP every process of the workload."""
        await freeze(name, await self._running(name))

    async def thaw(self, name: str) -> None:
        """SIGCONT every process of the workload; nothing happens if it does not run."""
        info = await self._supervisor.program(self._program(name).name)
        if info.pid is not None:
            await thaw(name, info.pid)

    async def set_environment(self, name: str, changes: dict[str, str]) -> None:
        """Restart the workload with changed variables; nothing happens if it runs with them already."""
        await self._restart_with(name, lambda own: {**own, **changes})

    async def reset_environment(self, name: str) -> None:
        """Restart the workload with its declared environment; nothing happens if it runs with that already."""
        declared = self._program(name).environment
        await self._restart_with(name, lambda _own: declared)

    async def environment(self, name: str) -> dict[str, str]:
        """Return the environment the running process really has.

        Raises:
            VerbFailedError: it does not run.
        """
        pid = await self._running(name)
        found = await asyncio.to_thread(processes.environment_of, pid)
        if found is None:
            raise VerbFailedError(f"{name} ended while its environment was read")
        return found

    async def configured(self, name: str) -> dict[str, str]:
        """Return the variables of its own that the workload has at its next start."""
        return (await self._supervisor.program(self._program(name).name)).environment

    async def set_link(self, source: str, destination: str, fault: LinkFault) -> None:
        """Change what the link does to traffic from `source` to `destination`.

        Raises:
            NotOnThisPlatformError: throttle.
        """
        if fault.mode == "throttle":
            raise lacking.THROTTLE.refusal()
        links = self._view.links
        await links.set(links.named(source, destination), fault)

    async def link(self, source: str, destination: str) -> LinkFault:
        """Return what the link does now."""
        links = self._view.links
        return (await links.all()).get(links.named(source, destination).name, OK)

    async def hog(self, name: str, processes: int) -> None:
        """Bring the number of CPU burners in the workload's scope up to `processes` (1..16).

        They are orphans in a session of their own: they outlive the injector, and `triage down` ends them by the
        stack's marker in their environment.
        """
        if not 1 <= processes <= MAX_HOGS:
            raise VerbFailedError(f"between 1 and {MAX_HOGS} burners, not {processes}")
        self._program(name)
        missing = processes - await self.hogs(name)
        if missing > 0:
            await asyncio.to_thread(_spawn_hogs, {**scope_of(self._home, name), HOG_MARKER: name}, missing)
            await self._until_burning(name, processes)

    async def _until_burning(self, name: str, processes: int) -> None:
        """A process that is just becoming a burner shows no marks for a moment: who counts then starts one too many."""
        deadline = time.monotonic() + HOG_START_S
        while await self.hogs(name) < processes:
            if time.monotonic() > deadline:
                raise VerbFailedError(f"{processes} burners do not run at {name} within {HOG_START_S:g} s")
            await asyncio.sleep(POLL_S)

    async def hogs(self, name: str) -> int:
        """Return how many burners run in the workload's scope."""
        return len([found for found in await asyncio.to_thread(self._find_hogs, name) if _burns(found)])

    async def unhog(self, name: str) -> None:
        """End all burners in the workload's scope."""
        await asyncio.to_thread(lambda: processes.end(self._find_hogs(name), grace_s=0.0))

    async def is_frozen(self, name: str) -> bool:
        """Tell whether the workload's process is stopped by a signal."""
        info = await self._supervisor.program(self._program(name).name)
        return info.pid is not None and await asyncio.to_thread(processes.is_frozen, info.pid)

    async def is_running(self, name: str) -> bool:
        """Tell whether the workload has a process, frozen or not."""
        return (await self._supervisor.program(self._program(name).name)).pid is not None

    async def set_limits(self, name: str, limits: Limits) -> None:
        """Limit the descriptors of the running process.

        Raises:
            NotOnThisPlatformError: processor time or memory. VerbFailedError: it does not run, or may hold fewer.
        """
        if limits.cpu_cores is not None or limits.memory_bytes is not None:
            raise lacking.SHARES.refusal()
        pid = await self._running(name)
        if limits.open_files is not None:
            try:
                await asyncio.to_thread(processes.limit_open_files, pid, limits.open_files)
            except (psutil.Error, ValueError) as error:
                raise VerbFailedError(f"{name} cannot be limited to {limits.open_files} files: {error}") from error

    async def reset_limits(self, name: str) -> None:
        """Let the running process hold what it began with again; nothing happens if it does not run."""
        pid = (await self._supervisor.program(self._program(name).name)).pid
        if pid is None or (await self.limits(name)).open_files is None:
            return
        files = await asyncio.to_thread(processes.inherited_open_files_limit, pid)
        if files is not None:
            await self.set_limits(name, Limits(open_files=files))

    async def limits(self, name: str) -> Limits:
        """Return how many descriptors the running process may hold, if fewer than it began with."""
        pid = (await self._supervisor.program(self._program(name).name)).pid
        if pid is None:
            return Limits()
        now = await asyncio.to_thread(processes.open_files_limit, pid)
        begun = await asyncio.to_thread(processes.inherited_open_files_limit, pid)
        return Limits(open_files=now if now is not None and begun is not None and now < begun else None)

    # -- inside

    def _program(self, name: str) -> Program:
        return self._view.world.program(name)

    async def _running(self, name: str) -> int:
        info = await self._supervisor.program(self._program(name).name)
        if info.pid is None:
            raise VerbFailedError(f"{name} does not run")
        return info.pid

    async def _restart_with(self, name: str, wanted: Callable[[dict[str, str]], dict[str, str]]) -> None:
        """Restart a workload with what `wanted` makes of the variables of its own."""
        async with self._restarts.locked(name):
            info = await self._supervisor.program(name)
            environment = wanted(info.environment)
            if info.environment == environment and info.pid is not None:
                return
            await self._restarts.stop(name)
            await self._supervisor.configure(name, environment)
            if environment == self._program(name).environment:
                await self._supervisor.start(name)
            else:
                await self._supervisor.start_anyhow(name)  # that it ends at once may be the very fault

    def _find_hogs(self, name: str) -> list[psutil.Process]:
        return list(processes.carrying({**scope_of(self._home, name), HOG_MARKER: name}))


def _burns(process: psutil.Process) -> bool:
    """Tell whether a process with a burner's marks has become one; what its shell was told names them too."""
    try:
        words: list[str] = process.cmdline()
        return words[-1:] == [HOG_NAME]
    except psutil.Error:
        return False


def _spawn_hogs(marks: dict[str, str], count: int) -> None:
    shell = shutil.which("sh") or "/bin/sh"
    # The outer shell ends at once; its children are adopted, and nobody has to reap them.
    burner = f'{shell} -c "{_BURN}" {HOG_NAME} >/dev/null 2>&1 </dev/null &'
    subprocess.run(
        [shell, "-c", "\n".join([burner] * count)],
        env={"PATH": os.defpath, **marks},
        cwd="/",
        start_new_session=True,
        check=True,
    )
