"""The dashboard's own metrics, and what counts them: plain ASGI, outside the door, so that refusals count too."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.runtime.metrics import CONTENT_TYPE
from dashboard.api.guard import EVENTS

CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")


class DashboardMetrics:
    """The registry and what is in it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.answers = Counter(
            "triage_dashboard_answers_total",
            "Answers, by the class of their status.",
            ["status"],
            registry=self.registry,
        )
        self.streams = Gauge("triage_dashboard_streams", "Pages that follow the journal now.", registry=self.registry)
        for name in CLASSES:
            self.answers.labels(name)
        ProcessCollector(registry=self.registry)

    def response(self) -> Response:
        """Return what /metrics answers."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE)


class Counted:
    """Wraps an application and counts what it answers."""

    def __init__(self, app: ASGIApp, metrics: DashboardMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == EVENTS:
            with self._metrics.streams.track_inprogress():
                await self._app(scope, receive, self._counting(send))
        else:
            await self._app(scope, receive, self._counting(send))

    def _counting(self, send: Send) -> Send:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answers.labels(f"{message['status'] // 100}xx").inc()
            await send(message)

        return counted
