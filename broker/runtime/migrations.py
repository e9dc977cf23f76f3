"""Bringing a database's schema to a package's version: numbered files, each applied once, under one advisory lock.

Applied files are remembered with their hash: a file that was changed after it was applied is refused, since nobody
could say what the database really looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from importlib.resources import files
from typing import Any, NamedTuple, Protocol

from broker.errors import SchemaVersionError

_SCHEMA_VERSION = """
CREATE TABLE schema_version (
    name       text PRIMARY KEY,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""


class Session(Protocol):
    """What this module needs of a database connection."""

    async def execute(self, query: str, *args: Any) -> Any: ...

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]: ...

    def transaction(self) -> AbstractAsyncContextManager[Any]: ...


class Migration(NamedTuple):
    """One numbered file."""

    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Return the SHA-256, hex, of the file's text."""
        return sha256(self.sql.encode()).hexdigest()


def migrations_of(package: str) -> tuple[Migration, ...]:
    """Return the `.sql` files of a package, in the order of their names."""
    found = (entry for entry in files(package).iterdir() if entry.name.endswith(".sql"))
    return tuple(sorted(Migration(entry.name, entry.read_text(encoding="utf-8")) for entry in found))


async def migrate(session: Session, known: tuple[Migration, ...], *, lock: int, database: str) -> tuple[str, ...]:
    """Apply what is missing, each file in a transaction of its own; return the names of those applied.

    A database that is up to date is only read, so that a role without rights on the schema can start on it.

    Args:
        lock: number of the advisory lock; another one for each database of a server.
        database: what it is called in an error's sentence.

    Raises:
        SchemaVersionError: an applied file was changed, or the database is newer than the package. Nothing was applied.
    """
    await session.execute("SELECT pg_advisory_lock($1)", lock)
    try:
        done = await _applied(session)
        _compare(known, done, database)
        missing = [migration for migration in known if migration.name not in done]
        for migration in missing:
            async with session.transaction():
                if migration is known[0]:
                    await session.execute(_SCHEMA_VERSION)
                await session.execute(migration.sql)
                await session.execute(
                    "INSERT INTO schema_version (name, sha256) VALUES ($1, $2)", migration.name, migration.sha256
                )
        return tuple(migration.name for migration in missing)
    finally:
        await session.execute("SELECT pg_advisory_unlock($1)", lock)


async def _applied(session: Session) -> dict[str, str]:
    there = await session.fetch("SELECT to_regclass('schema_version') IS NOT NULL AS there")
    if not there[0]["there"]:
        return {}
    return {row["name"]: row["sha256"] for row in await session.fetch("SELECT name, sha256 FROM schema_version")}


def _compare(known: tuple[Migration, ...], done: dict[str, str], database: str) -> None:
    hashes = {migration.name: migration.sha256 for migration in known}
    for name, digest in sorted(done.items()):
        if name not in hashes:
            raise SchemaVersionError(f"{database} has migration {name}, which this version does not know; update it")
        if hashes[name] != digest:
            raise SchemaVersionError(f"migration {name} was changed after {database} was made with it")
