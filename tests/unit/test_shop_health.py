"""What a shop service says of itself: status, checks, usage, log lines."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest

from broker.contracts.telemetry import LogLine
from broker.tasks import end
from services.shop.arrivals import ODD_CUSTOMERS
from services.shop.errors import Failure
from services.shop.health import Check, Health, Reading, judge, measure
from services.shop.logs import JsonLines, Log
from services.shop.metrics import Metrics
from services.shop.usage import ScopeUsage, cores, in_scope
from services.shop.window import Sample, Summary, Window

GOOD = Reading(1.0)
BAD = Reading(1.0, Failure("ECONNREFUSED", "[Errno 111] refused"))
OPTIONAL = frozenset({"cache"})


def recent(count: int, errors: int) -> Summary:
    return Summary(5.0, count, errors, None, count / 5.0, {})


@pytest.mark.parametrize(
    ("database", "cache", "requests", "expected"),
    [
        (GOOD, GOOD, recent(0, 0), "OK"),
        (GOOD, GOOD, recent(10, 0), "OK"),
        (GOOD, GOOD, recent(10, 1), "WARN"),
        (GOOD, GOOD, recent(10, 5), "ERROR"),
        (GOOD, BAD, recent(10, 0), "WARN"),
        (BAD, GOOD, recent(10, 0), "ERROR"),
    ],
)
def test_status_follows_from_dependencies_and_recent_requests(
    database: Reading, cache: Reading, requests: Summary, expected: str
) -> None:
    assert judge({"database": database, "cache": cache}, OPTIONAL, requests) == expected


@pytest.mark.asyncio
async def test_a_dependency_that_hangs_is_a_timeout_and_not_a_hanging_check() -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    reading = await measure(hangs, timeout_s=0.02)
    assert reading.as_json()["error_code"] == "TimeoutError"
    assert not reading.as_json()["ok"]


def health(down: list[Exception], window: Window) -> Health:
    async def check() -> None:
        if down:
            raise down[0]

    return health_with(check, window)


def health_with(check: Check, window: Window) -> Health:
    scope = ScopeUsage("nobody", 1)
    return Health("orders", {"shop-db": check}, frozenset(), window, scope, Log("orders"), Metrics())


@pytest.mark.asyncio
async def test_a_failing_dependency_shows_at_once_and_is_gone_after_its_repair() -> None:
    down: list[Exception] = [ConnectionRefusedError(111, "Connect call failed")]
    watched = health(down, Window())
    await watched.first_look()
    status, body = watched.report()
    assert (status, body["status"]) == (503, "ERROR")
    assert body["dependencies"]["shop-db"]["error_code"] == "ECONNREFUSED"
    assert body["last_error"]["error_code"] == "ECONNREFUSED"
    down.clear()
    await watched.first_look()
    status, body = watched.report()
    assert (status, body["status"]) == (200, "OK")
    assert body["dependencies"]["shop-db"] | {"latency_ms": 0} == {
        "ok": True,
        "latency_ms": 0,
        "error": None,
        "error_code": None,
    }


@pytest.mark.asyncio
async def test_a_dependency_that_goes_and_comes_is_logged_once_each_way(caplog: pytest.LogCaptureFixture) -> None:
    down: list[Exception] = []
    watched = health(down, Window())
    with caplog.at_level(logging.INFO):
        await watched.first_look()
        down.append(TimeoutError())
        await watched.first_look()
        await watched.first_look()
        down.clear()
        await watched.first_look()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "TimeoutError"),
        ("INFO", "shop-db answers again"),
    ]


def test_an_old_error_is_no_longer_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = health([], Window())
    watched.note_error(Failure("gaierror", "unknown"))
    assert watched.report()[1]["last_error"]["error_code"] == "gaierror"
    later = time.monotonic() + 10.5
    monkeypatch.setattr("services.shop.health.time.monotonic", lambda: later)
    assert watched.report()[1]["last_error"] is None


def test_requests_are_reported_with_their_window() -> None:
    window = Window()
    now = time.monotonic()
    for duration_ms in range(1, 101):
        window.add(Sample(now, float(duration_ms), None))
    body = health([], window).report()[1]
    assert body["requests"] == {"window_s": 5.0, "count": 100, "errors": 0, "p95_ms": 95.0, "rate": 20.0}


def test_cores_are_the_time_spent_in_between() -> None:
    assert cores({1: 10.0, 2: 5.0}, {1: 10.5, 2: 6.0}, 1.0) == pytest.approx(1.5)
    assert cores({1: 10.0}, {1: 10.0, 7: 0.8}, 1.0) == pytest.approx(0.8)
    assert cores({1: 10.0, 2: 90.0}, {1: 10.2}, 2.0) == pytest.approx(0.1)
    assert cores({}, {1: 1.0}, 0.0) == 0.0


def test_a_process_of_the_scope_is_counted_and_one_of_a_stack_beside_is_not() -> None:
    assert in_scope({"SHOP_SCOPE": "orders", "SHOP_PORT": "7"}, "orders", 7)
    assert in_scope({"SHOP_SCOPE": "orders"}, "orders", 7)
    assert not in_scope({"SHOP_SCOPE": "orders", "SHOP_PORT": "8"}, "orders", 7)
    assert not in_scope({"SHOP_SCOPE": "catalog"}, "orders", 7)
    assert not in_scope({}, "orders", 7)


def test_this_process_is_in_its_own_scope() -> None:
    usage = ScopeUsage("unit-test", 1)
    assert usage.sample(1.0).mem_bytes > 1_000_000
    assert usage.sample(2.0).cores >= 0.0


@pytest.mark.parametrize("customer", ODD_CUSTOMERS)
def test_no_customer_can_write_a_log_line_by_an_odd_name(customer: str, tmp_path: Path) -> None:
    record = logging.LogRecord("shop.orders", logging.WARNING, __file__, 1, "order created", None, None)
    record.meta = {"customer": customer}
    text = JsonLines("orders").format(record)
    assert text.isascii()
    assert all(ord(character) >= 32 for character in text)
    line = LogLine.decode(text.encode())
    assert (line.level, line.service, line.msg, line.meta) == (
        "WARN",
        "orders",
        "order created",
        {"customer": customer},
    )


def test_metrics_are_in_base_units_and_named_for_the_shop() -> None:
    metrics = Metrics()
    metrics.request("GET /products", "200", 0.012)
    metrics.dependency("shop-db", False, 0.5)
    metrics.error("shop-db", "gaierror")
    text = metrics.render().decode()
    assert 'shop_requests_total{operation="GET /products",status="200"} 1.0' in text
    assert 'shop_dependency_up{dependency="shop-db"} 0.0' in text
    assert 'shop_errors_total{dependency="shop-db",error_code="gaierror"} 1.0' in text
    assert "shop_request_duration_seconds_sum" in text


@pytest.mark.asyncio
async def test_a_service_whose_check_loses_its_cancellation_still_stops_watching() -> None:
    """A shop service hung for ever at its end: its checks were a group, which cancels each of its tasks once only."""
    checking = asyncio.Event()

    async def check() -> None:
        checking.set()
        try:
            await asyncio.sleep(60.0)
        except asyncio.CancelledError:
            raise TimeoutError from None

    watching = asyncio.create_task(health_with(check, Window()).watch())
    await checking.wait()
    async with asyncio.timeout(5.0):
        await end(watching)
    assert watching.cancelled()
