"""`python -m deploy.docker.prepare`: the journal's streams and queues, the tables of audit and runbooks.

It ends before any role starts. Reads its secrets from the volume `prepare`. Run again it changes nothing. Exit code 0:
prepared; 7: a server did not answer in time or refuses, in one sentence on standard error.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from agents.runbook.database import let_read as let_read_runbooks
from agents.runbook.database import prepare as prepare_runbooks
from agents.runbook.errors import StoreDownError as RunbooksDownError
from agents.runbook.errors import StoreError as RunbooksError
from auditor_svc.api import AuditError, StoreDownError, admit_operator, let_read_repaired
from auditor_svc.api import prepare as prepare_audit_store
from broker.errors import BrokerDownError, BrokerError
from broker.jetstream import ensure
from broker.runtime.exits import Exit
from deploy.docker.setup import AUDITOR, OPERATOR, nodes_wanted
from deploy.errors import HomeError, NotReadyError

SECRETS = Path("/run/triage/secrets")
NATS_URL = "nats://nats:4222"
DEADLINE_S = 60.0
RETRY_S = 0.5
RUNBOOKS = "runbooks"

Answer = TypeVar("Answer")


async def prepare(secrets: Path, nats_url: str, replicas: int = 1, deadline_s: float = DEADLINE_S) -> None:
    """Prepare both, side by side.

    Args:
        replicas: how many nodes of the broker keep the journal.
        deadline_s: seconds that a server may take until it answers.

    Raises:
        NotReadyError: one did not. BrokerError, AuditError: one refused.
    """
    admin, auditor, operator, runbooks, dsn = (
        (secrets / name).read_text(encoding="utf-8").strip()
        for name in (
            *("nats-admin.password", "auditor.password", "operator.password", "runbooks.password"),
            "audit-admin.dsn",
        )
    )

    async def databases() -> None:
        await prepare_audit_store(dsn, AUDITOR, auditor)
        await admit_operator(dsn, OPERATOR, operator)
        await prepare_runbooks(dsn, RUNBOOKS, runbooks)
        await let_read_runbooks(dsn, OPERATOR)
        await let_read_repaired(dsn, RUNBOOKS)

    async with asyncio.TaskGroup() as group:
        group.create_task(
            until_answered("the broker", lambda: ensure(nats_url, admin, replicas), BrokerDownError, deadline_s)
        )
        down = (StoreDownError, RunbooksDownError)
        group.create_task(until_answered("the audit database", databases, down, deadline_s))


async def until_answered(
    server: str,
    ask: Callable[[], Awaitable[Answer]],
    down: type[Exception] | tuple[type[Exception], ...],
    deadline_s: float,
) -> Answer:
    """Ask until the server answers; anything but `down` is an answer.

    Raises:
        NotReadyError: the deadline (seconds) passed.
    """
    started = time.monotonic()
    while True:
        try:
            return await ask()
        except down as error:
            if time.monotonic() - started > deadline_s:
                raise NotReadyError(f"{server} did not answer within {deadline_s:g} s: {error}") from error
        await asyncio.sleep(RETRY_S)


def main() -> int:
    """Prepare and return the exit code."""
    try:
        asyncio.run(prepare(SECRETS, NATS_URL, nodes_wanted(os.environ)))
    except ExceptionGroup as failed:
        expected, other = failed.split((NotReadyError, BrokerError, AuditError, RunbooksError))
        if other is not None or expected is None:
            raise
        sys.stderr.write("".join(f"prepare: {error}\n" for error in expected.exceptions))
        return Exit.DEPENDENCY_DOWN
    except HomeError as error:
        sys.stderr.write(f"prepare: {error}\n")
        return Exit.USAGE
    except OSError as error:
        sys.stderr.write(f"prepare: {error}; `setup` writes what is needed\n")
        return Exit.DEPENDENCY_DOWN
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
