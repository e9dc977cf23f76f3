"""A client that takes every connection of a database and gives none back: `python -m injector.intruders.connections`.

Who is connected already would not notice, so others' sessions are ended, as a restart of the database would have done
before such a client comes first.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

from injector.intruders.victim import ready, target
from services.shop.database import Administration, administration, gives_no_more

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
    """Open sessions until the server has no more to give; return those that stand.

    Raises:
        OSError, or the database client's own errors: whatever else keeps a session from being opened, since then not
            all of them are taken.
    """
    taken: list[Administration] = []
    while len(taken) < MOST:
        session = administration(target(), DATABASE)
        try:
            taken.append(await stack.enter_async_context(session))
            await taken[-1].run(f"SET application_name = '{NAME}'")
        except Exception as error:
            if gives_no_more(error):
                break
            raise
    return taken


async def hold() -> None:
    """Hold them until this process is ended, and take what comes free.

    Raises:
        As `take`; also where the server ended a session that was held.
    """
    async with AsyncExitStack() as stack:
        taken = await take(stack)
        while taken:
            others = await taken[0].holds(END_OTHERS)
            more = await take(stack) if others else []
            taken += more
            if not others:
                ready()
            await asyncio.sleep(POLL_S)


def main() -> None:
    """Hold them, or say in one sentence on standard error what failed, and exit with 1."""
    try:
        asyncio.run(hold())
    except Exception as error:
        sys.exit(f"{NAME}: the connections of the database could not be held: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
