"""Ending processes that a command of ours has started: asked first, killed if they do not, and waited for."""

from __future__ import annotations

import asyncio
import subprocess
from asyncio.subprocess import Process
from contextlib import suppress


def end_child(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """End a process; it has ended and is reaped on return.

    Args:
        grace_s: seconds that it has after SIGTERM.
    """
    process.terminate()
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


async def end_child_of_loop(process: Process, grace_s: float) -> None:
    """Do the same with a process of the event loop."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
        with suppress(TimeoutError):  # on a machine that is busy its streams may take longer to end
            await asyncio.wait_for(process.wait(), grace_s)
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
