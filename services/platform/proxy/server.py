"""The platform proxy over HTTP: the only one that sees Docker's socket, and a narrow door in front of it.

`POST /v1/<verb>` with a bearer token and a JSON object; `GET /v1/events` streams JSON lines; `/healthz` and `/metrics`
are open. A caller cannot say anything but the verbs of `wire.VERBS`, and each client only what `policy` allows it. What
is refused is logged (`platform_refused`) and counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Final, Protocol

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from structlog.typing import FilteringBoundLogger

from broker.bodies import whole
from broker.tasks import end
from services.platform.docker.events import WorkloadEvent
from services.platform.port import NotManagedError, PlatformError, RefusedError
from services.platform.proxy import policy
from services.platform.proxy.metrics import ProxyMetrics
from services.platform.proxy.policy import CHANGE, EVENTS, FAULT, LOOK, Client, Refusal
from services.platform.proxy.tokens import Tokens
from services.platform.proxy.wire import MAX_BODY, VERBS, Verb, error_body, status_of

HEARTBEAT_S: Final = 2.0
"""An empty line is sent on the stream of events at least this often, so that a dead one is told from a quiet one."""


class World(Protocol):
    """What the server serves; `world.WatchedWorld` outside of tests."""

    @property
    def platform(self) -> Any: ...

    @property
    def faults(self) -> Any: ...

    @property
    def ready(self) -> bool: ...

    async def containers(self) -> Any: ...

    async def stats(self, name: str) -> Any: ...

    def events(self) -> Any: ...

    async def run(self) -> None: ...

    async def close(self) -> None: ...


class Server:
    """Judges calls and has the world carry them out."""

    def __init__(self, world: World, tokens: Tokens, metrics: ProxyMetrics, log: FilteringBoundLogger) -> None:
        self._world = world
        self._tokens = tokens
        self._metrics = metrics
        self._log = log
        self._one_log = asyncio.Semaphore(1)

    def app(self) -> Starlette:
        """Return the application; the world is watched while it lives."""
        return Starlette(
            routes=[
                Route("/v1/events", self._events, methods=["GET"]),
                Route("/v1/{verb}", self._call, methods=["POST"]),
                Route("/healthz", self._healthz, methods=["GET"]),
                Route("/metrics", self._show_metrics, methods=["GET"]),
            ],
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        watch = asyncio.create_task(self._world.run())
        try:
            yield
        finally:
            await end(watch)
            await self._world.close()

    async def _healthz(self, _request: Request) -> Response:
        ready = self._world.ready
        body = {"status": "OK" if ready else "ERROR", "checks": {"inventory_and_engine": ready}}
        return JSONResponse(body, 200 if ready else 503)

    async def _show_metrics(self, _request: Request) -> Response:
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def _call(self, request: Request) -> Response:
        name, client = str(request.path_params["verb"]), self._tokens.client_of(request.headers.get("authorization"))
        verb = VERBS.get(name)
        label, began = name if verb is not None else "unknown", time.monotonic()
        outcome, target = "ok", ""
        try:
            refusal = policy.judge(client, name)
            if refusal is not None or verb is None:
                raise self._refused(refusal or "verb_not_allowed", client, name if verb else "unknown", "")
            arguments = verb.read(await _body(request))
            target = verb.target(arguments)
            await self._require_managed(client, verb, target)
            result = await self._carry_out(verb, arguments)
            return Response(verb.result.dump_json(result), media_type="application/json")
        except PlatformError as error:
            outcome = error_body(error)["kind"]
            return JSONResponse(error_body(error), status_of(error))
        except Exception as error:
            outcome = type(error).__name__
            self._log.exception("platform_call_failed", client=client, verb=name, target=target)
            return JSONResponse({"kind": "PlatformError", "text": f"the platform proxy failed: {outcome}"}, 500)
        finally:
            self._count(client, label, target, outcome, time.monotonic() - began)

    async def _require_managed(self, client: Client | None, verb: Verb, target: str) -> None:
        """Refuse a change of what is not managed before anything is asked of the engine."""
        if verb.name in LOOK or verb.name.startswith(FAULT) or not target:
            return
        managed = (await self._world.platform.group(target)).managed
        refusal = policy.judge(client, verb.name, managed)
        if refusal is not None:
            raise self._refused(refusal, client, verb.name, target)

    async def _carry_out(self, verb: Verb, arguments: Mapping[str, Any]) -> Any:
        world = self._world
        holder: Any = world.faults if verb.name.startswith(FAULT) else world.platform
        if verb.name in ("stats", "containers"):
            holder = world
        if verb.part:
            holder = getattr(holder, verb.part)
        # a log is some MiB, several times while it is read
        async with self._one_log if verb.name == "logs" else nullcontext():
            return await getattr(holder, verb.method)(**arguments)

    async def _events(self, request: Request) -> Response:
        client = self._tokens.client_of(request.headers.get("authorization"))
        refusal = policy.judge(client, EVENTS)
        self._count(client, EVENTS, "", "RefusedError" if refusal else "ok", 0.0)
        if refusal is not None:
            error = self._refused(refusal, client, EVENTS, "")
            return JSONResponse(error_body(error), status_of(error))
        return StreamingResponse(self._stream(), media_type="application/x-ndjson")

    async def _stream(self) -> AsyncIterator[bytes]:
        async with self._world.events() as queue:
            yield b"\n"
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        event: WorkloadEvent = await queue.get()
                    yield event.encode() + b"\n"
                except TimeoutError:
                    yield b"\n"

    def _refused(self, refusal: Refusal, client: Client | None, verb: str, target: str) -> PlatformError:
        shown = client or "unknown"
        self._metrics.refused.labels(shown, verb).inc()
        self._log.warning("platform_refused", client=shown, verb=verb, target=target, reason=refusal)
        text = policy.sentence(refusal, client, verb, target)
        return NotManagedError(text) if refusal == "not_managed" else RefusedError(text)

    def _count(self, client: Client | None, verb: str, target: str, outcome: str, seconds: float) -> None:
        self._metrics.calls.labels(client or "unknown", verb, outcome).inc()
        self._metrics.seconds.labels(verb).observe(seconds)
        if verb in CHANGE or verb.startswith(FAULT):
            self._log.info(
                "platform_call", client=client, verb=verb, target=target, outcome=outcome, seconds=round(seconds, 3)
            )


async def _body(request: Request) -> bytes:
    """Read a call's body.

    Raises:
        PlatformError: it is longer than MAX_BODY.
    """
    return await whole(request.stream(), MAX_BODY, PlatformError(f"a call has at most {MAX_BODY} bytes"))
