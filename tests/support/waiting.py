"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


async def eventually(condition: Callable[[], Awaitable[bool]], timeout_s: float = 10.0) -> None:
    """Return once the condition holds.

    Raises:
        AssertionError: it does not hold in time. What the condition itself raises counts as "not yet" until then.
    """
    deadline = time.monotonic() + timeout_s
    last: Exception | None = None
    while time.monotonic() < deadline:
        try:
            if await condition():
                return
        except Exception as error:
            last = error
        await asyncio.sleep(0.02)
    raise AssertionError(f"the condition did not hold within {timeout_s:g} s") from last
