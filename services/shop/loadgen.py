"""The users of the shop: sends what `arrivals` says, when it says so, and measures what comes back.

An arrival is good if it is answered as it should be (2xx; 404 for something the shop does not sell) within
`PATIENCE_S`. What finds all places taken counts as failed too (`overload`): a user who is not let in is not served.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
from pydantic import BaseModel, ConfigDict, Field
from starlette.applications import Starlette
from starlette.requests import Request

from broker.tasks import end
from services.shop.arrivals import Arrival, Arrivals
from services.shop.calls import Neighbour
from services.shop.errors import RequestRefused, explain
from services.shop.settings import LoadgenSettings, Own
from services.shop.web import Service, body_of, serve
from services.shop.window import DEFAULT_SPAN_S

TARGET = "gateway"
PATIENCE_S = 1.5
MAX_IN_FLIGHT = 256
MAX_LAG_S = 1.0
"""If the generator itself fell behind by more (it was stopped, say), the missed arrivals are skipped, not made up."""
KEEP_S = 60.0


class Load(BaseModel):
    """What is being sent. In a request, what is left out stays as it is; a change begins the sequence anew."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rate: Annotated[float, Field(ge=0, le=200)]
    noise: Annotated[float, Field(ge=0, le=1)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]


class LoadChange(BaseModel):
    """A change of the load."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rate: Annotated[float, Field(ge=0, le=200)] | None = None
    noise: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class LoadGenerator:
    """The generator and its handlers."""

    def __init__(self, settings: LoadgenSettings) -> None:
        self._load = Load(rate=settings.rate, noise=0.0, seed=settings.seed)
        self._gateway = Neighbour(TARGET, settings.target)
        self.service = Service(settings.own, {TARGET: self._gateway.check})
        self._client = httpx.AsyncClient(
            base_url=settings.target,
            timeout=PATIENCE_S,
            limits=httpx.Limits(max_connections=MAX_IN_FLIGHT, max_keepalive_connections=0),
            trust_env=False,
            verify=False,  # noqa: S501 - plain HTTP on the loopback
        )
        self._sent_s: deque[float] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._sending: asyncio.Task[None] | None = None

    async def stats(self, request: Request) -> Any:
        span_s = _span(request.query_params.get("window_s"))
        now = time.monotonic()
        recent = self.service.window.summary(now, span_s)
        sent = sum(1 for at in self._sent_s if at > now - span_s)
        return {
            "window_s": span_s,
            "sent": sent,
            "ok": recent.count - recent.errors,
            "failed": recent.errors,
            "success_ratio": recent.success_ratio,
            "p95_ms": recent.p95_ms,
            "rate": sent / span_s,
            "errors": recent.by_error,
        }

    async def settings(self, _: Request) -> Any:
        return self._load.model_dump()

    async def change(self, request: Request) -> Any:
        change = await body_of(request, LoadChange)
        self._load = self._load.model_copy(update=change.model_dump(exclude_none=True))
        await self._stop_sending()
        self._start_sending()
        self.service.log.info("load changed", **self._load.model_dump())
        return self._load.model_dump()

    def _start_sending(self) -> None:
        self._sending = asyncio.create_task(self._send(self._load))

    async def _stop_sending(self) -> None:
        if self._sending is not None:
            await end(self._sending)

    async def _send(self, load: Load) -> None:
        if load.rate == 0:
            return
        arrivals = Arrivals(load.rate, load.noise, load.seed)
        due = time.monotonic()
        while True:
            arrival = arrivals.next()
            due = max(due + arrival.gap_s, time.monotonic() - MAX_LAG_S)
            await asyncio.sleep(due - time.monotonic())
            self._admit(arrival)

    def _admit(self, arrival: Arrival) -> None:
        now = time.monotonic()
        self._sent_s.append(now)
        while self._sent_s[0] < now - KEEP_S:
            self._sent_s.popleft()
        if len(self._in_flight) >= MAX_IN_FLIGHT:
            self.service.record(arrival.kind, "overload", now, "overload")
            return
        task = asyncio.create_task(self._visit(arrival))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _visit(self, arrival: Arrival) -> None:
        started = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_S):
                response = await self._request(arrival)
            if arrival.known or response.status_code != 404:
                response.raise_for_status()
            self.service.record(arrival.kind, str(response.status_code), started, None)
        except (httpx.HTTPError, TimeoutError) as error:
            name = _outcome(error)
            self.service.failed(TARGET, error, kind=arrival.kind, sku=arrival.sku)
            self.service.record(arrival.kind, name, started, name)

    async def _request(self, arrival: Arrival) -> httpx.Response:
        if arrival.kind == "browse":
            return await self._client.get(f"/products/{arrival.sku}")
        wish = {"sku": arrival.sku, "quantity": arrival.quantity, "customer": arrival.customer}
        return await self._client.post("/checkout", json=wish)

    @asynccontextmanager
    async def resources(self) -> AsyncIterator[None]:
        async with self._gateway, self._client:
            self._start_sending()
            try:
                yield
            finally:
                await self._stop_sending()
                await end(*self._in_flight)

    def app(self) -> Starlette:
        """Return the application."""
        routes = [
            self.service.plain("/stats", self.stats),
            self.service.plain("/settings", self.settings),
            self.service.plain("/settings", self.change, "PUT"),
        ]
        return self.service.app(routes, self.resources)


def _outcome(error: Exception) -> str:
    """Return a failure in one word: the status, `timeout`, or the error's name."""
    if isinstance(error, httpx.HTTPStatusError):
        return str(error.response.status_code)
    if isinstance(error, (httpx.TimeoutException, TimeoutError)):
        return "timeout"
    return explain(error).code


def _span(text: str | None) -> float:
    if text is None:
        return DEFAULT_SPAN_S
    try:
        span_s = float(text)
    except ValueError:
        span_s = float("nan")
    if not 0 < span_s <= KEEP_S:
        raise RequestRefused(422, f"window_s must be a number of seconds in 0..{KEEP_S:g}, not {text[:40]!r}")
    return span_s


def build(settings: LoadgenSettings) -> tuple[Own, Starlette]:
    """Return the service's own settings and its application."""
    return settings.own, LoadGenerator(settings).app()


if __name__ == "__main__":
    serve(LoadgenSettings.read, build)
