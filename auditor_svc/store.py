"""The audit database: the only module that imports asyncpg, and the only one that writes.

Every method either does all it says or nothing. `StoreDownError` means that the database could not be asked, or that
its answer got lost: `append` may then be called again with the same arguments and writes nothing twice, because it
looks at the chain's head first, under a lock.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from auditor_svc import migrations
from auditor_svc.chain import ACCEPTED, EMPTY, Columns, Head, Row
from auditor_svc.errors import HeadMovedError, StoreDownError, StoreRefusedError
from auditor_svc.projections import TABLES, Fact
from auditor_svc.report import Fault
from broker.contracts.control import Checkpoint
from broker.port import Stored
from broker.runtime.foreign import Words, passing, translated

WRITER_LOCK = 0x7269_6167_6502
"""Advisory lock of whoever extends the chain."""
CONNECT_S = 10.0
COMMAND_S = 60.0
CHUNK = 2_000
"""Rows fetched at a time when a chain is read."""
_COLUMNS = (
    *("number", "journal_seq", "time_us", "subject", "refusal", "envelope", "envelope_hash", "prev_hash", "row_hash"),
    *("sender", "type", "channel", "key_version", "tag", "cause", "nonce", "ttl_s", "payload"),
)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM envelopes"  # noqa: S608 - only our own column names
_WORDS = Words(
    "the audit database", "does not take the address or the user", StoreDownError, StoreRefusedError, whole=True
)
_PROMPT = """(
    SELECT p.prompt FROM llm_prompts p
     WHERE p.run_id = $2 AND p.journal_seq < $1 ORDER BY p.journal_seq DESC LIMIT 1)"""


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written in one transaction."""

    rows: tuple[Row, ...] = ()
    facts: tuple[Fact, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class ScenarioRun:
    """One run of a scenario, as the harness judged it (spec 11: with its seed)."""

    id: str
    scenario: str
    seed: int
    noise: float
    started_at: datetime
    ended_at: datetime
    verdict: str
    score: Mapping[str, Any]
    incident: str | None = None


class Store:
    """One connection to the audit database, made when first needed and again after it broke.

    Not shared between tasks: one writer or one reader.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._session: asyncpg.Connection | None = None

    async def migrate(self) -> tuple[str, ...]:
        """Bring the schema to this version; return what was applied.

        Raises:
            MigrationError, StoreDownError, StoreRefusedError
        """
        async with self._connection() as session:
            return await migrations.migrate(session)

    async def ensure_login(self, role: str, password: str) -> None:
        """Let a database role log in with a password; make the role if it is not there. It owns nothing."""
        async with self._connection() as session:
            if await session.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", role) == 0:
                await session.execute(await session.fetchval("SELECT format('CREATE ROLE %I', $1::text)", role))
            change = "SELECT format('ALTER ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)"
            await session.execute(await session.fetchval(change, role, password))

    async def grant(self, role: str) -> None:
        """Let a database role that owns nothing here read and add rows, and nothing else."""
        async with self._connection() as session:
            quoted = await session.fetchval("SELECT quote_ident($1)", role)
            await session.execute(f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {quoted}")

    async def grant_reading(self, role: str) -> None:
        """Let a database role that owns nothing here read everything and add scenario runs, and nothing else."""
        async with self._connection() as session:
            quoted = await session.fetchval("SELECT quote_ident($1)", role)
            await session.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {quoted}")
            await session.execute(f"GRANT INSERT ON scenario_run TO {quoted}")

    async def grant_views(self, role: str, views: Iterable[str]) -> None:
        """Let a database role read some views, and nothing else here."""
        async with self._connection() as session:
            names = ", ".join([await session.fetchval("SELECT quote_ident($1)", view) for view in views])
            quoted = await session.fetchval("SELECT quote_ident($1)", role)
            await session.execute(f"GRANT SELECT ON {names} TO {quoted}")

    async def head(self) -> Head:
        """Return where the chain ends; its `journal_seq` is the highest of all rows."""
        async with self._connection() as session:
            return await _head(session)

    async def append(self, expected: Head, batch: Batch) -> None:
        """Extend the chain, all or nothing. Called again after a lost answer, it sees that the batch is there.

        Raises:
            HeadMovedError: the chain does not end at `expected` (any more); nothing was written.
            StoreDownError: unknown whether it was written; call again with the same arguments.
        """
        async with self._connection() as session, session.transaction():
            await session.execute("SELECT pg_advisory_xact_lock($1)", WRITER_LOCK)
            head = await _head(session)
            if batch.rows and head.hash == batch.rows[-1].row_hash:
                return
            if (head.rows, head.hash) != (expected.rows, expected.hash):
                raise HeadMovedError(
                    f"the chain ends at row {head.rows}, not at {expected.rows} as this writer left it"
                )
            await _write(session, batch)

    async def rows_from(self, number: int) -> list[Row]:
        """Return the rows numbered `number` and higher, in the order of the journal."""
        return [_row(r) for r in await self.fetch(f"{_SELECT} WHERE number >= $1 ORDER BY journal_seq", number)]

    async def checkpoints(self, *, last: bool = False) -> tuple[Checkpoint, ...]:
        """Return all checkpoints in order, or only the last."""
        order = "DESC LIMIT 1" if last else "ASC"
        query = f"SELECT n, rows, journal_seq, head, signature FROM checkpoints ORDER BY n {order}"  # noqa: S608
        return tuple(Checkpoint(**row) for row in await self.fetch(query))

    async def remembered(self, since_us: int, long_since_us: int) -> list[Stored]:
        """Return accepted messages since a broker time, and those with a long TTL since an earlier one."""
        query = """
            SELECT journal_seq, time_us, subject, envelope FROM envelopes
             WHERE refusal IS NULL AND (time_us >= $1 OR (time_us >= $2 AND ttl_s > 120)) ORDER BY journal_seq"""
        found = await self.fetch(query, since_us, long_since_us)
        return [Stored(r["journal_seq"], r["time_us"], r["subject"], r["envelope"]) for r in found]

    async def record_findings(self, faults: Iterable[Fault]) -> None:
        """Keep what an auditor found wrong when it started."""
        rows = [(fault.kind, fault.journal_seq, fault.sentence) for fault in faults]
        async with self._connection() as session:
            await session.executemany("INSERT INTO findings (kind, journal_seq, sentence) VALUES ($1, $2, $3)", rows)

    async def record_scenario_run(self, run: ScenarioRun) -> None:
        """Keep a scenario's run; a second call with the same id changes nothing."""
        async with self._connection() as session:
            await session.execute(
                """INSERT INTO scenario_run (id, scenario, seed, noise, incident, started_at, ended_at, verdict, score)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING""",
                *(run.id, run.scenario, run.seed, run.noise, run.incident, run.started_at, run.ended_at, run.verdict),
                json.dumps(dict(run.score), sort_keys=True),
            )

    async def fetch(self, query: str, *args: Any) -> list[dict[str, Any]]:
        """Return the rows of a reading query."""
        async with self._connection() as session:
            return [dict(row) for row in await session.fetch(query, *args)]

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        """Let everything read inside see the same instant of the database."""
        with translated(asyncpg, _WORDS):
            transaction = (await self._open()).transaction(isolation="repeatable_read", readonly=True)
            await transaction.start()
        try:
            yield
        finally:
            with translated(asyncpg, _WORDS):
                await transaction.rollback()

    async def stream(self) -> AsyncIterator[list[Row]]:
        """Give the chain's rows in the order of the journal, CHUNK at a time. Only inside `snapshot`."""
        async for records in self._pages(f"{_SELECT} ORDER BY journal_seq"):
            yield [_row(record) for record in records]

    async def pages(self, query: str, *args: Any) -> AsyncIterator[list[dict[str, Any]]]:
        """Give the rows of a reading query, CHUNK at a time. Only inside `snapshot`."""
        async for records in self._pages(query, *args):
            yield [dict(record) for record in records]

    async def _pages(self, query: str, *args: Any) -> AsyncIterator[list[asyncpg.Record]]:
        with translated(asyncpg, _WORDS):
            cursor = await (await self._open()).cursor(query, *args)
        while True:
            with translated(asyncpg, _WORDS):
                found = await cursor.fetch(CHUNK)
            if not found:
                return
            yield found

    async def close(self) -> None:
        """Disconnect; harmless when there is no connection."""
        session, self._session = self._session, None
        if session is not None:
            with translated(asyncpg, _WORDS):
                await session.close(timeout=CONNECT_S)

    async def _open(self) -> asyncpg.Connection:
        if self._session is None or self._session.is_closed():
            self._session = await asyncpg.connect(self._dsn, timeout=CONNECT_S, command_timeout=COMMAND_S)
        return self._session

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Give the connection for work that is all ours: every error of the block is the database's."""
        with translated(asyncpg, _WORDS):
            session = await self._open()
            try:
                yield session
            except passing(asyncpg):
                session.terminate()
                raise


async def _head(session: asyncpg.Connection) -> Head:
    found = await session.fetchrow(
        """SELECT number, row_hash, (SELECT max(journal_seq) FROM envelopes) AS seq
             FROM envelopes ORDER BY number DESC LIMIT 1"""
    )
    return EMPTY if found is None else Head(found["number"], found["seq"], found["row_hash"])


async def _write(session: asyncpg.Connection, batch: Batch) -> None:
    records = [_record(row) for row in batch.rows]
    await session.copy_records_to_table("envelopes", records=records, columns=_COLUMNS)
    facts: dict[str, list[Sequence[Any]]] = {}
    for fact in batch.facts:
        facts.setdefault(fact.table, []).append((fact.journal_seq, *fact.values))
    runs = facts.pop("llm_runs", [])
    for table, values in facts.items():
        await session.copy_records_to_table(table, records=values, columns=("journal_seq", *TABLES[table]))
    if runs:
        columns = ("journal_seq", *TABLES["llm_runs"])
        places = ", ".join(f"${i}" for i in range(1, len(columns) + 1))
        names = ", ".join(columns)
        query = f"INSERT INTO llm_runs ({names}, prompt) VALUES ({places}, {_PROMPT})"  # noqa: S608 - our own names
        await session.executemany(query, runs)
    await session.executemany(
        "INSERT INTO checkpoints (n, rows, journal_seq, head, signature) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT (n) DO NOTHING",
        [(c.n, c.rows, c.journal_seq, c.head, c.signature) for c in batch.checkpoints],
    )


def _record(row: Row) -> tuple[Any, ...]:
    refusal = None if row.verdict == ACCEPTED else row.verdict
    hashes = (row.envelope, row.envelope_hash, row.prev_hash, row.row_hash)
    return (row.number, row.journal_seq, row.time_us, row.subject, refusal, *hashes, *(row.columns or (None,) * 9))


def _row(record: Mapping[str, Any] | asyncpg.Record) -> Row:
    number, seq, time_us, subject, refusal, envelope, body, prev, digest, *columns = record.values()
    return Row(number, seq, time_us, subject, refusal or ACCEPTED, envelope, body, prev, digest, Columns(*columns))
