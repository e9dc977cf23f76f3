"""What the command line, the harness and the dashboard may use of the auditor: verify, export, read, record.

Every function opens its own connection and closes it. All raise `StoreDownError` if the database cannot be reached and
`StoreRefusedError` if it refuses; both are one sentence.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from auditor_svc import checkpoint_file
from auditor_svc.errors import (
    AuditError,
    ExportError,
    HeadMovedError,
    MigrationError,
    StoreDownError,
    StoreRefusedError,
)
from auditor_svc.export import read_checkpoints, read_rows, write_export
from auditor_svc.projection_check import check_projections
from auditor_svc.reading import (
    IncidentStory,
    IncidentSummary,
    LlmRecord,
    LlmRun,
    PlanRecord,
    ResultRecord,
    TaskRecord,
    TimelineEntry,
    plain,
    read_incidents,
    read_llm_records,
    read_llm_runs,
    read_refusals,
    read_scenario_runs,
    read_story,
)
from auditor_svc.reading_journal import (
    AuditedMessage,
    AuditedPlace,
    Repaired,
    read_incident_page,
    read_messages,
    read_place,
    read_repaired,
    read_row_hashes,
)
from auditor_svc.report import Fault, Report
from auditor_svc.store import ScenarioRun, Store
from auditor_svc.verify import Verifier, verify
from broker.contracts.control import Checkpoint

__all__ = [
    "AuditError",
    "AuditedMessage",
    "AuditedPlace",
    "ExportError",
    "Fault",
    "HeadMovedError",
    "IncidentStory",
    "IncidentSummary",
    "LlmRecord",
    "LlmRun",
    "MigrationError",
    "PlanRecord",
    "Repaired",
    "Report",
    "ResultRecord",
    "ScenarioRun",
    "StoreDownError",
    "StoreRefusedError",
    "TaskRecord",
    "TimelineEntry",
    "admit_operator",
    "export",
    "incident_page",
    "incident_story",
    "incidents",
    "let_read_repaired",
    "llm_records",
    "llm_runs",
    "messages",
    "place",
    "plain",
    "prepare",
    "record_scenario_run",
    "refusal_counts",
    "repaired",
    "row_hashes",
    "scenario_runs",
    "verify",
    "verify_database",
    "verify_export",
]

_UNGUARDED = """
    SELECT t.name FROM unnest($1::text[]) AS t (name)
     WHERE NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = to_regclass(t.name) AND g.tgname = 'append_only'
                        AND g.tgenabled IN ('O', 'A')) ORDER BY 1"""
_REPAIRED = ("repaired_incidents", "repaired_incident_telemetry")
"""What the runbook agent learns from (docs/adr/0014)."""
_GUARDED = ("envelopes", "checkpoints", "plans", "tasks", "results", "llm_runs", "incident_reports", "scenario_run")


async def verify_database(
    dsn: str,
    public_key: bytes,
    checkpoints: Path | None = None,
    *,
    journal_checkpoints: Iterable[Checkpoint] = (),
    expected_tail: int | None = None,
) -> Report:
    """Verify the chain in a database, the columns and tables made from it included.

    Args:
        public_key: the auditor's Ed25519 key, 32 bytes (`Keyring.checkpoint_public`).
        checkpoints: the checkpoint file (`<home>/audit-checkpoints.jsonl`); a missing one holds nothing.
        journal_checkpoints: those published in the journal; read them before calling, as `expected_tail`.
        expected_tail: journal sequence that must have been audited by now.
    """
    # Read before the database: what is signed later would look like a missing tail.
    elsewhere = (*journal_checkpoints, *(checkpoint_file.read(checkpoints) if checkpoints is not None else ()))
    async with _opened(dsn) as store, store.snapshot():
        verifier = Verifier(await store.checkpoints(), public_key, journal_checkpoints=elsewhere)
        async for page in store.stream():
            await asyncio.to_thread(verifier.feed, page)
        more = await check_projections(store)
        notes = await _notes(store)
    return await asyncio.to_thread(verifier.finish, expected_tail=expected_tail, more=more, notes=notes)


async def export(dsn: str, path: Path) -> int:
    """Write the chain and its checkpoints to one file for `verify_export` or the standalone verifier; return its rows.

    Raises:
        OSError: the file cannot be written; nothing stands at `path` then.
    """
    async with _opened(dsn) as store:
        return await write_export(store, path)


def verify_export(
    path: Path,
    public_key: bytes,
    *,
    journal_checkpoints: Iterable[Checkpoint] = (),
    expected_tail: int | None = None,
) -> Report:
    """Verify an export.

    Raises:
        ExportError: no export of a known version, damaged, or cut.
        OSError: it cannot be read.
    """
    return verify(
        read_rows(path),
        read_checkpoints(path),
        public_key,
        journal_checkpoints=journal_checkpoints,
        expected_tail=expected_tail,
    )


async def prepare(
    owner_dsn: str, auditor_role: str | None = None, auditor_password: str | None = None
) -> tuple[str, ...]:
    """Bring the schema to this version as its owner, and let `auditor_role` read and add rows; return what was applied.

    An auditor whose own role is not the owner can then neither change the schema nor drop the append-only triggers.

    Args:
        auditor_password: given, the role is made if it is not there, and this becomes its password.
    """
    async with _opened(owner_dsn) as store:
        applied = await store.migrate()
        if auditor_role is not None:
            if auditor_password is not None:
                await store.ensure_login(auditor_role, auditor_password)
            await store.grant(auditor_role)
        return applied


async def admit_operator(owner_dsn: str, role: str, password: str) -> None:
    """Let a login read everything and add scenario runs, and nothing else; made if it is not there. After `prepare`.

    It can put no row into what the auditor's next checkpoint signs.

    Args:
        password: becomes its password.
    """
    async with _opened(owner_dsn) as store:
        await store.ensure_login(role, password)
        await store.grant_reading(role)


async def let_read_repaired(owner_dsn: str, role: str) -> None:
    """Let a database role, which is there, read the views of repaired incidents, and nothing else of the audit."""
    async with _opened(owner_dsn) as store:
        await store.grant_views(role, _REPAIRED)


async def incidents(dsn: str, limit: int = 20) -> tuple[IncidentSummary, ...]:
    """Return the newest incidents, newest first."""
    async with _opened(dsn) as store:
        return await read_incidents(store, limit)


async def incident_story(dsn: str, incident: str) -> IncidentStory | None:
    """Return everything the audit knows of one incident, or None if it was never reported."""
    async with _opened(dsn) as store, store.snapshot():
        return await read_story(store, incident)


async def incident_page(dsn: str, limit: int, before: int | None = None) -> tuple[IncidentSummary, ...]:
    """Return incidents reported before a journal sequence (None: the newest), newest first."""
    async with _opened(dsn) as store:
        return await read_incident_page(store, limit, before)


async def llm_runs(dsn: str, limit: int = 50, before: int | None = None) -> tuple[LlmRun, ...]:
    """Return the newest model runs (before a journal sequence), newest first."""
    async with _opened(dsn) as store:
        return await read_llm_runs(store, limit=limit, before=before)


async def messages(
    dsn: str,
    *,
    after: int | None = None,
    before: int | None = None,
    limit: int,
    incident: str | None = None,
    telemetry: bool = False,
) -> tuple[AuditedMessage, ...]:
    """Return a page of the trail; see `reading_journal.read_messages`."""
    async with _opened(dsn) as store:
        return await read_messages(
            store, after=after, before=before, limit=limit, incident=incident, telemetry=telemetry
        )


async def place(dsn: str, journal_seq: int) -> AuditedPlace | None:
    """Return one message with its place in the chain, or None if the auditor has not written it."""
    async with _opened(dsn) as store:
        return await read_place(store, journal_seq)


async def repaired(dsn: str, limit: int = 200) -> tuple[Repaired, ...]:
    """Return the newest incidents that were repaired, newest first."""
    async with _opened(dsn) as store:
        return await read_repaired(store, limit)


async def row_hashes(dsn: str, seqs: list[int]) -> dict[int, str]:
    """Return the hashes, hex, of the rows of these journal sequences that the auditor has written."""
    async with _opened(dsn) as store:
        return await read_row_hashes(store, seqs)


async def llm_records(dsn: str, run_id: str) -> tuple[LlmRecord, ...]:
    """Return the model runs of that id, or of the incident of that name, in order; empty if there is none."""
    async with _opened(dsn) as store:
        return await read_llm_records(store, run_id)


async def refusal_counts(dsn: str) -> dict[str, int]:
    """Return how many messages were refused, by name."""
    async with _opened(dsn) as store:
        return await read_refusals(store)


async def record_scenario_run(dsn: str, run: ScenarioRun) -> None:
    """Keep a scenario's run; a second call with the same id changes nothing."""
    async with _opened(dsn) as store:
        await store.record_scenario_run(run)


async def scenario_runs(dsn: str, limit: int = 50) -> tuple[ScenarioRun, ...]:
    """Return the newest scenario runs, newest first."""
    async with _opened(dsn) as store:
        return await read_scenario_runs(store, limit)


@asynccontextmanager
async def _opened(dsn: str) -> AsyncIterator[Store]:
    store = Store(dsn)
    try:
        yield store
    finally:
        with suppress(AuditError):
            await store.close()


async def _notes(store: Store) -> tuple[str, ...]:
    found = await store.fetch("SELECT found_at, kind, sentence FROM findings ORDER BY id LIMIT 100")
    unguarded = await store.fetch(_UNGUARDED, list(_GUARDED))
    return (
        *(
            f"an auditor found on {row['found_at']:%Y-%m-%d %H:%M:%S} UTC: {row['kind']}: {row['sentence']}"
            for row in found
        ),
        *(f"the append-only trigger of {row['name']} is missing or switched off" for row in unguarded),
    )
