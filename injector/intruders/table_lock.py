"""A session that locked the table of orders and went for lunch: `python -m injector.intruders.table_lock`."""

from __future__ import annotations

import asyncio

from injector.intruders.victim import ready, target
from services.shop.database import administration


async def hold() -> None:
    """Hold the lock until this process is ended.

    Raises:
        OSError, or the database client's own errors: the server cannot be reached, or ended the session.
    """
    async with administration(target(), "orders") as session:
        await session.run("BEGIN")
        await session.run("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        ready()
        while await session.holds("SELECT pg_sleep(0.2)"):
            pass  # a session that was ended raises


if __name__ == "__main__":
    asyncio.run(hold())
