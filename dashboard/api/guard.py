"""The door: who may ask, how much may be sent, what every answer carries. Plain ASGI, so that streams stream.

- Host: bound to loopback, only loopback names are answered, so that a foreign name that resolves to 127.0.0.1 (DNS
  rebinding) is not.
- Origin: a page of another origin gets nothing, whatever the method. Commands besides need a header that no form can
  send (`Idempotency-Key`) and a JSON body, and no CORS permission is ever given.
- Token: bound elsewhere, every request under /api needs it.
- Body: at most `MAX_BODY` bytes, counted as they come.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.api.errors import Problem

MAX_BODY: Final = 1_048_576
"""Longest body of a request, bytes; an incident's text and an alert group are far shorter."""
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
EVENTS: Final = "/api/events"
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """How the door is set."""

    token: str | None = None
    """What every request under /api must show; None: bound to loopback, none is needed."""
    hosts: frozenset[str] | None = LOOPBACK
    """Names under which we answer; None: any, for the token stands for it."""


class Guard:
    """Wraps an application."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive)
        door = _Door(send, scope["path"], body)
        try:
            self._check(scope, Headers(scope=scope))
        except Problem as problem:
            await door.refuse(problem)
            return
        await self._app(scope, body.receive, door.send)
        if body.over:
            await door.refuse(_too_large())

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        name = _name_of(host)
        if self._rules.hosts is not None and name not in self._rules.hosts:
            raise Problem(
                403,
                "foreign_host",
                f"This is not {name[:80]!r}: the request came under a foreign name.",
                "Open the address that `triage dashboard` prints.",
            )
        origin = headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        if foreign or (headers.get("sec-fetch-site") == "cross-site" and scope["path"].startswith("/api")):
            raise Problem(
                403,
                "foreign_origin",
                "The request came from a page of another origin.",
                "Use the dashboard's own page.",
            )
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            raise _too_large()
        if scope["path"].startswith("/api"):
            self._check_token(scope, headers)
            _check_kind(scope, headers)

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        if self._rules.token is None:
            return
        kind, _, shown = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            shown = ""
        if not shown and scope["path"] == EVENTS:  # an EventSource can send no header
            shown = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        if not hmac.compare_digest(shown.encode(), self._rules.token.encode()):
            what = "The token is wrong." if shown else "A token is needed."
            raise Problem(401, "token_wrong", what, "Enter the token that stands in the dashboard's token file.")


def _check_kind(scope: Scope, headers: Headers) -> None:
    """Refuse bodies that a form of a foreign page could send without asking first."""
    if scope["method"] == "POST" and headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Problem(415, "bad_request", "The body must be application/json.", "Send JSON.")


def _name_of(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def _too_large() -> Problem:
    return Problem(413, "too_large", f"The body has more than {MAX_BODY:,} bytes.", "Send less.")


class _Body:
    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._bytes = 0
        self.over = False
        """More came than is allowed; what the application then answers is not sent."""

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self.over = self.over or self._bytes > MAX_BODY
        return {"type": "http.disconnect"} if self.over else message


class _Door:
    def __init__(self, send: Send, path: str, body: _Body) -> None:
        self._send = send
        self._path = path
        self._body = body
        self._started = False

    async def send(self, message: Message) -> None:
        if self._body.over and not self._started:
            return
        await self._pass(message)

    async def _pass(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            own = [*HEADERS, *(((b"cache-control", b"no-store"),) if self._path.startswith("/api") else ())]
            names = {name for name, _ in own}
            kept = [pair for pair in message.get("headers", ()) if pair[0].lower() not in names]
            message = {**message, "headers": [*kept, *own]}
        await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        if self._started:
            return
        body = json.dumps({"error": problem.error, "message": problem.message, "next": problem.next}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if problem.status in (413,):  # what was not read must not be taken for the next request
            headers.append((b"connection", b"close"))
        await self._pass({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self._pass({"type": "http.response.body", "body": body})
