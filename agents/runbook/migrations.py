"""Bringing the schema of the runbooks' database to this package's version: numbered files, each applied once.

Applied files are remembered with their hash; one that was changed afterwards is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from importlib.resources import files
from typing import Any, NamedTuple, Protocol

from agents.runbook.errors import StoreRefusedError

LOCK = 0x7269_6167_6510
"""Advisory lock of migrations."""
_VERSION = """
CREATE TABLE IF NOT EXISTS schema_version (
    name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
)"""


class Session(Protocol):
    """What this module needs of a database connection."""

    async def execute(self, query: str, *args: Any) -> Any: ...

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]: ...

    def transaction(self) -> AbstractAsyncContextManager[Any]: ...


class Migration(NamedTuple):
    """One file of `schema/`."""

    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return sha256(self.sql.encode()).hexdigest()


def migrations() -> tuple[Migration, ...]:
    """Return all migrations of this package, in order."""
    found = (entry for entry in files("agents.runbook.schema").iterdir() if entry.name.endswith(".sql"))
    return tuple(sorted(Migration(entry.name, entry.read_text(encoding="utf-8")) for entry in found))


async def migrate(session: Session) -> tuple[str, ...]:
    """Apply what is missing, all or nothing; return the names of those applied.

    Raises:
        StoreRefusedError: an applied file was changed, or the database is newer than this package.
    """
    async with session.transaction():
        await session.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        await session.execute(_VERSION)
        done = {row["name"]: row["sha256"] for row in await session.fetch("SELECT name, sha256 FROM schema_version")}
        known = {migration.name: migration for migration in migrations()}
        for name, digest in sorted(done.items()):
            if name not in known or known[name].sha256 != digest:
                raise StoreRefusedError(f"the runbooks' database has another migration {name} than this version")
        missing = [migration for name, migration in known.items() if name not in done]
        for migration in missing:
            await session.execute(migration.sql)
            insert = "INSERT INTO schema_version (name, sha256) VALUES ($1, $2)"
            await session.execute(insert, migration.name, migration.sha256)
    return tuple(migration.name for migration in missing)
