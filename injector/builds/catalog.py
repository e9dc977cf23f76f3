"""A build of the catalog that reads a price by the name which a half-merged change gave it."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request

from services.shop.catalog import Catalog
from services.shop.settings import CatalogSettings, Own
from services.shop.web import serve


class CatalogBuild(Catalog):
    """The catalog, and one bug."""

    async def product(self, request: Request) -> Any:
        found = await super().product(request)
        return found | {"price_cents": found["price"]}


def build(settings: CatalogSettings) -> tuple[Own, Starlette]:
    """Return the service's own settings and its application."""
    return settings.own, CatalogBuild(settings).app()


if __name__ == "__main__":
    serve(CatalogSettings.read, build)
