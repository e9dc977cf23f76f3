"""The runbooks' database beside the audit's on one server: what its role may do, what is learnt, what outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import asyncpg
import pytest

from agents.runbook.database import AuditRecord, DatabaseStore, let_read, prepare, with_database
from agents.runbook.errors import StoreDownError, StoreRefusedError
from agents.runbook.shelf import Shelf
from auditor_svc import api
from broker.contracts.symptoms import encode
from broker.runtime.migrations import Migration
from tests.support.nats_server import free_port
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.runbooks import audit, document, repaired_messages
from tests.support.world import shop_inventory

pytestmark = pytest.mark.integration
PASSWORD = "runbooks-password"
NOTHING_DONE = ("InsufficientPrivilegeError", "WrongObjectTypeError", "ObjectNotInPrerequisiteStateError")
"""No right to it; or a statement that cannot be done to a view by anybody."""
LOOKED = {"service:blame-database:gaierror": pytest.approx(2**-0.5), "service:error:gaierror": pytest.approx(2**-0.5)}


@dataclass
class Place:
    """One server with both databases, prepared as a stack does it."""

    server: PostgresServer
    audit_owner: str

    @property
    def runbooks(self) -> str:
        return with_database(self.server.dsn(user="runbooks", password=PASSWORD), "runbooks")

    @property
    def learning(self) -> str:
        return with_database(self.runbooks, self.audit_owner.rpartition("/")[2])


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running_postgres() as running:
        yield running


@pytest.fixture
def place(server: PostgresServer) -> Place:
    made = Place(server, server.new_database())

    async def prepared() -> None:
        await api.prepare(made.audit_owner, "auditor", "auditor-password")
        await prepare(made.audit_owner, "runbooks", PASSWORD)
        await api.let_read_repaired(made.audit_owner, "runbooks")
        store = DatabaseStore(made.runbooks)
        await store.drop([*await store.known("runbook"), *await store.known("incident")])
        await store.close()

    asyncio.run(prepared())
    return made


async def attempt(dsn: str, statement: str) -> str:
    """Return the name of what the server said to a statement; empty if it was done."""
    try:
        session = await asyncpg.connect(dsn, timeout=5)
    except asyncpg.PostgresError as error:
        return type(error).__name__
    try:
        await session.execute(statement)
    except asyncpg.PostgresError as error:
        return type(error).__name__
    finally:
        await session.close()
    return ""


@pytest.mark.asyncio
class TestRights:
    @pytest.mark.parametrize(
        "table",
        [
            *(
                "envelopes",
                "checkpoints",
                "findings",
                "incident_reports",
                "incident_closures",
                "plans",
                "plan_decisions",
            ),
            *("tasks", "claims", "results", "llm_prompts", "llm_runs", "scenario_run", "incidents", "refusals"),
            "schema_version",
        ],
    )
    async def test_no_table_of_the_audit_can_be_read_or_written(self, place: Place, table: str) -> None:
        assert await attempt(place.audit_owner, f"TABLE {table}") == "", "it is there"
        for statement in (
            f"TABLE {table}",
            f"INSERT INTO {table} DEFAULT VALUES",
            f"DELETE FROM {table}",  # noqa: S608 - a name of this test's own
            f"TRUNCATE {table}",
            f"DROP TABLE {table}",
        ):
            said = await attempt(place.learning, statement)
            assert said in NOTHING_DONE, (statement, said)

    async def test_two_views_of_the_audit_can_be_read_and_nothing_more(self, place: Place) -> None:
        for view in ("repaired_incidents", "repaired_incident_telemetry"):
            assert await attempt(place.learning, f"TABLE {view}") == ""
            assert await attempt(place.learning, f"DROP VIEW {view}") == "InsufficientPrivilegeError"
        assert await attempt(place.learning, "CREATE TABLE mine (x int)") == "InsufficientPrivilegeError"
        assert await attempt(place.learning, "CREATE SCHEMA mine") == "InsufficientPrivilegeError"

    async def test_rows_of_its_own_can_be_changed_and_nothing_else(self, place: Place) -> None:
        for statement in (
            "DROP TABLE passages",
            "TRUNCATE documents",
            "ALTER TABLE documents ADD COLUMN x int",
            "CREATE TABLE mine (x int)",
            "DELETE FROM schema_version",
            "CREATE OR REPLACE FUNCTION runbook_words(text, text, text, boolean) RETURNS tsvector LANGUAGE sql AS $$$$",
            "CREATE EXTENSION plpython3u",
            "COPY documents TO PROGRAM 'true'",
            "SELECT pg_read_file('/etc/passwd')",
            "ALTER ROLE runbooks SUPERUSER",
        ):
            said = await attempt(place.runbooks, statement)
            assert said in ("InsufficientPrivilegeError", "FeatureNotSupportedError"), (statement, said)
        assert await attempt(place.runbooks, "DELETE FROM documents") == ""

    async def test_operators_read_what_is_searched_and_change_nothing(self, place: Place) -> None:
        await api.admit_operator(place.audit_owner, "operator", "operator-password")
        await let_read(place.audit_owner, "operator")
        store = DatabaseStore(place.runbooks)
        await store.put(document())
        await store.close()
        own = with_database(place.server.dsn(user="operator", password="operator-password"), "runbooks")
        shelf = Shelf(shop_inventory(), database=DatabaseStore(own))
        found = await shelf.search("gaierror", {"service:error:gaierror": 1.0}, 3)
        assert (found.ranked_by, found.excerpts[0].source) == ("full text, symptoms", "mine")
        await shelf.close()
        for statement in (
            "DELETE FROM documents",
            "UPDATE passages SET body = ''",
            "INSERT INTO documents (id) VALUES ('x')",
            "TRUNCATE passages",
            "TABLE schema_version",
            "CREATE TABLE mine (x int)",
            "SELECT set_config('role', 'runbooks', false)",
        ):
            assert await attempt(own, statement) != "", statement

    async def test_a_login_that_is_not_there_is_let_in_by_no_name(self, place: Place) -> None:
        with pytest.raises(StoreRefusedError, match="UndefinedObjectError"):
            await let_read(place.audit_owner, "nobody-of-that-name")

    async def test_the_auditor_cannot_reach_the_runbooks(self, place: Place) -> None:
        auditor = place.server.dsn("runbooks", "auditor", "auditor-password")
        assert await attempt(auditor, "SELECT 1") == "InsufficientPrivilegeError"

    async def test_the_auditors_own_rights_are_as_before(self, place: Place) -> None:
        own = with_database(
            place.server.dsn(user="auditor", password="auditor-password"), place.audit_owner.rpartition("/")[2]
        )
        assert await attempt(own, "SELECT count(*) FROM envelopes") == ""
        assert await attempt(own, "DELETE FROM envelopes") == "InsufficientPrivilegeError"


@pytest.mark.asyncio
class TestLearning:
    async def test_a_repaired_incident_is_told_with_what_it_looked_like_before_the_first_change(
        self, place: Place
    ) -> None:
        await audit(place.audit_owner, repaired_messages())
        record = AuditRecord(place.learning)
        [found] = await record.repaired_since(0, shop_inventory())
        await record.close()
        assert (found.incident, found.journal_seq, found.text) == ("inc1", 11, "checkout is dead")
        assert (found.target, found.fault_class, found.actions) == (
            *("orders", "config_drift"),
            (("reconcile", "orders", {}),),
        )
        assert dict(found.symptoms) == LOOKED, "nothing from long before, nothing from during the repair"

    async def test_what_was_not_verified_teaches_nothing(self, place: Place) -> None:
        await audit(
            place.audit_owner,
            repaired_messages("inc1", verdict="unresolved"),
            repaired_messages("inc2", verdict="merged"),
            repaired_messages("inc3", verdict="verified")[:8] + repaired_messages("inc3")[-1:],
        )
        record = AuditRecord(place.learning)
        assert await record.repaired_since(0, shop_inventory()) == []
        await record.close()

    async def test_it_is_stored_once_and_found_by_symptoms_and_by_words(self, place: Place) -> None:
        await audit(place.audit_owner, repaired_messages("inc1"), repaired_messages("inc2", text="marmalade"))
        shelf = Shelf(
            shop_inventory(), database=DatabaseStore(place.runbooks), audit=(record := AuditRecord(place.learning))
        )
        await shelf.refresh()
        assert await record.repaired_since(11, shop_inventory()) != []
        await shelf.refresh()
        looks = {"service:blame-database:gaierror": 0.7, "service:error:gaierror": 0.7}
        assert encode(looks)
        found = await shelf.search("marmalade", looks, 3)
        best = found.excerpts[0]
        assert (best.kind, best.source, best.ranks) == ("incident", "inc2", {"text": 1, "symptoms": 2})
        assert found.ranked_by == "full text, symptoms"
        store = DatabaseStore(place.runbooks)
        assert set(await store.known("incident")) == {"incident/inc1", "incident/inc2"}
        await store.close()
        await shelf.close()

    async def test_two_agents_at_once_store_it_once(self, place: Place) -> None:
        await audit(place.audit_owner, repaired_messages())
        shelves = [
            Shelf(shop_inventory(), database=DatabaseStore(place.runbooks), audit=AuditRecord(place.learning))
            for _ in range(3)
        ]
        await asyncio.gather(*(shelf.refresh() for shelf in shelves))
        store = DatabaseStore(place.runbooks)
        assert set(await store.known("incident")) == {"incident/inc1"}
        assert len(await store.known("runbook")) == 11
        await store.close()
        for shelf in shelves:
            await shelf.close()


@pytest.mark.asyncio
class TestTrouble:
    async def test_a_server_that_comes_back_is_used_again(self, place: Place) -> None:
        shelf = Shelf(shop_inventory(), database=DatabaseStore(place.runbooks))
        await shelf.refresh()
        assert (await shelf.search("gaierror", {}, 3)).ranked_by == "full text"
        await asyncio.to_thread(place.server.stop)
        away = await shelf.search("gaierror", {}, 3)
        assert (away.ranked_by, away.excerpts[0].source) == ("full text in memory", "config-drift")
        assert "the runbooks' database cannot be used" in away.missing
        await shelf.refresh()
        await asyncio.to_thread(place.server.start)
        await shelf.refresh()
        assert (await shelf.search("gaierror", {}, 3)).ranked_by == "full text"
        await shelf.close()

    async def test_no_server_and_a_wrong_password_are_told_apart_and_show_no_secret(self, place: Place) -> None:
        for dsn, error, text in (
            (f"postgresql://runbooks:{PASSWORD}@127.0.0.1:{free_port()}/runbooks", StoreDownError, "cannot be used"),
            (place.runbooks.replace(PASSWORD, "wrong-password"), StoreRefusedError, "refuses the login"),
            (with_database(place.runbooks, "nowhere"), StoreRefusedError, "refuses"),
        ):
            store = DatabaseStore(dsn)
            with pytest.raises(error, match=text) as refused:
                await store.known("runbook")
            assert PASSWORD not in str(refused.value)
            assert "wrong-password" not in str(refused.value)
            await store.close()

    async def test_a_cancelled_search_leaves_a_store_that_works(self, place: Place) -> None:
        store = DatabaseStore(place.runbooks)
        await store.put(document())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await store._refs("SELECT document, n FROM passages, pg_sleep(5)")
        assert await store.known("runbook")
        await store.close()

    async def test_prepared_again_changes_nothing_and_a_changed_migration_is_refused(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert await prepare(place.audit_owner, "runbooks", PASSWORD) == ()
        monkeypatch.setattr(
            "agents.runbook.migrations.migrations", lambda: (Migration("0001_runbooks.sql", "SELECT 1"),)
        )
        with pytest.raises(StoreRefusedError, match=r"migration 0001_runbooks\.sql was changed after"):
            await prepare(place.audit_owner, "runbooks", PASSWORD)

    async def test_a_password_with_quotes_is_a_password(self, place: Place) -> None:
        await prepare(place.audit_owner, "runbooks", 'it\'s \\ a "pass"')
        await prepare(place.audit_owner, "runbooks", PASSWORD)
        assert await attempt(place.runbooks, "SELECT 1") == ""
