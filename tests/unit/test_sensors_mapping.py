"""What telemetry becomes of what devices say, odd answers included."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.contracts.inventory import Device, Objective
from broker.contracts.telemetry import Telemetry
from monitor_svc.errors import ProbeError
from monitor_svc.sensors import mapping
from monitor_svc.sensors.clean import clean_code, clean_text, number
from monitor_svc.sensors.mapping import HttpAnswer, ServerAnswer

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OBJECTIVE = Objective()


def device(name: str = "orders", probe: str = "http", kind: str = "service") -> Device:
    return Device.model_validate(
        {"name": name, "kind": kind, "managed": True, "probe": probe, "host": "127.0.0.1", "port": 1}
    )


def health(**changes: Any) -> dict[str, Any]:
    """Return the answer of a healthy service, with changes."""
    body: dict[str, Any] = {
        "status": "OK",
        "service": "orders",
        "dependencies": {"shop-db": {"ok": True, "latency_ms": 1.2, "error": None, "error_code": None}},
        "requests": {"window_s": 5, "count": 100, "errors": 0, "p95_ms": 12.5, "rate": 20.0},
        "last_error": None,
        "cpu_load": 0.12,
        "mem_bytes": 50_000_000,
    }
    return body | changes


def read(body: object, status: int = 200, name: str = "orders") -> Telemetry:
    """Map a health answer, through the contract's bytes: what cannot be encoded is no telemetry."""
    sample = mapping.of_health(device(name), AT, HttpAnswer(status, json.dumps(body).encode(), 3.5), OBJECTIVE)
    assert Telemetry.decode(sample.encode()) == sample
    return sample


def failing(code: str | None = "gaierror") -> dict[str, Any]:
    return {"shop-db": {"ok": False, "latency_ms": 2.0, "error": "no such host", "error_code": code}}


def test_a_healthy_service() -> None:
    sample = read(health())
    assert (sample.status, sample.error_code, sample.note, sample.log_sample) == ("OK", None, None, None)
    metrics = sample.metrics
    assert (metrics.cpu_load, metrics.mem_usage, metrics.latency_ms) == (0.12, 50_000_000.0, 3.5)
    assert (metrics.success_ratio, metrics.request_rate) == (1.0, 20.0)


@pytest.mark.parametrize(
    ("situation", "changes", "http", "status", "note"),
    [
        ("a needed dependency fails", {"status": "ERROR", "dependencies": failing()}, 503, "ERROR", "shop-db=gaierror"),
        (
            "an optional dependency fails",
            {"status": "WARN", "dependencies": failing()},
            200,
            "WARN",
            "shop-db=gaierror",
        ),
        ("a failure without a name", {"dependencies": failing(None)}, 200, "WARN", "shop-db=unknown"),
        ("half of the requests fail", {"requests": {"count": 10, "errors": 5, "rate": 2}}, 200, "ERROR", None),
        ("some requests fail", {"requests": {"count": 100, "errors": 3, "rate": 20}}, 200, "WARN", None),
        ("one request of a hundred fails", {"requests": {"count": 100, "errors": 1, "rate": 20}}, 200, "OK", None),
        ("no requests", {"requests": {"count": 0, "errors": 0, "p95_ms": None, "rate": 0.0}}, 200, "OK", None),
        ("its own slow requests", {"requests": {"count": 10, "errors": 0, "p95_ms": 900.0}}, 200, "WARN", None),
        ("a queue gives it nothing", {"stalled": {"dependency": "shop-mq", "messages": 9}}, 200, "WARN", None),
        ("no queue holds anything back", {"stalled": None}, 200, "OK", None),
        ("a processor hog", {"cpu_load": 1.7}, 200, "WARN", None),
        ("it remembers an old error", {"status": "WARN"}, 200, "OK", None),
        ("503 whatever the body says", {}, 503, "ERROR", None),
        (
            "a slow dependency",
            {"dependencies": {"shop-db": {"ok": True, "latency_ms": 312.4}}},
            200,
            "WARN",
            "slow:shop-db=312ms",
        ),
    ],
)
def test_status_and_note(situation: str, changes: dict[str, Any], http: int, status: str, note: str | None) -> None:
    sample = read(health(**changes), http)
    assert (sample.status, sample.note) == (status, note), situation


def test_several_dependencies_stand_in_one_note() -> None:
    dependencies = failing("ConnectionRefusedError") | {
        "shop-mq": {"ok": True, "latency_ms": 200.0},
        "other": {"ok": True, "latency_ms": 1.0},
    }
    assert read(health(dependencies=dependencies)).note == "shop-db=ConnectionRefusedError,slow:shop-mq=200ms"


def test_the_newest_error_is_taken_over() -> None:
    last = {"ts": AT.isoformat(), "error_code": "gaierror", "msg": "[Errno -2] Name or service not known"}
    sample = read(health(last_error=last))
    assert (sample.error_code, sample.log_sample) == ("gaierror", "[Errno -2] Name or service not known")


@pytest.mark.parametrize(
    ("age_s", "kept"), [(9.0, True), (11.0, False), (-3.0, True)], ids=["young", "too old", "clock ahead"]
)
def test_an_old_error_says_nothing_about_now(age_s: float, kept: bool) -> None:
    last = {"ts": (AT - timedelta(seconds=age_s)).isoformat(), "error_code": "gaierror", "msg": "x"}
    assert (read(health(last_error=last)).error_code == "gaierror") is kept


@pytest.mark.parametrize("ts", [None, 17, "yesterday", "2026-01-02T03:04:05", "9" * 5_000])
def test_an_error_of_unknown_age_is_kept(ts: object) -> None:
    assert read(health(last_error={"ts": ts, "error_code": "gaierror", "msg": "x"})).error_code == "gaierror"


def test_a_failing_dependency_names_the_error_if_no_request_did() -> None:
    assert read(health(dependencies=failing("OSError"))).error_code == "OSError"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {
            "status": 7,
            "dependencies": [],
            "requests": "many",
            "last_error": "bad",
            "cpu_load": "hot",
            "mem_bytes": None,
        },
        health(requests={"count": -5, "errors": "x", "p95_ms": [], "rate": True}),
        health(requests={"count": 3, "errors": 30, "p95_ms": 1, "rate": 1}),
        health(cpu_load=10**400, mem_bytes=-1),
        health(stalled=["shop-mq"]),
        health(dependencies={"shop-db": None, "": {"ok": False}, "x y": {"ok": False}, "UP": {"ok": False}}),
        health(dependencies={f"d{n}": {"ok": False, "error_code": "E" * 500} for n in range(100)}),
        health(dependencies={"shop-db": {"ok": "yes", "latency_ms": "fast", "error_code": {"a": 1}}}),
        health(last_error={"ts": [], "error_code": 5, "msg": {"a": "b"}}),
        health(last_error={"ts": "", "error_code": "\ud800", "msg": "half \ud83d character"}),
        health(last_error={"error_code": "\x1b[31mE\x00", "msg": "\x1b[2J" + "x" * 100_000}),
    ],
)
def test_odd_answers_become_valid_telemetry(body: object) -> None:
    sample = read(body)
    assert sample.device_id == "orders"
    assert sample.note is None or len(sample.note) <= 500


@pytest.mark.parametrize("text", ['{"cpu_load": NaN}', '{"cpu_load": Infinity, "mem_bytes": -Infinity}'])
def test_nan_and_infinity_are_not_measured(text: str) -> None:
    sample = mapping.of_health(device(), AT, HttpAnswer(200, text.encode(), 1.0), OBJECTIVE)
    assert sample.metrics.cpu_load is None


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1,2]", b"null", b"\xff\xfe", b'{"a":', b"[" * 60_000, b'{"a":' + b"9" * 5_000 + b"}"]
)
def test_an_answer_that_is_no_object_is_a_failed_probe(body: bytes) -> None:
    with pytest.raises(ProbeError, match="something else") as caught:
        mapping.of_health(device(), AT, HttpAnswer(200, body, 4.0), OBJECTIVE)
    assert (caught.value.code, caught.value.latency_ms) == ("BadAnswer", 4.0)


def test_another_http_status_is_a_failed_probe() -> None:
    with pytest.raises(ProbeError, match="HTTP 404") as caught:
        mapping.of_health(device(), AT, HttpAnswer(404, b"{}", 4.0), OBJECTIVE)
    assert caught.value.code == "HTTP404"


def test_a_failed_probe_is_an_error_without_measurements() -> None:
    sample = mapping.of_failure(device(), AT, ProbeError("ECONNREFUSED", "orders does not answer"))
    assert (sample.status, sample.error_code, sample.log_sample) == ("ERROR", "ECONNREFUSED", "orders does not answer")
    assert sample.metrics.latency_ms is None


def stats(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "window_s": 5,
        "sent": 101,
        "ok": 100,
        "failed": 0,
        "success_ratio": 1.0,
        "p95_ms": 42.0,
        "rate": 20.2,
        "errors": {},
    }
    return body | changes


def read_stats(body: object) -> Telemetry:
    answer = HttpAnswer(200, json.dumps(body).encode(), 1.0)
    sample = mapping.of_stats(device("loadgen", "traffic", "traffic"), AT, answer, OBJECTIVE)
    assert Telemetry.decode(sample.encode()) == sample
    return sample


@pytest.mark.parametrize(
    ("situation", "changes", "status", "ratio", "rate"),
    [
        ("content users", {}, "OK", 1.0, 20.0),
        ("failing users", {"ok": 50, "failed": 50, "errors": {"500": 40, "timeout": 10}}, "ERROR", 0.5, 20.0),
        ("waiting users", {"p95_ms": 1_400.0}, "ERROR", 1.0, 20.0),
        ("nobody", {"ok": 0, "failed": 0, "sent": 0, "p95_ms": None, "rate": 0.0}, "WARN", None, 0.0),
        ("sent and nothing came back yet", {"ok": 0, "failed": 0, "p95_ms": None}, "WARN", None, 0.0),
        ("a claimed ratio without requests is not believed", {"ok": None, "success_ratio": 1.0}, "WARN", None, None),
        ("no window", {"window_s": 0}, "OK", 1.0, None),
    ],
)
def test_traffic(situation: str, changes: dict[str, Any], status: str, ratio: float | None, rate: float | None) -> None:
    sample = read_stats(stats(**changes))
    assert (sample.status, sample.metrics.success_ratio, sample.metrics.request_rate) == (status, ratio, rate), (
        situation
    )


def test_the_commonest_failure_of_the_users_is_named() -> None:
    errors = {"500": 3, "timeout": 7, "overload": None}
    assert read_stats(stats(ok=90, failed=10, errors=errors)).error_code == "timeout"


@pytest.mark.parametrize("errors", [None, [], {"x": "y"}, {"\x00": 1}, {"": 3}])
def test_odd_error_counts(errors: object) -> None:
    assert read_stats(stats(errors=errors)).status == "OK"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (ServerAnswer(2.0), "OK"),
        (ServerAnswer(2.0, cpu_load=0.2, mem_usage=1e6), "OK"),
        (ServerAnswer(400.0), "WARN"),
        (ServerAnswer(2.0, cpu_load=0.99), "WARN"),
        (ServerAnswer(2.0, cpu_load=float("nan"), mem_usage=-1.0), "OK"),
    ],
)
def test_servers(answer: ServerAnswer, status: str) -> None:
    assert mapping.of_server(device("shop-db", "postgres", "database"), AT, answer).status == status


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("  two \n\n lines\t", "two lines"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("a\u202eb\u200bc", "a b c"),
        ("\x00\x01", None),
        ("", None),
        (None, None),
        (b"bytes", None),
        ("x" * 50, "x" * 20),
        ("Zoë 李", "Zoë 李"),
    ],
)
def test_text_is_cleaned(text: object, expected: str | None) -> None:
    assert clean_text(text, 20) == expected


@pytest.mark.parametrize(
    ("code", "expected"), [("gaierror", "gaierror"), ("a=b,c d", "a_b_c_d"), ("57P03", "57P03"), ("", None), (5, None)]
)
def test_codes_cannot_break_a_note(code: object, expected: str | None) -> None:
    assert clean_code(code) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (0.5, 0.5),
        (True, None),
        ("1", None),
        (float("nan"), None),
        (float("inf"), None),
        (-1, None),
        (None, None),
    ],
)
def test_numbers(value: object, expected: float | None) -> None:
    assert number(value) == expected
