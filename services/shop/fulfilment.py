"""Fulfilment: takes created orders from the queue and tells orders that they are shipped."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from services.shop.calls import Neighbour
from services.shop.errors import ConsumerStalledError, DependencyFailed, RequestRefused
from services.shop.messages import MALFORMED, order_in
from services.shop.queue import CREATED, Consuming, Queue
from services.shop.settings import FulfilmentSettings, Own
from services.shop.web import Service, serve

QUEUE = "shop-mq"
ORDERS = "orders"


class Fulfilment:
    """The consumer. Its requests are the messages it takes."""

    def __init__(self, settings: FulfilmentSettings) -> None:
        self._queue = Queue(QUEUE, settings.mq_url, "fulfilment")
        self._orders = Neighbour(ORDERS, settings.orders_url)
        self.service = Service(settings.own, {QUEUE: self._queue.check, ORDERS: self._orders.check})

    async def ship(self, message: bytes) -> bool:
        """Ship one order. True if the message is done with: shipped, or never to be shipped; False to have it again."""
        started = time.monotonic()
        error = None
        done = True
        try:
            await self._orders.call("POST", f"/orders/{order_in(message)}/shipped")
        except DependencyFailed as failed:
            self.service.failed(failed.dependency, failed.cause, subject=CREATED, status=failed.status)
            error, done = str(failed.status), False
        except (RequestRefused, *MALFORMED) as refused:
            self.service.log.warn(f"not shipped: {refused}", subject=CREATED)
        except Exception as unforeseen:  # as `Service.route` does: one bad message must not end the consumer
            failure = self.service.failed(QUEUE, unforeseen, subject=CREATED)
            error, done = failure.code, False
        self.service.record(CREATED, "ok" if error is None else error, started, error)
        return done

    def complain(self, error: Exception) -> None:
        """Hear what goes wrong with consuming."""
        failure = self.service.failed(QUEUE, error, subject=CREATED)
        self.service.record(CREATED, "error", time.monotonic(), failure.code)

    def stalled(self, stall: ConsumerStalledError | None) -> None:
        """Hear whether messages wait that are not given. The service itself is well, so its health answers 200."""
        self.service.stalled(QUEUE, stall, subject=CREATED)

    @asynccontextmanager
    async def resources(self) -> AsyncIterator[None]:
        async with self._orders, self._queue.open(Consuming(self.ship, self.complain, self.stalled)):
            yield

    def app(self) -> Starlette:
        """Return the application."""
        return self.service.app([], self.resources)


def build(settings: FulfilmentSettings) -> tuple[Own, Starlette]:
    """Return the service's own settings and its application."""
    return settings.own, Fulfilment(settings).app()


if __name__ == "__main__":
    serve(FulfilmentSettings.read, build)
