"""Tampering with a real audit database, found by name; what its role may not do; exports."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from auditor_svc import api, checkpoint_file, migrations, standalone_verify
from auditor_svc.chain import ACCEPTED, EMPTY, Row
from auditor_svc.errors import HeadMovedError, MigrationError, StoreDownError, StoreRefusedError
from auditor_svc.projections import project
from auditor_svc.report import Fault, Report
from auditor_svc.store import Batch, Store
from broker.contracts.control import Checkpoint
from broker.contracts.registry import CONTRACTS
from broker.envelope import open_frame
from broker.port import Stored
from tests.support import containers
from tests.support.audit import PUBLIC, START_US, chain, incident_messages, journal, rehashed, sealed
from tests.support.nats_server import free_port
from tests.support.postgres import PostgresServer, running_postgres

MESSAGES = journal(230)
MESSAGES += [
    Stored(500 + i, START_US + 60_000_000 + i, message.subject(), sealed(role)(message))
    for i, (role, message) in enumerate(incident_messages())
]
ROWS, CHECKPOINTS = chain(MESSAGES, {7: "bad_mac"})
"""239 rows; the row at journal_seq 7 was refused."""
UPDATE = "UPDATE envelopes SET CHANGE WHERE journal_seq = SEQ"
INSERT = """
    INSERT INTO envelopes
    SELECT 102, NUMBER, time_us, subject, refusal, sender, type, channel, key_version, tag, cause, nonce, ttl_s,
           payload, envelope, envelope_hash, sha256('p'), sha256('r')
      FROM envelopes WHERE journal_seq = 101"""
FACTS = tuple(
    fact
    for row in ROWS
    if row.verdict == ACCEPTED
    for frame in [open_frame(row.envelope)]
    if (fact := project(row.journal_seq, row.time_us, CONTRACTS[frame.type].decode(frame.payload)))
)
Server = PostgresServer | containers.ContainerPostgres


@dataclass
class Database:
    """An audit database with the chain above, and the checkpoint file beside it."""

    dsn: str
    kept: Path

    async def fill(self) -> None:
        store = Store(self.dsn)
        await store.migrate()
        await store.append(EMPTY, Batch(tuple(ROWS), FACTS, tuple(CHECKPOINTS)))
        await store.close()
        checkpoint_file.add(self.kept, CHECKPOINTS)

    async def tamper(self, *statements: str, bare: bool = True) -> None:
        """Run statements as the database's owner, who can drop constraints and triggers."""
        store = Store(self.dsn)
        if bare:
            await store.fetch("ALTER TABLE envelopes DISABLE TRIGGER ALL")
            await store.fetch("ALTER TABLE checkpoints DISABLE TRIGGER ALL")
            for table in ("plans", "results", "llm_runs", "tasks"):
                await store.fetch(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
            await store.fetch("ALTER TABLE envelopes DROP CONSTRAINT IF EXISTS envelopes_number_key")
            await store.fetch("ALTER TABLE envelopes DROP CONSTRAINT IF EXISTS envelopes_prev_hash_key")
        try:
            for statement in statements:
                await store.fetch(statement)
        finally:
            await store.close()

    async def verify(self, *, kept: bool = True, tail: int | None = None) -> Report:
        return await api.verify_database(self.dsn, PUBLIC, self.kept if kept else None, expected_tail=tail)

    async def faults(self, *, kept: bool = True) -> list[tuple[str, int | None, str]]:
        report = await self.verify(kept=kept)
        assert not report.ok
        return [(fault.kind, fault.journal_seq, fault.family) for fault in report.faults]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("embedded", marks=pytest.mark.integration),
        pytest.param("container", marks=pytest.mark.docker),
    ],
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The server of the wheel, and the one of the compose file's image."""
    if request.param == "embedded":
        with running_postgres() as running:
            yield running
        return
    if (why := containers.missing()) is not None:
        pytest.skip(why)
    with containers.running_postgres_container() as contained:
        yield contained


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Database:
    made = Database(server.new_database(), tmp_path / checkpoint_file.FILE_NAME)
    asyncio.run(made.fill())
    return made


@pytest.mark.asyncio
async def test_an_untouched_database_holds(database: Database) -> None:
    report = await database.verify(tail=508)
    assert report.ok, report.faults
    assert (report.rows, report.uncovered, report.journal_seq, report.notes) == (239, 0, 508, ())
    assert report.checkpoints_checked == len(CHECKPOINTS)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("change", "seq", "family"),
    [
        ("time_us = time_us - 1", 101, "header"),
        ("subject = 'triage.telemetry.other'", 101, "header"),
        ("refusal = 'bad_mac', payload = NULL", 101, "verdict"),
        ("refusal = NULL, payload = '{}'", 7, "verdict"),
        ("envelope = 'x'", 101, "envelope"),
        ("row_hash = sha256('x')", 101, "hash"),
        ("prev_hash = sha256('x')", 101, "hash"),
        ("envelope_hash = sha256('x')", 101, "hash"),
        ("number = 9000", 101, "header"),
        ("payload = '{}'", 101, "columns"),
        ("sender = 'operator/eve'", 101, "columns"),
        ("cause = 12", 101, "columns"),
    ],
)
async def test_an_edited_row_is_named(database: Database, change: str, seq: int, family: str) -> None:
    await database.tamper(UPDATE.replace("CHANGE", change).replace("SEQ", str(seq)))
    assert await database.faults() == [("edited", seq, family)]


@pytest.mark.asyncio
async def test_a_deleted_row_is_named(database: Database) -> None:
    await database.tamper("DELETE FROM envelopes WHERE journal_seq = 101")
    assert await database.faults() == [("deleted", 103, "")]


@pytest.mark.asyncio
@pytest.mark.parametrize("number", ["52", "240", "(SELECT max(number) + 100 FROM envelopes)"])
async def test_an_inserted_row_is_named(database: Database, number: str) -> None:
    await database.tamper(
        INSERT.replace("NUMBER", number),
    )
    assert await database.faults() == [("inserted", 102, "")]


@pytest.mark.asyncio
async def test_rows_in_another_order_are_named(database: Database) -> None:
    await database.tamper(
        "UPDATE envelopes SET journal_seq = 102 WHERE journal_seq = 91",
    )
    assert await database.faults() == [("reordered", 102, "")]


@pytest.mark.asyncio
async def test_a_cut_off_tail_is_named_also_when_its_checkpoints_went_with_it(database: Database) -> None:
    await database.tamper("DELETE FROM envelopes WHERE number > 100")
    assert ("cut_off", 508, "") in await database.faults(kept=False)
    await database.tamper("DELETE FROM checkpoints WHERE rows > 100")
    assert (await database.verify(kept=False)).faults[0].kind == "projection"
    assert "cut_off" in {kind for kind, _, _ in await database.faults()}


@pytest.mark.asyncio
async def test_a_chain_rebuilt_from_a_row_on_is_named(database: Database) -> None:
    await database.tamper("UPDATE envelopes SET subject = 'triage.telemetry.other' WHERE journal_seq = 101")
    store = Store(database.dsn)
    prev: bytes | None = None
    for row in await store.rows_from(51):
        made = rehashed(row, prev_hash=prev or row.prev_hash)
        await store.fetch(
            "UPDATE envelopes SET prev_hash = $2, row_hash = $3 WHERE number = $1",
            row.number,
            made.prev_hash,
            made.row_hash,
        )
        prev = made.row_hash
    await store.close()
    assert [kind for kind, _, _ in await database.faults()] == ["rebuilt"]


@pytest.mark.asyncio
async def test_an_edited_checkpoint_is_named(database: Database) -> None:
    await database.tamper("UPDATE checkpoints SET rows = rows - 1 WHERE n = 1")
    assert ("bad_signature", CHECKPOINTS[0].journal_seq, "") in await database.faults()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("statement", "table", "seq"),
    [
        ("UPDATE plans SET target = 'gateway'", "plans", 503),
        ("UPDATE results SET status = 'FAIL'", "results", 507),
        ("UPDATE llm_runs SET response = 'nothing'", "llm_runs", 502),
        ("UPDATE llm_runs SET prompt = '[]'", "llm_runs", 502),
        ("DELETE FROM tasks", "tasks", 505),
        (
            "INSERT INTO claims (journal_seq, incident, task_id, attempt, instance, claimed_at) "
            "VALUES (3, 'inc1', 'v1-t9', 1, 'eve', now())",
            "claims",
            3,
        ),
    ],
)
async def test_a_table_that_says_something_else_than_its_message_is_named(
    database: Database, statement: str, table: str, seq: int
) -> None:
    await database.tamper(statement)
    (fault,) = (await database.verify()).faults
    assert (fault.kind, fault.journal_seq) == ("projection", seq)
    assert table in fault.sentence


@pytest.mark.asyncio
async def test_a_switched_off_trigger_and_earlier_findings_are_noted(database: Database) -> None:
    await database.tamper()
    store = Store(database.dsn)
    await store.record_findings([Fault("cut_off", 9, "rows are missing")])
    await store.close()
    report = await database.verify()
    assert report.ok
    assert any("rows are missing" in note for note in report.notes)
    assert any("trigger of envelopes" in note for note in report.notes)


@pytest.mark.asyncio
@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize(("table", "column"), [("envelopes", "time_us"), ("checkpoints", "rows"), ("llm_runs", "temp")])
async def test_even_the_owner_must_first_drop_a_trigger_to_change_a_row(
    database: Database, table: str, column: str, statement: str
) -> None:
    with pytest.raises(StoreRefusedError, match="append-only"):
        await database.tamper(statement.format(table, column, column), bare=False)
    assert (await database.verify()).ok


@pytest.mark.asyncio
async def test_a_role_of_its_own_can_audit_and_cannot_drop_the_triggers(server: Server, database: Database) -> None:
    owner = Store(database.dsn)
    await owner.fetch("DROP ROLE IF EXISTS scribe")
    await owner.fetch("CREATE ROLE scribe LOGIN PASSWORD 'scribe'")
    await owner.close()
    await api.prepare(database.dsn, "scribe")
    name = database.dsn.rpartition("/")[2]
    store = Store(server.dsn(name, "scribe", "scribe"))
    assert await store.migrate() == ()
    head = await store.head()
    row = chain([*MESSAGES, Stored(600, START_US, "triage.control.halt", b"x")], {7: "bad_mac", 600: "bad_frame"})[0][
        -1
    ]
    await store.append(head, Batch((row,)))
    for statement in (
        "DROP TRIGGER append_only ON envelopes",
        "ALTER TABLE plans DISABLE TRIGGER ALL",
        "DELETE FROM plans",
    ):
        with pytest.raises(StoreRefusedError):
            await store.fetch(statement)
    await store.close()
    assert (await database.verify()).uncovered == 1
    other = Store(database.dsn)
    await other.fetch("DROP OWNED BY scribe")
    await other.fetch("DROP ROLE scribe")
    await other.close()


@pytest.mark.asyncio
async def test_preparing_makes_the_auditors_login_and_gives_it_the_newest_password(
    server: Server, database: Database
) -> None:
    name = database.dsn.rpartition("/")[2]
    for password in ("first", "it's \\ the second"):
        await api.prepare(database.dsn, "the-auditor", password)
        store = Store(server.dsn(name, "the-auditor", quote(password, safe="")))
        assert (await store.head()).rows > 0
        await store.close()
    with pytest.raises((StoreDownError, StoreRefusedError)):
        await Store(server.dsn(name, "the-auditor", "first")).head()
    owner = Store(database.dsn)
    await owner.fetch('DROP OWNED BY "the-auditor"')
    await owner.fetch('DROP ROLE "the-auditor"')
    await owner.close()


@pytest.mark.asyncio
async def test_an_operators_login_reads_everything_and_adds_scenario_runs_and_nothing_else(
    server: Server, database: Database
) -> None:
    await api.prepare(database.dsn)
    for password in ("first", "second"):
        await api.admit_operator(database.dsn, "an-operator", password)
    dsn = server.dsn(database.dsn.rpartition("/")[2], "an-operator", "second")
    started = datetime(2026, 1, 1, tzinfo=UTC)
    run = api.ScenarioRun("r1", "db_conn_drift", 42, 0.2, started, started, "verified", {"SR": 1.0}, "inc1")
    for _ in range(2):
        await api.record_scenario_run(dsn, run)
    assert await api.scenario_runs(dsn) == (run,)
    assert (await api.verify_database(dsn, PUBLIC, database.kept)).ok
    assert await api.incidents(dsn)
    store = Store(dsn)
    with pytest.raises(StoreRefusedError, match="permission denied"):
        await store.append(await store.head(), Batch((_next_row(),)))
    with pytest.raises(StoreRefusedError, match="permission denied"):
        await store.record_findings([Fault("cut_off", 9, "nothing of the kind")])
    tables = await store.fetch("SELECT relname::text AS name FROM pg_class WHERE relkind IN ('r', 'v') "
                               "AND relnamespace = 'public'::regnamespace")  # fmt: skip
    assert {"envelopes", "checkpoints", "scenario_run", "incidents"} <= {row["name"] for row in tables}
    for table in (row["name"] for row in tables):
        may = "SELECT has_table_privilege($1::text, 'INSERT') AS add, has_table_privilege($1::text, 'UPDATE, DELETE, TRUNCATE, TRIGGER') AS change"  # noqa: E501
        [rights] = await store.fetch(may, table)
        assert rights == {"add": table == "scenario_run", "change": False}, table
    for statement in (
        "INSERT INTO checkpoints SELECT n + 1, rows, journal_seq, head, signature FROM checkpoints",
        "DROP TRIGGER append_only ON scenario_run",
        "CREATE TABLE mine (x int)",
    ):
        with pytest.raises(StoreRefusedError):
            await store.fetch(statement)
    await store.close()
    owner = Store(database.dsn)
    await owner.fetch('DROP OWNED BY "an-operator"')
    await owner.fetch('DROP ROLE "an-operator"')
    await owner.close()


@pytest.mark.asyncio
async def test_a_batch_whose_answer_got_lost_is_not_written_twice(database: Database) -> None:
    store = Store(database.dsn)
    head = await store.head()
    row = _next_row()
    await store.append(head, Batch((row,)))
    await store.append(head, Batch((row,)))
    with pytest.raises(HeadMovedError):
        await store.append(head._replace(rows=3, hash=bytes(32)), Batch((row._replace(row_hash=bytes(32)),)))
    assert (await store.head()).rows == 240
    await store.close()


def _next_row() -> Row:
    return chain([*MESSAGES, Stored(600, START_US, "triage.control.halt", b"x")], {7: "bad_mac", 600: "bad_frame"})[0][
        -1
    ]


@pytest.mark.asyncio
async def test_a_scenario_run_is_kept_once_with_its_seed(database: Database) -> None:
    started = datetime(2026, 1, 1, tzinfo=UTC)
    run = api.ScenarioRun("r1", "db_conn_drift", 42, 0.2, started, started, "verified", {"SR": 1.0}, "inc1")
    await api.record_scenario_run(database.dsn, run)
    await api.record_scenario_run(database.dsn, run)
    assert await api.scenario_runs(database.dsn) == (run,)


@pytest.mark.asyncio
async def test_databases_that_cannot_be_used_are_named_by_what_helps(server: Server) -> None:
    with pytest.raises(StoreDownError):
        await api.incidents(f"postgresql://postgres:x@127.0.0.1:{free_port()}/x")
    with pytest.raises(StoreRefusedError):
        await api.incidents(server.dsn(password="wrong"))
    with pytest.raises(StoreRefusedError):
        await api.incidents("no address at all")
    with pytest.raises(StoreRefusedError):
        await api.incidents(server.dsn())


@pytest.mark.asyncio
async def test_a_schema_from_another_version_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    known = migrations.migrations()
    changed = (known[0]._replace(sql=known[0].sql + "\n-- changed"), *known[1:])
    monkeypatch.setattr(migrations, "migrations", lambda: changed)
    with pytest.raises(MigrationError, match="changed after"):
        await api.prepare(database.dsn)
    monkeypatch.setattr(migrations, "migrations", lambda: ())
    with pytest.raises(MigrationError, match="does not know"):
        await api.prepare(database.dsn)


def test_several_starting_at_once_migrate_once(server: Server) -> None:
    dsn = server.new_database()

    async def all_at_once() -> list[tuple[str, ...]]:
        return await asyncio.gather(*(api.prepare(dsn) for _ in range(4)))

    applied = asyncio.run(all_at_once())
    assert sorted(applied) == [(), (), (), tuple(migration.name for migration in migrations.migrations())]


def test_an_export_verifies_with_both_verifiers_and_without_the_project(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    assert asyncio.run(api.export(database.dsn, path)) == 239
    report = api.verify_export(path, PUBLIC, journal_checkpoints=CHECKPOINTS)
    assert (report.ok, report.rows, report.checkpoints_checked) == (True, 239, len(CHECKPOINTS))
    alone = tmp_path / "verify.py"
    alone.write_bytes(Path(standalone_verify.__file__).read_bytes())
    command = [sys.executable, str(alone), str(path), PUBLIC.hex(), str(database.kept)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env={})
    assert (done.returncode, done.stderr) == (0, "")
    assert "239 rows hold" in done.stdout
    assert [Checkpoint.decode(c.encode()) for c in checkpoint_file.read(database.kept)] == CHECKPOINTS
