"""Ending a background task for certain."""

from __future__ import annotations

import asyncio

CANCEL_AGAIN_S = 0.3


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended.

    A client library may turn a cancellation that meets it while it waits into a time-out of its own; whoever tries
    again after a time-out would then go on for ever.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)
