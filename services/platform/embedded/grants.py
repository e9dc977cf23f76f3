"""What the roles of a running database may do, compared with what is declared; read and restored as administrator."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.inventory.declared import Grant
from services.platform.embedded.world import Program
from services.platform.port import Drift, VerbFailedError

TIMEOUT_S = 1.0
MAY = "SELECT 1 WHERE has_table_privilege($1, $2, $3)"


async def grants_drift(program: Program) -> list[Drift]:
    """Return what roles may not do and should; nothing if the database does not say within a second: whether it serves
    at all is told elsewhere."""
    try:
        return await _missing(program)
    except Exception:
        return []


async def missing(program: Program) -> list[Drift]:
    """Return the same.

    Raises:
        VerbFailedError: the database does not say.
    """
    try:
        return await _missing(program)
    except Exception as error:
        raise VerbFailedError(f"{program.name} does not say what its roles may do: {error!r}") from error


async def restore_grants(program: Program) -> list[str]:
    """Give every role what is declared, and take nothing away; returns a sentence for each that lacked something.

    Raises:
        VerbFailedError: the database did not take it.
    """
    try:
        lacking = await _missing(program)
        for grant in program.grants if lacking else ():
            await _run(program, grant.database, grant.statement)
    except Exception as error:
        raise VerbFailedError(f"{program.name} did not restore what its roles may do: {error!r}") from error
    return [f"{item.name} may {item.declared} again" for item in lacking]


async def revoke(program: Program, grant: Grant) -> None:
    """Take these privileges away.

    Raises:
        VerbFailedError: the database did not do it.
    """
    try:
        statement = f"REVOKE {', '.join(grant.privileges)} ON {grant.table} FROM {grant.role}"
        await _run(program, grant.database, statement)
    except Exception as error:
        raise VerbFailedError(f"{program.name} did not take privileges from {grant.role}: {error!r}") from error


async def _missing(program: Program) -> list[Drift]:
    from services.shop.database import administration  # here: it costs every agent 10 MB, and few ever need it

    found = []
    for grant in program.grants:
        async with asyncio.timeout(TIMEOUT_S), administration(program.admin, grant.database) as session:
            may = [name for name in grant.privileges if await session.holds(MAY, grant.role, grant.table, name)]
        if tuple(may) != grant.privileges:
            found.append(Drift("grants", f"{grant.role} on {grant.table}", _said(grant.privileges), _said(may)))
    return found


async def _run(program: Program, database: str, statement: str) -> None:
    from services.shop.database import administration

    async with asyncio.timeout(TIMEOUT_S), administration(program.admin, database) as session:
        await session.run(statement)


def _said(privileges: Sequence[str]) -> str:
    return ", ".join(privileges) or "(nothing)"
