"""The audit database's schema: the files of `schema/`."""

from __future__ import annotations

from auditor_svc.errors import MigrationError
from broker.errors import SchemaVersionError
from broker.runtime import migrations as shared
from broker.runtime.migrations import Migration, Session

LOCK = 0x7269_6167_6501
"""Advisory lock of migrations."""


def migrations() -> tuple[Migration, ...]:
    """Return all migrations of this package, in order."""
    return shared.migrations_of("auditor_svc.schema")


async def migrate(session: Session) -> tuple[str, ...]:
    """Apply what is missing (`broker.runtime.migrations.migrate`); return the names of those applied.

    Raises:
        MigrationError: an applied file was changed, or the database is newer than this package.
    """
    try:
        return await shared.migrate(session, migrations(), lock=LOCK, database="the audit database")
    except SchemaVersionError as error:
        raise MigrationError(str(error)) from error
