"""From answers to telemetry: pure functions, one per kind of probe.

| status | when |
|---|---|
| ERROR | the probe failed; the device says so itself (503 or `ERROR`: it lacks what it cannot work without); at least half of its requests failed |
| WARN | a dependency fails or is slow, a queue gives it nothing of what waits, some requests failed, its own latency nears the users' objective, `cpu_load` above 0.9 |
| OK | else |

A device's own word WARN is not taken over: it remembers errors for ten seconds, while all that is judged here is what
holds now, so that a repair shows at once. `note` lists failing dependencies as `name=error_code`, slow ones as
`slow:name=120ms`.
"""  # noqa: E501 - a table

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from broker.contracts.inventory import Device, Objective
from broker.contracts.telemetry import Metrics, Status, Telemetry
from monitor_svc.errors import ProbeError
from monitor_svc.sensors.clean import NAME, child, clean_code, clean_text, number, parse_object, ratio

HIGH_ERROR_RATIO = 0.5
SOME_ERROR_RATIO = 0.01
SLOW_DEPENDENCY_MS = 150.0
SLOW_SHARE = 0.5
"""Share of the users' latency objective that a single service's 95th percentile may take."""
HIGH_CPU_LOAD = 0.9
LAST_ERROR_S = 10.0
"""An error older than this says nothing about now."""
MAX_TEXT = 500
MAX_DEPENDENCIES = 16
BAD_ANSWER = "BadAnswer"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What an HTTP probe brought back."""

    status: int
    body: bytes
    latency_ms: float


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What a protocol probe of a database, cache or queue brought back; None: the protocol does not say."""

    latency_ms: float
    cpu_load: float | None = None
    mem_usage: float | None = None


@dataclass(frozen=True, slots=True)
class Dependency:
    """One dependency check as the dependent saw it."""

    name: str
    failed: str | None
    """Error code, or None if the check passed."""
    latency_ms: float | None


def of_failure(device: Device, at: datetime, failure: ProbeError) -> Telemetry:
    """Return the telemetry of a device whose probe failed."""
    return Telemetry(
        device_id=device.name,
        timestamp=at,
        status="ERROR",
        metrics=Metrics(cpu_load=None, mem_usage=None, latency_ms=number(failure.latency_ms)),
        error_code=clean_code(failure.code) or "ProbeError",
        log_sample=clean_text(str(failure), MAX_TEXT),
    )


def of_server(device: Device, at: datetime, answer: ServerAnswer) -> Telemetry:
    """Return the telemetry of a database, cache or queue that answered."""
    cpu_load = number(answer.cpu_load)
    slow = answer.latency_ms > SLOW_DEPENDENCY_MS
    busy = cpu_load is not None and cpu_load > HIGH_CPU_LOAD
    return Telemetry(
        device_id=device.name,
        timestamp=at,
        status="WARN" if slow or busy else "OK",
        metrics=Metrics(cpu_load=cpu_load, mem_usage=number(answer.mem_usage), latency_ms=number(answer.latency_ms)),
    )


def of_stats(device: Device, at: datetime, answer: HttpAnswer, objective: Objective) -> Telemetry:
    """Return the telemetry of the users' traffic. ERROR: the objective is missed; WARN: nobody came.

    Raises:
        ProbeError: the answer is none.
    """
    stats = _object(device, answer, frozenset({200}))
    good, bad = number(stats.get("ok")), number(stats.get("failed"))
    finished = None if good is None or bad is None else good + bad
    success_ratio = ratio(good, finished)
    latency_ms = number(stats.get("p95_ms"))
    missed = success_ratio is not None and success_ratio < objective.success_ratio
    missed = missed or (latency_ms is not None and latency_ms > objective.latency_ms)
    quiet: Status = "WARN" if success_ratio is None else "OK"
    errors = child(stats, "errors")
    worst = max(sorted(errors), key=lambda name: number(errors[name]) or 0.0, default=None)
    return Telemetry(
        device_id=device.name,
        timestamp=at,
        status="ERROR" if missed else quiet,
        metrics=Metrics(
            cpu_load=None,
            mem_usage=None,
            latency_ms=latency_ms,
            success_ratio=success_ratio,
            request_rate=_rate(finished, stats),
        ),
        error_code=clean_code(worst),
    )


def _rate(finished: float | None, stats: dict[str, object]) -> float | None:
    """Finished requests per second: what was merely sent proves nothing."""
    window_s = number(stats.get("window_s"))
    return finished / window_s if finished is not None and window_s else None


def of_health(device: Device, at: datetime, answer: HttpAnswer, objective: Objective) -> Telemetry:
    """Return the telemetry of a service from its health answer.

    Raises:
        ProbeError: the answer is none of a health check.
    """
    body = _object(device, answer, frozenset({200, 503}))
    requests = child(body, "requests")
    count, errors = number(requests.get("count")), number(requests.get("errors"))
    good = None if count is None or errors is None else count - errors
    success_ratio = ratio(good, count)
    dependencies = tuple(_dependencies(body))
    cpu_load = number(body.get("cpu_load"))
    code, sample = _last_error(body, at)
    status = _judge(
        says_error=answer.status == 503 or body.get("status") == "ERROR",
        error_ratio=ratio(errors, count) or 0.0,
        troubled=any(item.failed or _is_slow(item) for item in dependencies)
        or bool(child(body, "stalled"))
        or (cpu_load is not None and cpu_load > HIGH_CPU_LOAD)
        or (number(requests.get("p95_ms")) or 0.0) > objective.latency_ms * SLOW_SHARE,
    )
    return Telemetry(
        device_id=device.name,
        timestamp=at,
        status=status,
        metrics=Metrics(
            cpu_load=cpu_load,
            mem_usage=number(body.get("mem_bytes")),
            latency_ms=number(answer.latency_ms),
            success_ratio=success_ratio,
            request_rate=number(requests.get("rate")),
        ),
        error_code=code or next((item.failed for item in dependencies if item.failed), None),
        log_sample=sample,
        note=note_of(dependencies),
    )


def _judge(*, says_error: bool, error_ratio: float, troubled: bool) -> Status:
    if says_error or error_ratio >= HIGH_ERROR_RATIO:
        return "ERROR"
    return "WARN" if troubled or error_ratio > SOME_ERROR_RATIO else "OK"


def note_of(dependencies: Iterable[Dependency]) -> str | None:
    """Return failing and slow dependencies in one line, or None. Pairs are never cut in half."""
    pairs = [
        f"{item.name}={item.failed}" if item.failed else f"slow:{item.name}={item.latency_ms:.0f}ms"
        for item in dependencies
        if item.failed or _is_slow(item)
    ]
    while len(",".join(pairs)) > MAX_TEXT:
        pairs.pop()
    return ",".join(pairs) or None


def _is_slow(item: Dependency) -> bool:
    return item.latency_ms is not None and item.latency_ms > SLOW_DEPENDENCY_MS


def _dependencies(body: dict[str, object]) -> Iterable[Dependency]:
    for name, value in list(child(body, "dependencies").items())[:MAX_DEPENDENCIES]:
        if NAME.fullmatch(name) and isinstance(value, dict):
            failed = None if value.get("ok") is True else clean_code(value.get("error_code")) or "unknown"
            yield Dependency(name, failed, number(value.get("latency_ms")))


def _last_error(body: dict[str, object], at: datetime) -> tuple[str | None, str | None]:
    """Return code and text of the newest error unless it is too old to matter."""
    last = child(body, "last_error")
    said = _time(last.get("ts"))
    if said is not None and (at - said).total_seconds() > LAST_ERROR_S:
        return None, None
    return clean_code(last.get("error_code")), clean_text(last.get("msg"), MAX_TEXT)


def _time(value: object) -> datetime | None:
    try:
        said = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return said if said is not None and said.tzinfo is not None else None


def _object(device: Device, answer: HttpAnswer, statuses: frozenset[int]) -> dict[str, object]:
    if answer.status not in statuses:
        raise ProbeError(
            f"HTTP{answer.status}", f"{device.name} answered its probe with HTTP {answer.status}", answer.latency_ms
        )
    body = parse_object(answer.body)
    if body is None:
        raise ProbeError(BAD_ANSWER, f"{device.name} answered its probe with something else", answer.latency_ms)
    return body
