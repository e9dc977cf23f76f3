"""The indexes of a running database, compared with what is declared; read and made again as administrator
(docs/adr/0030)."""

from __future__ import annotations

import asyncio

from services.inventory.declared import Index
from services.platform.embedded.world import Program
from services.platform.port import Drift, VerbFailedError

TIMEOUT_S = 8.0
"""For a look. A database whose processors are taken by slow statements answers late, and this is when it is asked."""
MAKING_S = 60.0
"""For making one: it reads the whole table, which may have grown."""
THERE = """
SELECT 1 FROM pg_index WHERE indexrelid = to_regclass($1) AND indrelid = to_regclass($2) AND indisvalid AND indisready
"""


async def indexes_drift(program: Program) -> list[Drift]:
    """Return which are missing; nothing if the database does not say in time: whether it serves at all is told
    elsewhere."""
    try:
        return [Drift("indexes", _named(item), item.keys, "(nothing)") for item in await _missing(program)]
    except Exception:
        return []


async def missing(program: Program) -> list[str]:
    """Return a sentence for each that is missing.

    Raises:
        VerbFailedError: the database does not say.
    """
    try:
        return [f"{_named(item)} is missing" for item in await _missing(program)]
    except Exception as error:
        raise VerbFailedError(f"{program.name} does not say which indexes it has: {error!r}") from error


async def restore_indexes(program: Program) -> list[str]:
    """Make those that are missing; returns a sentence for each.

    Whoever writes into the table waits meanwhile. An index made beside them would be kinder to a shop that works; here
    the statements that need it have taken the processors, and to let them wait is what lets it be made.

    Raises:
        VerbFailedError: the database did not do it.
    """
    from services.shop.database import administration  # here: it costs every agent 10 MB, and few ever need it

    try:
        lacking = await _missing(program)
        for item in lacking:
            async with asyncio.timeout(MAKING_S), administration(program.admin, item.database, MAKING_S) as session:
                await session.run(f"DROP INDEX IF EXISTS {item.name}")  # one that was left half made
                await session.run(item.statement)
    except Exception as error:
        raise VerbFailedError(f"{program.name} did not make its indexes again: {error!r}") from error
    return [f"index {_named(item)} made again" for item in lacking]


async def _missing(program: Program) -> list[Index]:
    from services.shop.database import administration

    found = []
    for item in program.indexes:
        async with asyncio.timeout(TIMEOUT_S), administration(program.admin, item.database) as session:
            if not await session.holds(THERE, item.name, item.table):
                found.append(item)
    return found


def _named(item: Index) -> str:
    return f"{item.name} of {item.table}"
