"""How a running queue serves its consumers: compared with the declaration, paused, and brought back (docs/adr/0028).

A pause is kept by the queue's server, so it outlives both the consumer's process and the server's, and a consumer that
subscribes anew does not end it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from services.inventory.declared import Consumer
from services.platform.embedded.world import Program
from services.platform.port import Drift, VerbFailedError
from services.shop.messages import Delivery

if TYPE_CHECKING:
    from services.shop.queue import Administration, Served

TIMEOUT_S = 8.0
"""As for what lies in the queue: too little of it would hide the drift on a busy machine."""
PAUSED_UNTIL: Final = "2100-01-01T00:00:00Z"
"""As far away as the moment of who means "until I am back", and forgets."""


async def consumers_drift(program: Program) -> list[Drift]:
    """Return what is served otherwise than declared; nothing if the queue does not say in time: whether it serves at
    all is told elsewhere."""
    try:
        return await _drift(program)
    except Exception:
        return []


async def paused(program: Program) -> list[str]:
    """Return a sentence for every declared consumer that is paused.

    Raises:
        VerbFailedError: the queue does not say.
    """
    try:
        found = await _served(program)
    except Exception as error:
        raise VerbFailedError(f"{program.name} does not say how it serves its consumers: {error!r}") from error
    return [f"{item.name} is paused until {served.paused_until}" for item, served in found if served.paused_until]


async def pause(program: Program) -> None:
    """Let the queue give its declared consumers nothing.

    Raises:
        VerbFailedError: the queue did not do it.
    """
    from services.shop.queue import administration

    try:
        async with asyncio.timeout(TIMEOUT_S), administration(_url(program)) as session:
            for item in program.consumers:
                await session.pause(item.stream, item.name, PAUSED_UNTIL)
    except Exception as error:
        raise VerbFailedError(f"{program.name} did not pause its consumers: {error!r}") from error


async def restore_consumers(program: Program) -> list[str]:
    """Serve the declared consumers as declared, a pause ended; returns a sentence for each that was served otherwise.

    Raises:
        VerbFailedError: the queue did not do it.
    """
    from services.shop.queue import administration

    try:
        async with asyncio.timeout(TIMEOUT_S), administration(_url(program)) as session:
            return [sentence for item in program.consumers for sentence in await _restore(session, item)]
    except Exception as error:
        raise VerbFailedError(f"{program.name} does not serve its consumers as declared: {error!r}") from error


def differences(declared: Consumer, served: Served) -> list[Drift]:
    """Return how a consumer is served otherwise than declared."""
    pairs = [
        ("subject", declared.subject, served.subject),
        ("ack_wait_s", f"{declared.ack_wait_s:g}", f"{served.delivery.ack_wait_s:g}"),
        ("max_ack_pending", str(declared.max_ack_pending), str(served.delivery.max_ack_pending)),
        ("max_deliver", str(declared.max_deliver), str(served.delivery.max_deliver)),
    ]
    found = [Drift("consumer", f"{declared.name} {name}", wish, real) for name, wish, real in pairs if wish != real]
    if served.paused_until is not None:
        found.append(Drift("consumer", f"{declared.name} paused", "no", f"until {served.paused_until}"))
    return found


async def _drift(program: Program) -> list[Drift]:
    return [item for declared, served in await _served(program) for item in differences(declared, served)]


async def _served(program: Program) -> list[tuple[Consumer, Served]]:
    """Return the declared consumers that have ever consumed; the others are made, as declared, by their first pull."""
    from services.shop.queue import administration  # here: only who looks at a queue needs it

    async with asyncio.timeout(TIMEOUT_S), administration(_url(program)) as session:
        found = [(item, await session.served(item.stream, item.name)) for item in program.consumers]
    return [(item, served) for item, served in found if served is not None]


async def _restore(session: Administration, declared: Consumer) -> list[str]:
    served = await session.served(declared.stream, declared.name)
    done: list[str] = []
    if served is None:
        return done
    wanted = Delivery(declared.ack_wait_s, declared.max_ack_pending, declared.max_deliver)
    if (served.subject, served.delivery) != (declared.subject, wanted):
        await session.serve(declared.stream, declared.name, declared.subject, wanted)
        done.append(f"consumer {declared.name} is served as declared")
    if served.paused_until is not None:
        await session.resume(declared.stream, declared.name)
        done.append(f"consumer {declared.name} resumed")
    return done


def _url(program: Program) -> str:
    return f"nats://{program.host}:{program.port}"
