"""Orders: kept in PostgreSQL, announced on the queue.

An order is stored first and announced then. One that could not be announced is cancelled and refused with the queue's
error: nobody would ever ship it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.applications import Starlette
from starlette.requests import Request

from services.shop.database import Database, Row
from services.shop.errors import DependencyFailed, RequestRefused
from services.shop.queue import CREATED, Queue
from services.shop.settings import OrdersSettings, Own
from services.shop.web import Service, body_of, serve

DATABASE = "shop-db"
QUEUE = "shop-mq"
EARLIER = "SELECT id::text FROM orders WHERE customer_key(customer) = customer_key($3) ORDER BY created_at DESC LIMIT 1"
"""The order of the same customer before this one; found by its index (services/shop/indexes.py) or not in time."""
RETURNING = f"RETURNING id::text, ({EARLIER}) AS earlier"
INSERT = f"INSERT INTO orders (sku, quantity, customer, price_cents) VALUES ($1, $2, $3, $4) {RETURNING}"  # noqa: S608 - constants
INSERT_WITH_NOTE = f"""
INSERT INTO orders (sku, quantity, customer, price_cents, gift_note) VALUES ($1, $2, $3, $4, $5) {RETURNING}
"""  # noqa: S608 - constants
"""Behind ORDERS_GIFT_NOTES until the schema has the column."""
CANCEL = "UPDATE orders SET status = 'cancelled' WHERE id = $1"
SELECT = "SELECT id::text, sku, quantity, customer, price_cents, status FROM orders WHERE id = $1"
SHIP = """
UPDATE orders SET status = 'shipped', shipped_at = coalesce(shipped_at, now())
WHERE id = $1 AND status <> 'cancelled' RETURNING id::text, status
"""


class NewOrder(BaseModel):
    """What the gateway sends."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sku: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9-]{1,40}$")]
    quantity: Annotated[int, Field(ge=1, le=100)]
    customer: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
    price_cents: Annotated[int, Field(ge=0, le=2**31 - 1)]


class Orders:
    """The handlers of orders."""

    def __init__(self, settings: OrdersSettings) -> None:
        self._database = Database(DATABASE, settings.database, "orders")
        self._gift_notes = settings.gift_notes
        self._queue = Queue(QUEUE, settings.mq_url, "orders")
        self.service = Service(settings.own, {DATABASE: self._database.check, QUEUE: self._queue.check})

    async def create(self, request: Request) -> Any:
        new = await body_of(request, NewOrder)
        [row] = await self._stored(new)
        order_id = str(row["id"])
        try:
            await self._queue.publish(CREATED, json.dumps({"id": order_id, "sku": new.sku}).encode(), order_id)
        except DependencyFailed:
            with suppress(DependencyFailed):  # the queue's error is the one to tell
                await self._database.rows(CANCEL, UUID(order_id))
            raise
        self.service.log.info("order created", order=order_id, sku=new.sku, customer=new.customer)
        return {"id": order_id, "status": "created", "earlier": row["earlier"]}

    async def _stored(self, new: NewOrder) -> Sequence[Row]:
        values = (new.sku, new.quantity, new.customer, new.price_cents)
        if self._gift_notes:
            return await self._database.rows(INSERT_WITH_NOTE, *values, "")
        return await self._database.rows(INSERT, *values)

    async def order(self, request: Request) -> Any:
        return await self._one(SELECT, request)

    async def shipped(self, request: Request) -> Any:
        return await self._one(SHIP, request)

    async def _one(self, statement: str, request: Request) -> dict[str, Any]:
        given = request.path_params["id"]
        try:
            order_id = UUID(given)
        except ValueError as error:
            raise RequestRefused(422, f"{given[:80]!r} is not an order's id") from error
        rows: list[Row] = list(await self._database.rows(statement, order_id))
        if not rows:
            raise RequestRefused(404, f"no open order {order_id}")
        return dict(rows[0])

    @asynccontextmanager
    async def resources(self) -> AsyncIterator[None]:
        async with self._database.open(), self._queue.open():
            yield

    def app(self) -> Starlette:
        """Return the application."""
        routes = [
            self.service.route("/orders", self.create, "POST", 201),
            self.service.route("/orders/{id}", self.order),
            self.service.route("/orders/{id}/shipped", self.shipped, "POST"),
        ]
        return self.service.app(routes, self.resources)


def build(settings: OrdersSettings) -> tuple[Own, Starlette]:
    """Return the service's own settings and its application."""
    return settings.own, Orders(settings).app()


if __name__ == "__main__":
    serve(OrdersSettings.read, build)
