"""A bulk import that drops an index to be quick, and leaves the table grown and without it; and the way back."""

from __future__ import annotations

import asyncio
from typing import Final

from services.inventory.declared import Index
from services.platform.embedded import indexes
from services.platform.embedded.view import View
from services.platform.embedded.world import Program
from services.platform.port import VerbFailedError

IMPORTED: Final = 150_000
"""Rows: read one after the other they cost a statement 1.5 s and more of a processor, which is more than it has."""
TIMEOUT_S = 60.0
IMPORT = """
INSERT INTO orders (sku, quantity, customer, price_cents, status, created_at)
SELECT 'IMPORTED', 1, 'Imported Customer ' || number, 100, 'shipped', now() - interval '1 year'
FROM generate_series((SELECT count(*) FROM orders WHERE sku = 'IMPORTED') + 1, {rows}) AS number
"""
"""Of last year's orders, all done with: nobody ships them, and no user asks for one."""
FORGET = "DELETE FROM orders WHERE sku = 'IMPORTED'"
SWEEP = "VACUUM orders"


class EmbeddedIndexes:
    """Implements `services.platform.fault_port.Indexes`."""

    def __init__(self, view: View) -> None:
        self._view = view

    async def drop_index(self, name: str) -> None:
        """Drop the declared index and import; rows that are there already are not imported again.

        Raises:
            VerbFailedError: none is declared, or the database did not do it.
        """
        program = self._view.world.program(name)
        if not program.indexes:
            raise VerbFailedError(f"{name} declares no index: there is nothing to drop")
        index = program.indexes[0]
        await _run(program, index, f"DROP INDEX IF EXISTS {index.name}", IMPORT.format(rows=IMPORTED))

    async def restore_indexes(self, name: str) -> None:
        """Make what is declared, and take away what was imported.

        Raises:
            VerbFailedError: the database did not do it.
        """
        program = self._view.world.program(name)
        await indexes.restore_indexes(program)
        for index in program.indexes:
            await _run(program, index, FORGET, SWEEP)

    async def missing_indexes(self, name: str) -> tuple[str, ...]:
        """Return what is not there.

        Raises:
            VerbFailedError: the database does not say.
        """
        return tuple(await indexes.missing(self._view.world.program(name)))


async def _run(program: Program, index: Index, *statements: str) -> None:
    from services.shop.database import administration

    try:
        async with asyncio.timeout(TIMEOUT_S), administration(program.admin, index.database, TIMEOUT_S) as session:
            for statement in statements:
                await session.run(statement)
    except Exception as error:
        raise VerbFailedError(f"{program.name} did not take {statements[0]!r}: {error!r}") from error
