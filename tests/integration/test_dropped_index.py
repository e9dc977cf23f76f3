"""An index that an import dropped, on the real server: what an order does without it, who sees it, what mends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest
import pytest_asyncio

from services.inventory.declared import INDEXES
from services.platform.embedded import importing
from services.platform.embedded.importing import EmbeddedIndexes
from services.platform.embedded.indexes import indexes_drift, restore_indexes
from services.platform.embedded.view import View
from services.platform.embedded.world import Program
from services.platform.port import Drift, VerbFailedError
from services.shop.database import Database
from services.shop.errors import DependencyFailed
from services.shop.orders import INSERT
from services.shop.schema import prepare
from services.shop.settings import DatabaseTarget
from tests.support.postgres import PostgresServer, running_postgres

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
PASSWORDS = {"orders_db_password": "orders-word", "catalog_db_password": "catalog-word"}
ROWS = 3_000
PATIENCE_S = 60.0
MISSING = Drift("indexes", "orders_customer_key of orders", "customer_key(customer), created_at DESC", "(nothing)")
ORDER = ("SKU-1000", 1, "Ada Lovelace", 100)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running_postgres() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def program(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Program:
    """The shop's database, prepared; an import into it is short."""
    monkeypatch.setattr(importing, "IMPORTED", ROWS)
    await prepare(server.dsn(), PASSWORDS)
    return Program(
        name="shop-db",
        command=(),
        environment={},
        managed=True,
        probe="postgres",
        host="127.0.0.1",
        port=server.port,
        admin=server.dsn(),
        indexes=INDEXES,
    )


@pytest_asyncio.fixture(loop_scope="module")
async def admin(server: PostgresServer, program: Program) -> AsyncIterator[Any]:
    session = await asyncpg.connect(server.dsn("orders"))
    await session.execute("TRUNCATE orders")
    yield session
    await session.close()


def target(server: PostgresServer, budget_s: float) -> DatabaseTarget:
    return DatabaseTarget("127.0.0.1", server.port, "orders", "orders", PASSWORDS["orders_db_password"], budget_s)


def breaking(program: Program) -> EmbeddedIndexes:
    return EmbeddedIndexes(cast(View, SimpleNamespace(world=SimpleNamespace(program=lambda _: program))))


async def plan_of_an_order(admin: Any) -> str:
    """Return how the server would carry out the statement of a new order."""
    async with admin.transaction():
        await admin.execute(f"PREPARE taking (text, int, text, int) AS {INSERT}")
        rows = await admin.fetch("EXPLAIN EXECUTE taking ('SKU-1000', 1, 'Ada', 100)")
        await admin.execute("DEALLOCATE taking")
    return "\n".join(row[0] for row in rows)


async def imported(admin: Any) -> int:
    return int(await admin.fetchval("SELECT count(*) FROM orders WHERE sku = 'IMPORTED'"))


async def test_an_order_tells_the_customers_earlier_one_however_the_name_was_written(
    server: PostgresServer, program: Program, admin: Any
) -> None:
    database = Database("shop-db", target(server, 20.0), "orders")
    async with database.open():
        [first] = await database.rows(INSERT, *ORDER)
        [second] = await database.rows(INSERT, "SKU-1000", 1, "  LOVELACE, ada ", 100)
        [other] = await database.rows(INSERT, "SKU-1000", 1, "\ufdfa" * 200, 100)
    assert first["earlier"] is None
    assert second["earlier"] == first["id"]
    assert other["earlier"] is None


async def test_without_its_index_an_order_reads_the_whole_table_and_with_it_again_it_does_not(
    program: Program, admin: Any
) -> None:
    assert await indexes_drift(program) == []
    await breaking(program).drop_index("shop-db")
    assert await imported(admin) == ROWS
    assert "Seq Scan on orders" in await plan_of_an_order(admin)
    assert await indexes_drift(program) == [MISSING]
    assert await breaking(program).missing_indexes("shop-db") == ("orders_customer_key of orders is missing",)

    assert await restore_indexes(program) == ["index orders_customer_key of orders made again"]
    assert "Index Scan using orders_customer_key" in await plan_of_an_order(admin)
    assert await indexes_drift(program) == []
    assert await restore_indexes(program) == []


async def test_a_repair_leaves_what_was_imported_and_healing_takes_it_away(program: Program, admin: Any) -> None:
    hands = breaking(program)
    await admin.execute(INSERT.replace("$1, $2, $3, $4", "'SKU-1000', 1, 'Ada', 100").replace("$3", "'Ada'"))
    await hands.drop_index("shop-db")
    await hands.drop_index("shop-db")
    await restore_indexes(program)
    assert await imported(admin) == ROWS
    await hands.restore_indexes("shop-db")
    assert await imported(admin) == 0
    assert await admin.fetchval("SELECT count(*) FROM orders") == 1


async def test_an_index_that_was_half_made_counts_as_missing(program: Program, admin: Any) -> None:
    await admin.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'orders_customer_key'::regclass")
    assert await indexes_drift(program) == [MISSING]
    await restore_indexes(program)
    assert await indexes_drift(program) == []


async def test_a_database_that_does_not_answer_has_no_drift_and_fails_by_name(
    server: PostgresServer, program: Program
) -> None:
    away = program.model_copy(update={"admin": server.dsn().replace(str(server.port), "1")})
    assert await indexes_drift(away) == []
    with pytest.raises(VerbFailedError, match="shop-db did not make its indexes again"):
        await restore_indexes(away)
    with pytest.raises(VerbFailedError, match="shop-db did not take 'DROP INDEX"):
        await breaking(away).drop_index("shop-db")


async def test_the_server_ends_a_statement_that_its_client_gave_up(server: PostgresServer, admin: Any) -> None:
    database = Database("shop-db", target(server, 1.0), "orders")
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    async with database.open():
        with pytest.raises(DependencyFailed):
            await database.rows("SELECT pg_sleep(600)")
        async with asyncio.timeout(PATIENCE_S):
            while await admin.fetchval(running):
                pass


async def test_a_check_does_not_wait_for_the_connections_that_slow_statements_hold(server: PostgresServer) -> None:
    database = Database("shop-db", target(server, 60.0), "orders")
    async with database.open():
        slow = [asyncio.create_task(database.rows("SELECT pg_sleep(600)")) for _ in range(20)]
        try:
            await database.check()
        finally:
            for task in slow:
                task.cancel()
