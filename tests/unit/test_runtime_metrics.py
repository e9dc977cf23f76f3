"""/metrics and /healthz of a role, and its log lines."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import httpx
import pytest
import structlog

from broker.runtime.logging import complain, configure
from broker.runtime.metrics import Health, Metrics, MetricsServer


@pytest.fixture
def served() -> Iterator[tuple[Metrics, Health, str]]:
    metrics, health = Metrics("monitor", "monitor-1"), Health("monitor", "monitor-1")
    server = MetricsServer(0, metrics, health)
    yield metrics, health, f"http://127.0.0.1:{server.port}"
    server.close()


def get(url: str) -> tuple[int, str]:
    answer = httpx.get(url, timeout=5)
    return answer.status_code, answer.text


def test_counters_are_served(served: tuple[Metrics, Health, str]) -> None:
    metrics, _, url = served
    metrics.refused.labels("bad_mac").inc()
    code, text = get(f"{url}/metrics")
    assert code == 200
    assert 'triage_envelopes_refused_total{reason="bad_mac"} 1.0' in text
    assert 'role="monitor"' in text


def test_health_is_bad_until_every_check_holds(served: tuple[Metrics, Health, str]) -> None:
    _, health, url = served
    assert get(f"{url}/healthz")[0] == 503
    health.set("broker", True)
    health.set("caught_up", False)
    code, text = get(f"{url}/healthz")
    assert (code, json.loads(text)["status"]) == (503, "ERROR")
    health.set("caught_up", True)
    code, text = get(f"{url}/healthz")
    assert code == 200
    assert json.loads(text) == {
        "status": "OK",
        "role": "monitor",
        "instance": "monitor-1",
        "checks": {"broker": True, "caught_up": True},
    }


def test_other_paths_are_not_found(served: tuple[Metrics, Health, str]) -> None:
    assert get(f"{served[2]}/secrets")[0] == 404


def test_it_listens_on_the_address_it_is_told() -> None:
    server = MetricsServer(0, Metrics(), Health(), host="127.0.0.2")
    try:
        assert get(f"http://127.0.0.2:{server.port}/metrics")[0] == 200
        with pytest.raises(httpx.ConnectError):
            get(f"http://127.0.0.1:{server.port}/metrics")
    finally:
        server.close()


@pytest.fixture
def _own_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    yield
    root.handlers, root.level = before
    structlog.reset_defaults()


@pytest.mark.usefixtures("_own_logging")
def test_each_log_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    log = configure("monitor", "monitor-1", "info")
    log.info("deviation", device="orders", text="two\nlines\x1b[31m")
    log.debug("unheard")
    logging.getLogger("some.library").warning("slow %s", "consumer")
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert list(first)[:5] == ["ts", "level", "role", "instance", "event"]
    assert first["text"] == "two\nlines\x1b[31m"
    assert (second["event"], second["text"], second["level"]) == ("library", "slow consumer", "warning")


def test_a_complaint_is_one_line_whatever_it_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    complain('cannot read "a\nb"\x1b[31m')
    assert capsys.readouterr().err == 'cannot read "a\\nb"\\u001b[31m\n'
