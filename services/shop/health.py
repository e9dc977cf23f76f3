"""How a service is: its dependencies as really measured, its last requests, its last error, what it uses.

Checks run in the background once a second, each bounded by `CHECK_TIMEOUT_S`, so that asking for the health answers at
once from memory, whatever hangs. A check is an awaitable that raises what the dependency's client raised.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from broker.tasks import until_any_ends
from services.shop.errors import Failure, explain
from services.shop.logs import Log
from services.shop.metrics import Metrics
from services.shop.usage import ScopeUsage, Usage
from services.shop.window import Summary, Window

CHECK_PERIOD_S = 1.0
CHECK_TIMEOUT_S = 1.0
REPEAT_S = 10.0
"""A dependency that stays down is logged again after this, so that a quiet service's log still says so."""
LAST_ERROR_S = 10.0
"""An error older than this is no longer reported."""

Check = Callable[[], Awaitable[None]]
Status = Literal["OK", "WARN", "ERROR"]


@dataclass(frozen=True, slots=True)
class Reading:
    """Outcome of one dependency check."""

    latency_ms: float
    failure: Failure | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the reading as the health answer shows it."""
        return {
            "ok": self.failure is None,
            "latency_ms": round(self.latency_ms, 3),
            "error": self.failure.text if self.failure else None,
            "error_code": self.failure.code if self.failure else None,
        }


@dataclass(frozen=True, slots=True)
class LastError:
    """The newest failure, whoever met it: a request or a check."""

    at_s: float
    wall: datetime
    failure: Failure


def judge(
    readings: Mapping[str, Reading], optional: frozenset[str], recent: Summary, *, stalled: bool = False
) -> Status:
    """Return the status of a service.

    ERROR: a dependency it cannot work without fails its check, or at least half of its recent requests failed.
    WARN: an optional dependency fails, some recent requests failed, or a queue gives nothing of what waits.
    """
    failing = {name for name, reading in readings.items() if reading.failure}
    if failing - optional or (recent.count and recent.errors * 2 >= recent.count):
        return "ERROR"
    return "WARN" if failing or recent.errors or stalled else "OK"


class Health:
    """Watches one service. `watch` runs for as long as the service does."""

    def __init__(
        self,
        service: str,
        checks: Mapping[str, Check],
        optional: frozenset[str],
        window: Window,
        scope: ScopeUsage,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self._service = service
        self._checks = checks
        self._optional = optional
        self._window = window
        self._scope = scope
        self._log = log
        self._metrics = metrics
        self._readings: dict[str, Reading] = {}
        self._logged_s: dict[str, float] = {}
        self._last_error: LastError | None = None
        self._usage = Usage(0.0, 0)
        self._stall: dict[str, Any] | None = None

    def note_stall(self, dependency: str, messages: int) -> None:
        """Remember how many messages a queue holds back right now; 0: none."""
        self._stall = {"dependency": dependency, "messages": messages} if messages else None

    def note_error(self, failure: Failure) -> None:
        """Remember the newest failure."""
        self._last_error = LastError(time.monotonic(), datetime.now(UTC), failure)

    async def first_look(self) -> None:
        """Check every dependency once; returns after at most `CHECK_TIMEOUT_S`."""
        await asyncio.gather(*(self._check(name) for name in self._checks))
        self._sample_usage()

    async def watch(self) -> None:
        """Check and sample once a second, until cancelled."""
        await until_any_ends(*(self._every_second(name) for name in self._checks), self._sample())

    def report(self) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status (200, or 503 when the status is ERROR) and the body of the health answer."""
        now = time.monotonic()
        recent = self._window.summary(now)
        last = self._last_error
        if last is not None and now - last.at_s > LAST_ERROR_S:
            last = None
        status = judge(self._readings, self._optional, recent, stalled=self._stall is not None)
        body = {
            "status": status,
            "service": self._service,
            "dependencies": {name: reading.as_json() for name, reading in self._readings.items()},
            "requests": _requests(recent),
            "stalled": self._stall,
            "last_error": last
            and {"ts": last.wall.isoformat(), "error_code": last.failure.code, "msg": last.failure.text},
            "cpu_load": round(self._usage.cores, 4),
            "mem_bytes": self._usage.mem_bytes,
        }
        return (503 if status == "ERROR" else 200), body

    async def _every_second(self, name: str) -> None:
        while True:
            started = time.monotonic()
            await self._check(name)
            await asyncio.sleep(max(0.05, CHECK_PERIOD_S - (time.monotonic() - started)))

    async def _check(self, name: str) -> None:
        reading = await measure(self._checks[name])
        self._metrics.dependency(name, reading.failure is None, reading.latency_ms / 1_000)
        before = self._readings.get(name)
        self._readings[name] = reading
        if reading.failure is not None:
            self._say_failing(name, reading.failure, before is None or before.failure is None)
        elif before is not None and before.failure is not None:
            self._log.info(f"{name} answers again", dependency=name)

    def _say_failing(self, name: str, failure: Failure, news: bool) -> None:
        self.note_error(failure)
        now = time.monotonic()
        if not news and now - self._logged_s.get(name, 0.0) < REPEAT_S:
            return
        self._logged_s[name] = now
        self._metrics.error(name, failure.code)
        say = self._log.warn if name in self._optional else self._log.error
        say(failure.text, dependency=name, error_code=failure.code, check=True)

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(CHECK_PERIOD_S)
            self._sample_usage()

    def _sample_usage(self) -> None:
        self._usage = self._scope.sample(time.monotonic())
        self._metrics.usage(self._usage.cores, self._usage.mem_bytes)


async def measure(check: Check, timeout_s: float = CHECK_TIMEOUT_S) -> Reading:
    """Run a check and return its outcome; whatever it raises is the finding, not a fault of ours."""
    started = time.perf_counter()
    failure = None
    try:
        async with asyncio.timeout(timeout_s):
            await check()
    except Exception as error:
        failure = explain(error)
    return Reading((time.perf_counter() - started) * 1_000, failure)


def _requests(recent: Summary) -> dict[str, Any]:
    return {
        "window_s": recent.span_s,
        "count": recent.count,
        "errors": recent.errors,
        "p95_ms": None if recent.p95_ms is None else round(recent.p95_ms, 3),
        "rate": round(recent.rate, 3),
    }
