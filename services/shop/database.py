"""PostgreSQL as the shop uses it. The only module of the shop that imports asyncpg.

Connections are made when they are needed, so a service starts without its database and finds it again by itself; every
statement has one budget that includes the connecting, so a database that does not answer shows as TimeoutError; a
connection that met a time-out or an operating-system error is thrown away at once, and the server ends a statement that
nobody waits for any more. The check has a connection of its own: that all others are taken by slow statements is not
that the database does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from services.shop.errors import DependencyFailed
from services.shop.settings import DatabaseTarget

MAX_CONNECTIONS = 8
IDLE_S = 60.0
SERVER_GRACE_S = 0.25
"""A statement may run in the server for so long after its client gave it up, seconds: long enough that it is the client
who says first that time is over, and a flood of slow statements does not go on unheard until the server is full."""

Row = Mapping[str, Any]


class Database:
    """A pool of connections to one database, known to its user as the dependency `name`."""

    def __init__(self, name: str, target: DatabaseTarget, application: str) -> None:
        self.name = name
        self._target = target
        self._application = application
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._checking: asyncpg.Pool[asyncpg.Record] | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Keep the connections while inside. Never fails because the database is away."""
        self._pool = await self._new_pool(MAX_CONNECTIONS)
        self._checking = await self._new_pool(1)
        try:
            yield
        finally:
            self._pool.terminate()
            self._checking.terminate()

    async def _new_pool(self, connections: int) -> asyncpg.Pool[asyncpg.Record]:
        return await asyncpg.create_pool(
            host=self._target.host,
            port=self._target.port,
            user=self._target.user,
            password=self._target.password,
            database=self._target.name,
            ssl=False,
            min_size=0,
            max_size=connections,
            max_inactive_connection_lifetime=IDLE_S,
            command_timeout=self._target.budget_s,
            timeout=self._target.budget_s,
            reset=_keep,
            server_settings={
                "application_name": self._application,
                "statement_timeout": str(round((self._target.budget_s + SERVER_GRACE_S) * 1_000)),  # milliseconds
            },
        )

    async def rows(self, statement: str, *arguments: object) -> Sequence[Row]:
        """Return the rows of one statement.

        Raises:
            DependencyFailed: whatever went wrong between here and the database.
        """
        try:
            return await self._fetch(self._pool, statement, arguments)
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise DependencyFailed(self.name, error) from error

    async def check(self) -> None:
        """Raise what the database's client raises unless it answers a query."""
        await self._fetch(self._checking, "SELECT 1", ())

    async def _fetch(
        self, pool: asyncpg.Pool[asyncpg.Record] | None, statement: str, arguments: Sequence[object]
    ) -> Sequence[Row]:
        if pool is None:
            raise RuntimeError("the database was not opened")
        async with asyncio.timeout(self._target.budget_s):
            connection = await pool.acquire()
            try:
                return [dict(row) for row in await connection.fetch(statement, *arguments)]
            except (TimeoutError, OSError, asyncio.CancelledError):
                # Whether it still answers is unknown; the next statement must not find out.
                connection.terminate()
                raise
            finally:
                await pool.release(connection, timeout=self._target.budget_s)


async def _keep(_: object) -> None:
    """Nothing to reset: the shop uses no session state, and a reset would cost every statement a round trip."""


@asynccontextmanager
async def administration(dsn: str, database: str, patience_s: float = 30.0) -> AsyncIterator[Administration]:
    """Connect to one database of a server as its administrator; each statement has `patience_s` seconds."""
    connection = await asyncpg.connect(dsn, database=database, ssl=False, timeout=10.0, command_timeout=patience_s)
    try:
        yield Administration(connection)
    finally:
        await connection.close(timeout=2.0)


def gives_no_more(error: BaseException) -> bool:
    """Tell whether a server refused a connection because it has given away all that it gives."""
    return isinstance(error, asyncpg.TooManyConnectionsError)


class Administration:
    """Statements that prepare a server."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection

    async def run(self, statement: str) -> None:
        """Run statements that take no arguments."""
        await self._connection.execute(statement)

    async def run_quoted(self, template: str, *arguments: str) -> None:
        """Run a statement that cannot take arguments: the server itself quotes them (`%I` names, `%L` literals)."""
        places = ", ".join(f"${number}::text" for number in range(1, len(arguments) + 1))
        await self._connection.execute(
            await self._connection.fetchval(f"SELECT format($f${template}$f$, {places})", *arguments)
        )

    async def holds(self, statement: str, *arguments: object) -> bool:
        """Tell whether a query returns a row."""
        return await self._connection.fetchrow(statement, *arguments) is not None

    async def run_many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for each row."""
        await self._connection.executemany(statement, rows)
