"""The catalog: products from PostgreSQL, cached in Valkey as JSON.

A cache that is away costs time and is said (WARN); the products still come from the database. A cache entry that cannot
be read is an error of the data, and the request fails with the decoder's own words: reading on as if nothing were there
would hide that something writes rubbish into the shop's cache.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request

from services.shop.cache import Cache, CacheDown, CacheError
from services.shop.database import Database
from services.shop.errors import DependencyFailed, RequestRefused
from services.shop.products import PRODUCT_KEY, Product
from services.shop.settings import CatalogSettings, Own
from services.shop.web import Service, serve

TTL_S = 30
DATABASE = "shop-db"
CACHE = "shop-cache"


class Catalog:
    """The catalog's handlers."""

    def __init__(self, settings: CatalogSettings) -> None:
        self._database = Database(DATABASE, settings.database, "catalog")
        self._cache = Cache(settings.cache_host, settings.cache_port)
        self.service = Service(
            settings.own, {DATABASE: self._database.check, CACHE: self._cache.check}, optional=frozenset({CACHE})
        )

    async def products(self, _: Request) -> Any:
        rows = await self._database.rows("SELECT sku, name, price_cents FROM products ORDER BY sku LIMIT 200")
        return {"products": [dict(row) for row in rows]}

    async def product(self, request: Request) -> Any:
        sku = request.path_params["sku"][:80]
        cached, cache_answers = await self._cached(sku)
        if cached is not None:
            return cached.model_dump()
        product = await self._stored(sku)
        if cache_answers:
            await self._remember(product)
        return product.model_dump()

    async def _cached(self, sku: str) -> tuple[Product | None, bool]:
        """Return the cached product or None, and whether the cache answers."""
        try:
            entry = await self._cache.get(PRODUCT_KEY + sku)
        except CacheDown as error:
            self.service.degraded(CACHE, error, sku=sku)
            return None, False
        except CacheError as error:
            raise DependencyFailed(CACHE, error) from error
        if entry is None:
            return None, True
        try:
            return Product.model_validate(json.loads(entry)), True
        except ValueError as error:
            raise DependencyFailed(CACHE, error) from error

    async def _stored(self, sku: str) -> Product:
        rows = (
            []
            if "\0" in sku
            else await self._database.rows("SELECT sku, name, price_cents FROM products WHERE sku = $1", sku)
        )
        if not rows:
            raise RequestRefused(404, f"no product {sku!r}")
        return Product.model_validate(dict(rows[0]))

    async def _remember(self, product: Product) -> None:
        try:
            await self._cache.put(PRODUCT_KEY + product.sku, product.model_dump_json().encode(), TTL_S)
        except CacheError as error:
            self.service.degraded(CACHE, error, sku=product.sku)

    @asynccontextmanager
    async def resources(self) -> AsyncIterator[None]:
        async with self._database.open(), self._cache.open():
            yield

    def app(self) -> Starlette:
        """Return the application."""
        routes = [
            self.service.route("/products", self.products),
            self.service.route("/products/{sku}", self.product),
        ]
        return self.service.app(routes, self.resources)


def build(settings: CatalogSettings) -> tuple[Own, Starlette]:
    """Return the service's own settings and its application."""
    return settings.own, Catalog(settings).app()


if __name__ == "__main__":
    serve(CatalogSettings.read, build)
