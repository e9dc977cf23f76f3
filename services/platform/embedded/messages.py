"""What lies in a running queue and breaks its consumer: found, moved aside, and put there (docs/adr/0026).

A message that its consumer cannot work on is never acknowledged, so it lies at the consumer's acknowledgement floor for
as long as it is there, however much is consumed behind it. That is where to look.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.inventory.declared import Messages
from services.platform.embedded.world import Program
from services.platform.port import Drift, VerbFailedError
from services.shop.messages import Announced, breaks

if TYPE_CHECKING:
    from services.shop.queue import Stored

TIMEOUT_S = 8.0
"""A request for each message: a busy machine needs its time, and too little of it would hide the drift."""
LOOK_AT = 32
"""Messages from the floor on that are read; of them only those that break are of interest."""
POISON = b"[" * 100_000
"""Nested deeper than any decoder goes: what a broken serializer makes of an object that refers to itself."""


async def messages_drift(program: Program) -> list[Drift]:
    """Return what lies there and should not; nothing if the queue does not say in time: whether it serves at all is
    told elsewhere."""
    try:
        return await _drift(program)
    except Exception:
        return []


async def unreadable(program: Program) -> list[Drift]:
    """Return the same.

    Raises:
        VerbFailedError: the queue does not say.
    """
    try:
        return await _drift(program)
    except Exception as error:
        raise VerbFailedError(f"{program.name} does not say what lies in it: {error!r}") from error


async def set_aside(program: Program) -> list[str]:
    """Move every such message to where nobody consumes it; returns a sentence for each. Nothing is lost.

    Raises:
        VerbFailedError: the queue did not do it.
    """
    try:
        return [sentence for carried in program.messages for sentence in await _set_aside(program, carried)]
    except Exception as error:
        raise VerbFailedError(f"{program.name} did not set aside what nobody can read: {error!r}") from error


async def poison(program: Program) -> None:
    """Put one message there that its consumer cannot read, unless one lies there.

    Raises:
        VerbFailedError: the queue did not take it.
    """
    from services.shop.queue import administration

    if await unreadable(program):
        return
    try:
        async with asyncio.timeout(TIMEOUT_S), administration(_url(program)) as session:
            for carried in program.messages:
                await session.put(carried.subject, POISON)
    except Exception as error:
        raise VerbFailedError(f"{program.name} did not take a message: {error!r}") from error


async def _drift(program: Program) -> list[Drift]:
    return [
        Drift("messages", f"{carried.subject} {message.seq}", "readable", how)
        for carried in program.messages
        for message, how in await _broken(program, carried)
    ]


async def _broken(program: Program, carried: Messages) -> list[tuple[Stored, str]]:
    from services.shop.queue import administration  # here: only who looks at a queue needs it

    async with asyncio.timeout(TIMEOUT_S), administration(_url(program)) as session:
        found = await session.unfinished(_announced(carried), LOOK_AT)
    return [(message, how) for message in found if (how := breaks(message.payload)) is not None]


async def _set_aside(program: Program, carried: Messages) -> list[str]:
    from services.shop.queue import administration

    broken = await _broken(program, carried)
    async with asyncio.timeout(TIMEOUT_S), administration(_url(program)) as session:
        for message, _ in broken:
            await session.set_aside(_announced(carried), message)
    return [f"message {message.seq} of {carried.subject} moved to {carried.aside}" for message, _ in broken]


def _announced(carried: Messages) -> Announced:
    return Announced(carried.stream, carried.subject, carried.consumer, carried.aside)


def _url(program: Program) -> str:
    return f"nats://{program.host}:{program.port}"
