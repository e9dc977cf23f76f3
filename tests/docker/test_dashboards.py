"""Prometheus in the stack: it sees every process, its rules hold, agents ask it, every panel's query has an answer.

Grafana itself is not run here: its image is not to be had on a machine without a registry. What a panel asks is asked
of the stack's Prometheus as Grafana would ask it, with the variables filled in.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from deploy.grafana import __main__ as grafana
from tests.support.compose_stack import ComposeStack

pytestmark = pytest.mark.docker

SCENARIO = "db_conn_drift"
RANGE_S = 900
FILLED = {"$__rate_interval": "8s", "$__range": f"{RANGE_S}s"}
"""What Grafana makes of them for a quarter of an hour and the data source's interval of 2 s."""
NEEDS_A_LOST_WORKER = {"Until another worker has it"}
"""Panels that have a series and no number until a worker was lost with a task in hand."""
SEEN_S = 30.0
MAX_RUNS = 3


class Prometheus:
    """The stack's Prometheus, as the host sees it."""

    def __init__(self) -> None:
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{os.environ['TRIAGE_PROMETHEUS_PORT']}", timeout=10, trust_env=False
        )

    def get(self, path: str, **asked: Any) -> Any:
        answer = self._client.get(f"/api/v1/{path}", params=asked)
        body = answer.json()
        assert body["status"] == "success", (asked, body)
        return body["data"]

    def value(self, query: str) -> float | None:
        result = self.get("query", query=query)["result"]
        return float(result[0]["value"][1]) if result else None

    def numbers(self, target: dict[str, Any], expr: str) -> tuple[int, int]:
        """Return how many series a panel's query has, and how many real numbers are in them."""
        now = time.time()
        if target["instant"]:
            result = self.get("query", query=expr, time=now)["result"]
            values = [series["value"][1] for series in result]
        else:
            result = self.get("query_range", query=expr, start=now - RANGE_S, end=now, step=5)["result"]
            values = [value for series in result for _, value in series["values"]]
        return len(result), sum(1 for value in values if not math.isnan(float(value)))

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def prometheus(stack: ComposeStack) -> Iterator[Prometheus]:
    made = Prometheus()
    yield made
    made.close()


@pytest.fixture(scope="module")
def incident(whole_stack: ComposeStack) -> str:
    """Run an incident in which a metric agent is asked; give its name."""
    whole_stack.until_healthy()
    return run_with_metrics(whole_stack)


def run_with_metrics(stack: ComposeStack) -> str:
    """Run incidents until a metric agent was asked in one; give its name. A plan does without where a busy machine
    leaves the users' traffic unmeasured just then."""
    seen: list[list[str]] = []
    for seed in range(1, MAX_RUNS + 1):
        ran = stack.triage("run", SCENARIO, "--seed", str(seed), "--json", timeout_s=300.0)
        assert ran.code == 0, (ran.err, ran.out[-2_000:])
        incident = str(ran.json["incident"])
        if sources_of(stack, incident):
            return incident
        seen.append(results_of(stack, incident))
    raise AssertionError(f"no plan of {MAX_RUNS} runs asked a metric agent, or none answered: {seen}")


def filled_in(expr: str, variables: dict[str, str]) -> str:
    for name, value in {**FILLED, **variables}.items():
        expr = expr.replace(name, value)
    return expr


def choices(prometheus: Prometheus, dashboard: dict[str, Any]) -> dict[str, str]:
    """Return what `All` of each variable stands for, as Grafana writes it into a query."""
    found = {}
    for variable in dashboard["templating"]["list"]:
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
        values = prometheus.get(f"label/{label}/values", **{"match[]": metric})
        assert values, variable["definition"]
        found[f"${variable['name']}"] = f"({'|'.join(values)})"
    return found


@pytest.mark.parametrize("name", grafana.DASHBOARDS)
def test_every_query_of_every_panel_returns_data(incident: str, prometheus: Prometheus, name: str) -> None:
    assert incident
    dashboard = json.loads((grafana.FOLDER / name).read_text(encoding="utf-8"))
    variables = choices(prometheus, dashboard)
    empty = []
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            expr = filled_in(target["expr"], variables)
            series, numbers = prometheus.numbers(target, expr)
            if not series or (not numbers and panel["title"] not in NEEDS_A_LOST_WORKER):
                empty.append((panel["title"], expr))
    assert empty == []


def test_every_target_is_up(prometheus: Prometheus) -> None:
    deadline = time.monotonic() + SEEN_S
    while True:
        targets = prometheus.get("targets", state="active")["activeTargets"]
        down = {target["scrapeUrl"]: target["lastError"] for target in targets if target["health"] != "up"}
        if not down or time.monotonic() > deadline:
            break
        time.sleep(1)
    assert down == {}
    by_service = {target["labels"]["service"] for target in targets}
    assert by_service >= {"scheduler", "planner", "monitor", "sensors", "auditor", "injector"}
    assert by_service >= {"log-agent", "metric-agent", "action-agent", "runbook-agent"}
    assert by_service >= {"gateway", "orders", "catalog", "fulfilment", "loadgen", "platform", "nats", "prometheus"}


def test_no_process_is_scraped_twice(prometheus: Prometheus) -> None:
    """A role in several networks has several addresses; it must count once."""
    # Of the last scrapes only: what was recreated while Prometheus was away is remembered for five minutes.
    query = "count by (role, name) (last_over_time(triage_build_info[6s]))"
    processes = prometheus.get("query", query=query)["result"]
    assert len(processes) >= 9
    assert {series["metric"]["name"]: series["value"][1] for series in processes if series["value"][1] != "1"} == {}


def test_rules_are_loaded_and_evaluate(prometheus: Prometheus) -> None:
    groups = prometheus.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 20
    assert {rule["name"]: rule["lastError"] for rule in rules if rule["health"] == "err"} == {}


def test_a_healthy_stack_has_no_alert_of_the_control_plane(prometheus: Prometheus) -> None:
    quiet = {
        "TargetDown",
        "RoleMissing",
        "NotReady",
        "AuditChainBroken",
        "BrokerDown",
        "Diverged",
        "BrokerCutsClientsOff",
    }
    firing = {
        alert["labels"]["alertname"] for alert in prometheus.get("alerts")["alerts"] if alert["state"] == "firing"
    }
    assert not firing & quiet


def sources_of(stack: ComposeStack, incident: str) -> list[str]:
    """Return where the metric agents' results of an incident say their values are from."""
    rows = [row["payload"] for row in stack.journal(incident) if row.get("type") == "result"]
    return [row["evidence"][0] for row in rows if row["kind"] == "metric" and row["evidence"]]


def results_of(stack: ComposeStack, incident: str) -> list[str]:
    """Return what the agents answered in an incident, a sentence each."""
    rows = [row["payload"] for row in stack.journal(incident) if row.get("type") == "result"]
    return [f"{row['kind']} {row['status']}: {row['out']}" for row in rows]


def test_metric_agents_ask_prometheus(stack: ComposeStack, incident: str) -> None:
    assert set(sources_of(stack, incident)) == {"source: prometheus"}


def test_without_prometheus_the_journal_answers_and_the_result_says_so(stack: ComposeStack) -> None:
    stack.run("stop", "prometheus")
    try:
        incident = run_with_metrics(stack)
    finally:
        stack.run("up", "--detach", "--wait", "--no-build", "--no-deps", "prometheus")
    assert set(sources_of(stack, incident)) == {"source: journal"}
    rows = [row["payload"] for row in stack.journal(incident) if row.get("type") == "result"]
    assert all("from the journal, because prometheus" in row["out"] for row in rows if row["kind"] == "metric")
