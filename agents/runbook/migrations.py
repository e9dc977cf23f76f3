"""The schema of the runbooks' database: the files of `schema/`."""

from __future__ import annotations

from agents.runbook.errors import StoreRefusedError
from broker.errors import SchemaVersionError
from broker.runtime import migrations as shared
from broker.runtime.migrations import Migration, Session

LOCK = 0x7269_6167_6510
"""Advisory lock of migrations."""


def migrations() -> tuple[Migration, ...]:
    """Return all migrations of this package, in order."""
    return shared.migrations_of("agents.runbook.schema")


async def migrate(session: Session) -> tuple[str, ...]:
    """Apply what is missing (`broker.runtime.migrations.migrate`); return the names of those applied.

    Raises:
        StoreRefusedError: an applied file was changed, or the database is newer than this package.
    """
    try:
        return await shared.migrate(session, migrations(), lock=LOCK, database="the runbooks' database")
    except SchemaVersionError as error:
        raise StoreRefusedError(str(error)) from error
