"""The application: routes over the feed, the records and the stack. `make_app` is given everything it uses."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from dashboard.api import page, routes_commands, routes_read
from dashboard.api.answers import Error
from dashboard.api.commands import Commands
from dashboard.api.errors import Problem, problem_of
from dashboard.api.feed import Feed
from dashboard.api.guard import Guard, Rules
from dashboard.api.idempotency import Once
from dashboard.api.metrics import Counted, DashboardMetrics
from dashboard.api.records import Records
from dashboard.api.stack import StackDoor

_log = logging.getLogger("dashboard")
DESCRIPTION = """Reads the journal and the audit; says what a person commands, signed as the operator.

Every error is `{error, message, next}`. Times are microseconds since the epoch (`_us`), seconds (`_s`) or milliseconds
(`_ms`)."""
REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": Error, "description": text}
    for code, text in (
        (401, "the token is wrong or missing"),
        (403, "a foreign origin or host"),
        (404, "not there"),
        (409, "refused as things stand"),
        (413, "the body is too large"),
        (415, "the body is no JSON"),
        (422, "the request cannot be read"),
        (501, "not possible on this platform"),
        (503, "the stack, or a part of it, is away"),
    )
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes use."""

    feed: Feed
    records: Records
    stack: StackDoor
    rules: Rules = field(default_factory=Rules)
    page: Path | None = None
    """Folder of the built page; None: where the package has it."""
    metrics: DashboardMetrics = field(default_factory=DashboardMetrics)


def make_api(parts: Parts) -> FastAPI:
    """Return the application without its door."""
    api = FastAPI(
        title="Agentic Triage dashboard",
        version="1",
        description=DESCRIPTION,
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's own documentation pages load scripts from elsewhere
        redoc_url=None,
        responses=REFUSALS,
    )
    api.include_router(routes_read.router(parts.feed, parts.records, parts.stack, parts.rules))
    api.include_router(routes_commands.router(Commands(parts.feed), parts.feed, parts.stack, Once()))
    _refusals(api)
    api.add_api_route("/metrics", parts.metrics.response, include_in_schema=False)
    page.mount(api, parts.page)
    return api


def make_app(parts: Parts) -> ASGIApp:
    """Return the application behind its door; all its answers are counted."""
    return Counted(Guard(make_api(parts), parts.rules), parts.metrics)


def _refusals(api: FastAPI) -> None:
    @api.exception_handler(RequestValidationError)
    async def unreadable(_request: Request, error: RequestValidationError) -> JSONResponse:
        faults = [f"{'.'.join(str(part) for part in f['loc'][1:]) or 'body'}: {f['msg']}" for f in error.errors()[:3]]
        return _json(
            Problem(
                422, "bad_request", f"The request cannot be read: {'; '.join(faults)}.", "Mend it and send it again."
            )
        )

    @api.exception_handler(HTTPException)
    async def not_there(request: Request, error: HTTPException) -> JSONResponse:
        what = f"{request.method} {request.url.path[:120]}"
        if error.status_code == 404:
            return _json(Problem(404, "not_found", f"There is nothing at {what}.", "See: /api/openapi.json"))
        if error.status_code == 400:
            return _json(Problem(422, "bad_request", "The body is no JSON text.", "Mend it and send it again."))
        return _json(Problem(error.status_code, "refused", f"{what}: {error.detail}.", "See: /api/openapi.json"))

    api.add_middleware(Foreseen)


class Foreseen:
    """Turns errors of the layers below into answers; what nobody foresaw is logged and named as a fault of ours."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def sending(message: Any) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            problem = problem_of(error)
            if started:
                raise
            if problem is None:
                _log.exception("%s %s failed", scope["method"], scope["path"])
                problem = Problem(500, "fault", "The API itself failed at this.", "See its log; please report it.")
            await _json(problem)(scope, receive, send)


def _json(problem: Problem) -> JSONResponse:
    body = {"error": problem.error, "message": problem.message, "next": problem.next}
    return JSONResponse(body, status_code=problem.status)
