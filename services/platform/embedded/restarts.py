"""Stopping a workload under its lock, for what gives it something else at its next start."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AbstractAsyncContextManager

from broker.runtime.locks import exclusive
from services.platform.embedded import processes
from services.platform.embedded.home import Home
from services.platform.embedded.view import View


class Restarts:
    """The part of a restart that comes before the start."""

    def __init__(self, home: Home, view: View) -> None:
        self._home = home
        self._view = view

    def locked(self, name: str) -> AbstractAsyncContextManager[None]:
        """Hold the workload's lock: one change at a time, agents' verbs included.

        Raises:
            UnknownWorkloadError: there is no such workload; no lock was made.
        """
        return exclusive(self._home.verb_lock(self._view.world.program(name).name))

    async def stop(self, name: str) -> None:
        """Stop the workload in order, also if it is frozen."""
        info = await self._view.supervisor.program(name)
        if info.pid is not None:
            await asyncio.to_thread(processes.signal_tree, info.pid, signal.SIGCONT)
        await self._view.supervisor.stop(name)
