"""PostgreSQL with pgvector: the runbooks' own database, and what the audit shows of past incidents.

The only module of the agents that imports asyncpg. Two databases of one server, one role with the least rights: it
changes rows of `documents` and `passages` in the one, and reads two views of the other (docs/security.md).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager

import asyncpg

from agents.runbook.errors import StoreDownError, StoreRefusedError
from agents.runbook.migrations import migrate
from agents.runbook.passages import Document, Kind, Passage, Ref, Repaired
from agents.runbook.store import ALIKE, MAX_INCIDENTS, RANKED, text_to_embed
from broker.contracts.inventory import Inventory
from broker.contracts.symptoms import Vector, cosine, keys_of, vector
from broker.contracts.telemetry import Telemetry
from broker.errors import SchemaError
from broker.runtime.foreign import Words, translated

CONNECT_S = 3.0
COMMAND_S = 5.0
DATABASE = "runbooks"
_WORDS = Words("the runbooks' database", "refuses the login", StoreDownError, StoreRefusedError, whole=False)

# PostgreSQL's own ranks know nothing of how rare a word is; without that, a long report is ranked by its common words.
_BY_WORDS = """
WITH lexemes AS (
    SELECT DISTINCT lexeme FROM unnest($1::text[]) AS given (word),
           unnest(to_tsvector('simple', word) || to_tsvector('english', word) || to_tsvector('german', word)) AS found
), asked AS (
    SELECT lexeme, (quote_literal(lexeme))::tsquery AS query FROM lexemes WHERE lexeme !~ '[''\\\\]'
), held AS (
    SELECT asked.lexeme, p.document, p.n, ts_rank('{0.1, 0.4, 0.7, 1.0}', p.words, asked.query, 1) AS rank
      FROM asked JOIN passages p ON p.words @@ asked.query
), rare AS (
    SELECT lexeme, ln(1 + ((SELECT count(*) FROM passages) - count(*) + 0.5) / (count(*) + 0.5)) AS rarity
      FROM held GROUP BY lexeme
)
SELECT document, n FROM (
    SELECT document, n, score,
           row_number() OVER (PARTITION BY split_part(document, '/', 1) ORDER BY score DESC, document, n) AS place
      FROM (SELECT document, n, sum(rank * rarity) AS score FROM held JOIN rare USING (lexeme) GROUP BY document, n) s
) placed WHERE place <= $2 ORDER BY score DESC, document, n"""
_BY_VECTOR = """
SELECT document, n FROM (
    SELECT document, n, far,
           row_number() OVER (PARTITION BY split_part(document, '/', 1) ORDER BY far, document, n) AS place
      FROM (SELECT document, n, embedding <=> $2::text::vector AS far FROM passages WHERE embedder = $1) s
) placed WHERE place <= $3 ORDER BY far, document, n"""
_PUT = """
INSERT INTO documents (id, kind, title, fault_class, digest, symptoms, journal_seq) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (id) DO UPDATE SET title = excluded.title, fault_class = excluded.fault_class, digest = excluded.digest,
    symptoms = excluded.symptoms, journal_seq = excluded.journal_seq, stored_at = now()
 WHERE documents.digest <> excluded.digest
RETURNING id"""
_PUT_PASSAGE = """
INSERT INTO passages (document, n, section, body, words) VALUES ($1, $2, $4, $5, runbook_words($3, $4, $5, $2 = 0))"""
_TRIM = """
DELETE FROM documents WHERE kind = 'incident' AND id NOT IN (
    SELECT id FROM documents WHERE kind = 'incident' ORDER BY journal_seq DESC LIMIT $1)"""
_REPAIRED = """
SELECT incident, journal_seq, text, target, fault_class, actions FROM repaired_incidents
 WHERE journal_seq > $1 ORDER BY journal_seq LIMIT $2"""
_LOOKED = "SELECT payload FROM repaired_incident_telemetry WHERE incident = $1 ORDER BY journal_seq LIMIT 2000"


class _Connected:
    """One connection, made when first needed and again after it broke. Not shared between tasks."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._session: asyncpg.Connection | None = None

    async def close(self) -> None:
        """Disconnect; harmless when there is no connection."""
        session, self._session = self._session, None
        if session is not None:
            with translated(asyncpg, _WORDS):
                await session.close(timeout=CONNECT_S)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        with translated(asyncpg, _WORDS):
            if self._session is None or self._session.is_closed():
                self._session = await asyncpg.connect(self._dsn, timeout=CONNECT_S, command_timeout=COMMAND_S)
            session = self._session
            try:
                yield session
            except BaseException:  # a cancelled command leaves its connection in the middle of an answer
                session.terminate()
                raise


class DatabaseStore(_Connected):
    """The store in PostgreSQL; see `store.Store`."""

    async def known(self, kind: Kind) -> dict[str, str]:
        async with self._connection() as session:
            rows = await session.fetch("SELECT id, digest FROM documents WHERE kind = $1", kind)
        return {row["id"]: row["digest"] for row in rows}

    async def put(self, document: Document) -> bool:
        row = (document.id, document.kind, document.title, document.fault_class, document.digest)
        symptoms = json.dumps(dict(document.symptoms), sort_keys=True)
        passages = [
            (document.id, n, document.title, passage.section, passage.text)
            for n, passage in enumerate(document.passages)
        ]
        async with self._connection() as session, session.transaction():
            if await session.fetchval(_PUT, *row, symptoms, document.journal_seq) is None:
                return False
            await session.execute("DELETE FROM passages WHERE document = $1", document.id)
            await session.executemany(_PUT_PASSAGE, passages)
            if document.kind == "incident":
                await session.execute(_TRIM, MAX_INCIDENTS)
        return True

    async def drop(self, ids: Iterable[str]) -> None:
        async with self._connection() as session:
            await session.execute("DELETE FROM documents WHERE id = ANY($1::text[])", list(ids))

    async def documents(self, ids: Iterable[str]) -> dict[str, Document]:
        wanted = list(ids)
        async with self._connection() as session, session.transaction(isolation="repeatable_read", readonly=True):
            rows = await session.fetch("SELECT * FROM documents WHERE id = ANY($1::text[])", wanted)
            parts = await session.fetch(
                "SELECT document, section, body FROM passages WHERE document = ANY($1::text[]) ORDER BY document, n",
                wanted,
            )
        passages: dict[str, list[Passage]] = {}
        for part in parts:
            passages.setdefault(part["document"], []).append(Passage(part["section"], part["body"]))
        return {row["id"]: _document(row, tuple(passages.get(row["id"], ()))) for row in rows}

    async def newest_incident(self) -> int:
        async with self._connection() as session:
            query = "SELECT coalesce(max(journal_seq), 0) FROM documents WHERE kind = 'incident'"
            return int(await session.fetchval(query))

    async def by_words(self, words: Sequence[str], limit: int = RANKED) -> list[Ref]:
        return await self._refs(_BY_WORDS, list(words), limit)

    async def by_vector(self, embedder: str, vector: Sequence[float], limit: int = RANKED) -> list[Ref]:
        return await self._refs(_BY_VECTOR, embedder, _literal(vector), limit)

    async def by_symptoms(self, symptoms: Vector, limit: int = RANKED) -> list[Ref]:
        async with self._connection() as session:
            rows = await session.fetch("SELECT id, symptoms FROM documents WHERE kind = 'incident'")
        alike = {Ref(row["id"], 0): cosine(symptoms, json.loads(row["symptoms"])) for row in rows}
        found = [ref for ref, likeness in alike.items() if likeness >= ALIKE]
        return sorted(found, key=lambda ref: (-alike[ref], ref))[:limit]

    async def unseen(self, embedder: str, limit: int) -> dict[Ref, str]:
        query = "SELECT document, n FROM passages WHERE embedder IS DISTINCT FROM $1 ORDER BY document, n LIMIT $2"
        refs = await self._refs(query, embedder, limit)
        held = await self.documents({ref.document for ref in refs})
        there = [ref for ref in refs if ref.document in held and ref.n < len(held[ref.document].passages)]
        return {ref: text_to_embed(held[ref.document], ref.n) for ref in there}

    async def keep_vectors(self, embedder: str, vectors: Mapping[Ref, Sequence[float]]) -> None:
        query = "UPDATE passages SET embedder = $3, embedding = $4::text::vector WHERE document = $1 AND n = $2"
        rows = [(ref.document, ref.n, embedder, _literal(vector)) for ref, vector in vectors.items()]
        async with self._connection() as session, session.transaction():
            await session.executemany(query, rows)

    async def _refs(self, query: str, *args: object) -> list[Ref]:
        async with self._connection() as session:
            return [Ref(row["document"], row["n"]) for row in await session.fetch(query, *args)]


class AuditRecord(_Connected):
    """Past incidents that were repaired and verified, as the audit's two views tell them."""

    async def repaired_since(self, journal_seq: int, inventory: Inventory, limit: int = 50) -> list[Repaired]:
        """Return those that ended after a journal sequence, oldest first.

        Raises:
            StoreDownError, StoreRefusedError
        """
        async with self._connection() as session:
            rows = await session.fetch(_REPAIRED, journal_seq, limit)
            looked = {row["incident"]: await session.fetch(_LOOKED, row["incident"]) for row in rows}
        return [
            Repaired(
                incident=row["incident"],
                journal_seq=row["journal_seq"],
                text=row["text"],
                target=row["target"],
                fault_class=row["fault_class"],
                actions=tuple((a["type"], a["target"], a["args"]) for a in json.loads(row["actions"])),
                symptoms=vector(_keys(inventory, (item["payload"] for item in looked[row["incident"]]))),
            )
            for row in rows
        ]


async def prepare(admin_dsn: str, role: str, password: str) -> tuple[str, ...]:
    """Make the runbooks' database, its schema and a login role that may only change its rows; return what was applied.

    Args:
        admin_dsn: the server's administrator, in any database of it.

    Raises:
        StoreDownError, StoreRefusedError
    """
    admin = _Connected(admin_dsn)
    try:
        async with admin._connection() as session:
            await _ensure_role(session, role, password)
            if not await session.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", DATABASE):
                await session.execute(f"CREATE DATABASE {DATABASE}")
            await session.execute(f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC")
            await session.execute(f"GRANT CONNECT ON DATABASE {DATABASE} TO {await _quoted(session, role)}")
    finally:
        await admin.close()
    own = _Connected(with_database(admin_dsn, DATABASE))
    try:
        async with own._connection() as session:
            applied = await migrate(session)
            rights = f"SELECT, INSERT, UPDATE, DELETE ON documents, passages TO {await _quoted(session, role)}"
            await session.execute(f"GRANT {rights}")
            return applied
    finally:
        await own.close()


async def let_read(admin_dsn: str, role: str) -> None:
    """Let a login, which is there, read what is searched, and nothing else. After `prepare`.

    Args:
        admin_dsn: the server's administrator, in any database of it.

    Raises:
        StoreDownError, StoreRefusedError: no such role among the reasons.
    """
    own = _Connected(with_database(admin_dsn, DATABASE))
    try:
        async with own._connection() as session:
            quoted = await _quoted(session, role)
            await session.execute(f"GRANT CONNECT ON DATABASE {DATABASE} TO {quoted}")
            await session.execute(f"GRANT SELECT ON documents, passages TO {quoted}")
    finally:
        await own.close()


def with_database(dsn: str, database: str) -> str:
    """Return a connection string `postgresql://user:password@host:port/database` with another database."""
    return f"{dsn.rpartition('/')[0]}/{database}"


async def _ensure_role(session: asyncpg.Connection, role: str, password: str) -> None:
    if not await session.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", role):
        await session.execute(f"CREATE ROLE {await _quoted(session, role)}")
    change = "SELECT format('ALTER ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)"
    await session.execute(await session.fetchval(change, role, password))


async def _quoted(session: asyncpg.Connection, name: str) -> str:
    return str(await session.fetchval("SELECT quote_ident($1)", name))


def _document(row: asyncpg.Record, passages: tuple[Passage, ...]) -> Document:
    return Document(
        id=row["id"],
        kind=row["kind"],
        title=row["title"],
        fault_class=row["fault_class"],
        digest=row["digest"],
        passages=passages,
        symptoms=json.loads(row["symptoms"]),
        journal_seq=row["journal_seq"],
    )


def _literal(vector: Sequence[float]) -> str:
    return f"[{','.join(f'{value:.7g}' for value in vector)}]"


def _keys(inventory: Inventory, payloads: Iterable[str]) -> Iterator[str]:
    """Return what recorded telemetry showed; what this version cannot read shows nothing."""
    for payload in payloads:
        try:
            seen = Telemetry.decode(payload.encode())
        except SchemaError:
            continue
        device = inventory.get(seen.device_id)
        if device is not None:
            answers = seen.metrics.cpu_load is not None or seen.metrics.mem_usage is not None
            yield from keys_of(
                inventory, device, status=seen.status, error_code=seen.error_code, note=seen.note, answers=answers
            )
