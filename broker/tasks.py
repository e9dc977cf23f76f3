"""Ending background tasks for certain.

A cancellation asks only once, and may be lost: before Python 3.12 `asyncio.wait_for` returns its result instead of
passing a cancellation on that comes in the very turn of the loop in which the result does, and client libraries turn
one that meets them waiting into a time-out of their own. A task that goes round in a loop then goes on for ever, and so
does whoever waits for it; an `asyncio.TaskGroup` does, as it cancels each of its tasks once only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

CANCEL_AGAIN_S = 0.3


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks until all have ended. What they raised is dropped; whoever wants it has asked before."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        done, waiting = await asyncio.wait(waiting, timeout=CANCEL_AGAIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()  # looked at, so that nothing is said of it at the end of the process


async def until_any_ends(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run all until any returns or raises; the rest is ended and waited for, and what was raised is raised.

    To be used for what runs as long as its process does. Cancelled, it ends all of them.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end(*tasks)
