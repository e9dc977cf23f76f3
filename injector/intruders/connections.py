"""A client that takes every connection of a database and gives none back: `python -m injector.intruders.connections`.

Who is connected already would not notice, so others' sessions are ended, as a restart of the database would have done
before such a client comes first.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from injector.intruders.victim import ready, target
from services.shop.database import Administration, administration

DATABASE = "postgres"
NAME = "report-export"
"""What it calls itself."""
POLL_S = 0.05
MOST = 1_000
END_OTHERS = f"""
SELECT 1 FROM (
    SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND application_name <> '{NAME}'
) AS others WHERE ended
"""  # noqa: S608 - a constant


async def take(stack: AsyncExitStack) -> list[Administration]:
    """Open sessions until the server refuses one; return those that stand."""
    taken: list[Administration] = []
    while len(taken) < MOST:
        session = administration(target(), DATABASE)
        try:
            taken.append(await stack.enter_async_context(session))
            await taken[-1].run(f"SET application_name = '{NAME}'")
        except Exception:  # refused, in whatever words: it has them all
            break
    return taken


async def hold() -> None:
    """Hold them until this process is ended, and take what comes free."""
    async with AsyncExitStack() as stack:
        taken = await take(stack)
        while taken:
            others = await taken[0].holds(END_OTHERS)
            more = await take(stack) if others else []
            taken += more
            if not others:
                ready()
            await asyncio.sleep(POLL_S)


if __name__ == "__main__":
    asyncio.run(hold())
