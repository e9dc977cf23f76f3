"""The shop's front door: lists products, takes checkouts; keeps nothing itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.applications import Starlette
from starlette.requests import Request

from services.shop.calls import Neighbour
from services.shop.settings import GatewaySettings, Own
from services.shop.web import Service, body_of, serve

Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
"""Text a customer gives. Only NUL is refused: the database cannot keep it. Everything else is data, however odd."""


class Checkout(BaseModel):
    """What a customer sends."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sku: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9-]{1,40}$")]
    quantity: Annotated[int, Field(ge=1, le=100)]
    customer: Line


class Gateway:
    """The gateway's handlers."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._catalog = Neighbour("catalog", settings.catalog_url)
        self._orders = Neighbour("orders", settings.orders_url)
        self._reads = settings.reads
        self.service = Service(settings.own, {"catalog": self._catalog.check, "orders": self._orders.check})

    async def products(self, _: Request) -> Any:
        return await self._catalog.read("/products", self._reads)

    async def product(self, request: Request) -> Any:
        return await self._product(request.path_params["sku"])

    async def checkout(self, request: Request) -> Any:
        wish = await body_of(request, Checkout)
        product = await self._product(wish.sku)
        order = wish.model_dump() | {"price_cents": product["price_cents"]}
        return await self._orders.call("POST", "/orders", order)

    async def _product(self, sku: str) -> Any:
        return await self._catalog.read(f"/products/{quote(sku, safe='')}", self._reads)

    @asynccontextmanager
    async def resources(self) -> AsyncIterator[None]:
        async with self._catalog, self._orders:
            yield

    def app(self) -> Starlette:
        """Return the application."""
        routes = [
            self.service.route("/products", self.products),
            self.service.route("/products/{sku}", self.product),
            self.service.route("/checkout", self.checkout, "POST", 201),
        ]
        return self.service.app(routes, self.resources)


def build(settings: GatewaySettings) -> tuple[Own, Starlette]:
    """Return the service's own settings and its application."""
    return settings.own, Gateway(settings).app()


if __name__ == "__main__":
    serve(GatewaySettings.read, build)
