"""Freezing a workload's processes and letting them go on, until the kernel shows it."""

from __future__ import annotations

import asyncio
import signal

from services.platform.embedded import processes
from services.platform.port import VerbFailedError


async def freeze(name: str, pid: int) -> None:
    """SIGSTOP everything in a workload's process tree.

    Raises:
        VerbFailedError: it is not frozen after 3 s.
    """
    await asyncio.to_thread(processes.signal_tree, pid, signal.SIGSTOP)
    if not await asyncio.to_thread(processes.wait_frozen, pid, True):
        raise VerbFailedError(f"{name} could not be paused")


async def thaw(name: str, pid: int) -> None:
    """SIGCONT everything in it.

    Raises:
        VerbFailedError: it is still frozen after 3 s.
    """
    await asyncio.to_thread(processes.signal_tree, pid, signal.SIGCONT)
    if not await asyncio.to_thread(processes.wait_frozen, pid, False):
        raise VerbFailedError(f"{name} could not be resumed")
