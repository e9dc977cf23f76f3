"""Makes the shop's databases: users, databases, tables, goods, indexes.

Running it again changes nothing but the passwords, which become the given ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from services.shop.database import Administration, administration
from services.shop.grants import GRANTS
from services.shop.indexes import INDEXES
from services.shop.products import PRODUCTS

CATALOG_TABLES = """
CREATE TABLE IF NOT EXISTS products (
    sku         text PRIMARY KEY,
    name        text NOT NULL,
    price_cents integer NOT NULL CHECK (price_cents >= 0)
);
"""
ORDERS_TABLES = """
CREATE TABLE IF NOT EXISTS orders (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    sku         text NOT NULL,
    quantity    integer NOT NULL CHECK (quantity > 0),
    customer    text NOT NULL,
    price_cents integer NOT NULL CHECK (price_cents >= 0),
    status      text NOT NULL DEFAULT 'created' CHECK (status IN ('created', 'shipped', 'cancelled')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    shipped_at  timestamptz
);
"""
CUSTOMER_KEY = r"""
CREATE OR REPLACE FUNCTION customer_key(name text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN (
        SELECT md5(string_agg(word, ' ' ORDER BY word))
        FROM regexp_split_to_table(lower(normalize(name, NFKD)), '[^[:alnum:]]+') AS word WHERE word <> ''
    );
END $$;
"""
"""By which a customer is found again however the name was written: case, spacing, order of the words. Hashed, since a
name may be longer than an index takes."""


async def prepare(admin_dsn: str, secrets: Mapping[str, str]) -> None:
    """Prepare the server for the shop.

    Args:
        admin_dsn: a superuser's connection string.
        secrets: `orders_db_password`, `catalog_db_password`.

    Raises:
        OSError, TimeoutError, or the database client's own errors: the server cannot be reached or refuses. What was
        made stays, and running it again goes on from there.
    """
    async with administration(admin_dsn, "postgres") as server:
        for name in ("catalog", "orders"):
            await _user_and_database(server, name, secrets[f"{name}_db_password"])
    async with administration(admin_dsn, "catalog") as catalog:
        await catalog.run(CATALOG_TABLES)
        await catalog.run_many(
            "INSERT INTO products VALUES ($1, $2, $3) ON CONFLICT (sku) DO NOTHING",
            [(product.sku, product.name, product.price_cents) for product in PRODUCTS],
        )
    async with administration(admin_dsn, "orders") as orders:
        await orders.run(ORDERS_TABLES)
        await orders.run(CUSTOMER_KEY)
    for grant in GRANTS:
        async with administration(admin_dsn, grant.database) as database:
            await database.run(grant.statement)
    for index in INDEXES:
        async with administration(admin_dsn, index.database) as database:
            await database.run(index.statement)


async def _user_and_database(server: Administration, name: str, password: str) -> None:
    if not await server.holds("SELECT 1 FROM pg_roles WHERE rolname = $1", name):
        await server.run_quoted("CREATE ROLE %I", name)
    await server.run_quoted("ALTER ROLE %I LOGIN PASSWORD %L", name, password)
    if not await server.holds("SELECT 1 FROM pg_database WHERE datname = $1", name):
        await server.run_quoted("CREATE DATABASE %I", name)
    await server.run_quoted("REVOKE CONNECT ON DATABASE %I FROM PUBLIC", name)
    await server.run_quoted("GRANT CONNECT ON DATABASE %1$I TO %1$I", name)
