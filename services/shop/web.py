"""The HTTP shell every shop service stands in: routes, error answers, `/healthz`, `/metrics`, start and stop.

A handler returns a JSON value, or raises; what it raises becomes the answer, one log line, a metric and a sample of the
window. Nothing else in the shop writes these.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import uvicorn
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from broker.bodies import whole
from broker.tasks import end
from services.shop import metrics as shop_metrics
from services.shop.errors import (
    ConsumerStalledError,
    DependencyFailed,
    Failure,
    OverloadedError,
    RequestRefused,
    SettingsError,
    explain,
)
from services.shop.health import Check, Health
from services.shop.logs import Log, configure
from services.shop.metrics import Metrics
from services.shop.settings import Environment, Own
from services.shop.usage import ScopeUsage
from services.shop.window import Sample, Window

MAX_BODY = 16_384
"""Longest request body, bytes."""
MAX_IN_FLIGHT = 64
"""Requests worked on at once: at 20 a second, with callers that wait 1.5 s, more are only there because the service is
too slow, and serving them late would make it slower still."""
GRACE_S = 1
"""Seconds that running requests have to end after SIGTERM."""

Handler = Callable[[Request], Awaitable[Any]]
Body = TypeVar("Body", bound=BaseModel)
SettingsT = TypeVar("SettingsT")


class Service:
    """What a shop service is made of, besides its own handlers."""

    def __init__(self, own: Own, checks: Mapping[str, Check], optional: frozenset[str] = frozenset()) -> None:
        self.own = own
        self.log = Log(own.service)
        self.metrics = Metrics()
        self.window = Window()
        self._in_flight = 0
        self.health = Health(
            own.service, checks, optional, self.window, ScopeUsage(own.scope, own.port), self.log, self.metrics
        )

    def record(self, operation: str, status: str, started_s: float, error: str | None) -> None:
        """Count a finished request or message; `started_s` is `time.monotonic()` at its arrival."""
        now = time.monotonic()
        self.window.add(Sample(now, (now - started_s) * 1_000, error))
        self.metrics.request(operation, status, now - started_s, failed=error is not None)

    def failed(self, dependency: str, error: Exception, **meta: Any) -> Failure:
        """Log one ERROR line for a failed request or message, under the name the real software gave the failure."""
        failure = explain(error)
        self.health.note_error(failure)
        self.metrics.error(dependency, failure.code)
        self.log.error(failure.text, dependency=dependency, error_code=failure.code, **meta)
        return failure

    def degraded(self, dependency: str, error: Exception, **meta: Any) -> None:
        """Log one WARN line for a dependency that a request could do without."""
        failure = explain(error)
        self.health.note_error(failure)
        self.metrics.error(dependency, failure.code)
        self.log.warn(failure.text, dependency=dependency, error_code=failure.code, **meta)

    def stalled(self, dependency: str, stall: ConsumerStalledError | None, **meta: Any) -> None:
        """Say of a queue that it gives nothing of what waits, or (None) that it does so no longer."""
        self.health.note_stall(dependency, 0 if stall is None else stall.waiting)
        if stall is not None:
            self.degraded(dependency, stall, **meta)

    def route(self, path: str, handler: Handler, method: str = "GET", status: int = 200) -> Route:
        """Return a counted route; `status` is that of a good answer."""
        operation = f"{method} {path}"

        async def endpoint(request: Request) -> Response:
            started = time.monotonic()
            response = await self._answer(request, handler, status)
            bad = str(response.status_code) if response.status_code >= 500 else None
            self.record(operation, str(response.status_code), started, bad)
            return response

        return Route(path, endpoint, methods=[method])

    def plain(self, path: str, handler: Handler, method: str = "GET") -> Route:
        """Return a route about the service itself: not part of its requests."""

        async def endpoint(request: Request) -> Response:
            return await self._answer(request, handler, 200)

        return Route(path, endpoint, methods=[method])

    async def _answer(self, request: Request, handler: Handler, status: int) -> Response:
        self._in_flight += 1
        try:
            return await self._answer_now(request, handler, status)
        finally:
            self._in_flight -= 1

    async def _answer_now(self, request: Request, handler: Handler, status: int) -> Response:
        about: dict[str, Any] = {"method": request.method, "path": request.url.path[:200]}
        try:
            if self._in_flight > MAX_IN_FLIGHT:
                raise OverloadedError(f"more than {MAX_IN_FLIGHT} requests are in flight")
            return JSONResponse(await handler(request), status)
        except RequestRefused as refused:
            self.log.warn(str(refused), status=refused.status, **about)
            return JSONResponse({"error": {"code": "refused", "msg": str(refused)}}, refused.status)
        except OverloadedError as overload:
            return _failure(503, self.failed(self.own.service, overload, status=503, **about), self.own.service)
        except DependencyFailed as failed:
            if failed.upstream is not None:
                about["upstream"] = failed.upstream
            failure = self.failed(failed.dependency, failed.cause, status=failed.status, **about)
            return _failure(failed.status, failure, failed.dependency, failed.upstream)
        except Exception as error:
            return _failure(500, self.failed(self.own.service, error, status=500, **about), self.own.service)

    def app(self, routes: list[Route], resources: Callable[[], AbstractAsyncContextManager[None]]) -> Starlette:
        """Return the application; `resources` is entered before it serves and left after."""

        async def healthz(_: Request) -> Response:
            status, body = self.health.report()
            return JSONResponse(body, status)

        async def metrics(_: Request) -> Response:
            return Response(self.metrics.render(), media_type=shop_metrics.CONTENT_TYPE)

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            async with resources():
                await self.health.first_look()
                watching = asyncio.create_task(self.health.watch())
                self.log.info("serving", port=self.own.port)
                try:
                    yield
                finally:
                    await end(watching)
                    self.log.info("stopping")

        return Starlette(routes=[*routes, Route("/healthz", healthz), Route("/metrics", metrics)], lifespan=lifespan)


def _failure(status: int, failure: Failure, dependency: str, upstream: object = None) -> Response:
    error: dict[str, object] = {"code": failure.code, "msg": failure.text, "dependency": dependency}
    if upstream is not None:
        error["upstream"] = upstream
    return JSONResponse({"error": error}, status)


async def body_of(request: Request, model: type[Body]) -> Body:
    """Return the request's JSON body as a value of `model`.

    Raises:
        RequestRefused: 413 if it is longer than `MAX_BODY`, 422 if it is not such a value.
    """
    too_long = RequestRefused(413, f"the body is longer than {MAX_BODY} bytes")
    data = await whole(request.stream(), MAX_BODY, too_long)
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise RequestRefused(422, f"{where}: {first['msg']}") from error


def settings_or_exit(read: Callable[[Environment], SettingsT]) -> SettingsT:
    """Return the settings of this process; a fault is one sentence on standard error and exit code 2."""
    try:
        return read(Environment(os.environ))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error


def _listener(own: Own) -> socket.socket:
    """Return the bound socket. Taken before anything else is started: a service without its port has nothing to stop.

    Raises:
        SystemExit: 1, the port is taken; said in one log line.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((own.host, own.port))
    except OSError as error:
        listener.close()
        failure = explain(error)
        Log(own.service).error(f"{failure.text}: port {own.port}", error_code=failure.code)
        raise SystemExit(1) from error
    return listener


def serve(read: Callable[[Environment], SettingsT], build: Callable[[SettingsT], tuple[Own, Starlette]]) -> None:
    """Run one service until SIGTERM or SIGINT; never returns.

    The exit code is 0 after a signal, 1 if the service could not start (its port is taken).
    """
    own, app = build(settings_or_exit(read))
    configure(own.service)
    config = uvicorn.Config(
        app,
        host=own.host,
        port=own.port,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=GRACE_S,
    )
    listener = _listener(own)
    server = uvicorn.Server(config)
    # uvicorn raises the signal again once it has stopped: a handler of ours makes that a clean end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    code = 0
    try:
        asyncio.new_event_loop().run_until_complete(server.serve(sockets=[listener]))
    except SystemExit:
        code = 1
    sys.stdout.flush()
    # A name look-up that hangs in a thread cannot be cancelled, and leaving normally would wait for it.
    os._exit(code if server.started else 1)
