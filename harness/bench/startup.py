"""How long `triage up` takes, and what the idle stack holds in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from deploy.embedded.stack import Stack
from harness.bench.figures import Figure

UP_BOUND_S = 12.0
MEMORY_BOUND = 1.2 * 2**30
IDLE_S = 20.0
"""How long the stack is left alone before its memory is read."""


async def measure(stack: Stack, home: Path, say: Callable[[str], None]) -> list[Figure]:
    """Bring a stack up in an empty home, take it down, bring it up again; leave it up."""
    say("triage up in an empty home")
    first = await _up(stack)
    await stack.down()
    say("triage up again")
    second = await _up(stack)
    say("idle memory")
    await asyncio.sleep(IDLE_S)
    memory = (await stack.status()).rss_bytes
    both = f"{first:.1f} s in an empty home, {second:.1f} s again"
    return [
        Figure("`triage up`, packages installed: all healthy", "12 s", both, max(first, second) <= UP_BOUND_S),
        Figure(
            "whole embedded stack, resident memory, idle (shared pages in proportion)",
            "1.2 GiB",
            f"{memory / 2**30:.2f} GiB",
            memory <= MEMORY_BOUND,
        ),
    ]


async def _up(stack: Stack) -> float:
    started = time.perf_counter()
    await stack.up()
    return time.perf_counter() - started
