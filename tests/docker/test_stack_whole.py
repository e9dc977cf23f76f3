"""The whole stack as containers: everything is there and healthy, every command of the host works, nothing is open."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from tests.support.compose_stack import ComposeStack

pytestmark = pytest.mark.docker

ROLES = ("scheduler-1", "scheduler-2", "planner-1", "monitor-1", "sensors-1", "auditor-1")
AGENTS = ("log-agent-1", "metric-agent-1", "action-agent-1", "runbook-agent-1")
DASHBOARD = "dashboard-1"
SHOP = ("shop-db", "shop-cache", "shop-mq", "catalog", "orders", "fulfilment", "gateway", "loadgen")
ONCE = {"setup", "prepare", "shop-prepare", "tool"}
"""What has done its work when the stack is up."""


def test_every_container_is_there_and_healthy(stack: ComposeStack) -> None:
    programs = stack.programs()
    assert {*ROLES, *AGENTS, *SHOP, "nats", "audit-db", "platform", "prometheus", DASHBOARD} <= programs.keys()
    assert [row["detail"] for row in programs.values() if not row["healthy"]] == []
    assert {name for name, row in programs.items() if row["state"] == "EXITED"} == ONCE
    assert all(row["rss_bytes"] > 0 for name, row in programs.items() if name not in ONCE)


def test_the_status_is_for_people_too(stack: ComposeStack) -> None:
    said = stack.ok("status").out
    assert "log-agent-1" in said
    assert "containers are healthy" in said


def test_the_agents_are_connected_under_their_containers_names(stack: ComposeStack) -> None:
    deadline = time.monotonic() + 30
    rows = stack.ok("agents", "--json").json
    while not all(row["connected"] for row in rows):  # a heartbeat may be late on a machine that does much else
        assert time.monotonic() < deadline, rows
        time.sleep(0.5)
        rows = stack.ok("agents", "--json").json
    assert {row["agent"] for row in rows} >= set(AGENTS)


def test_the_doctor_finds_nothing_on_either_side(stack: ComposeStack) -> None:
    assert stack.triage("doctor").code == 0
    inside = stack.exec("injector", "triage", "doctor", "--json")
    assert inside.code == 0, inside


def test_nothing_is_published_but_monitoring_and_that_on_this_machine_only(stack: ComposeStack) -> None:
    rows = stack.engine(
        "ps", "--filter", f"label=com.docker.compose.project={stack.project}", "--format", "{{json .}}"
    ).out
    published = {row["Names"]: row["Ports"] for row in map(json.loads, rows.splitlines()) if "->" in row["Ports"]}
    assert {name.removeprefix(f"{stack.project}-") for name in published} <= {
        "dashboard-1",
        "prometheus-1",
        "nats-1",
        "grafana-1",
        "nui-1",
    }
    for ports in published.values():
        assert all(part.strip().startswith("127.0.0.1:") for part in ports.split(",") if "->" in part), published


def test_keys_are_listed_rotated_and_every_role_goes_on(stack: ComposeStack) -> None:
    before = stack.ok("keys", "list", "--json").json["current"]
    rotated = stack.ok("keys", "rotate", "--json").json
    assert rotated == {"current": before + 1, "told": True}
    assert stack.ok("keys", "list", "--json").json["current"] == before + 1
    closed = stack.ok("report", "is everything all right?", "--wait", "--json", timeout_s=180.0).json["closed"]
    assert closed["verdict"] == "no_fault"
    assert stack.ok("audit", "verify", "--json").json["ok"]


def test_a_halt_holds_and_a_resume_ends_it(stack: ComposeStack) -> None:
    stack.ok("halt", "--reason", "looking first")
    stack.ok("resume")
    kinds = [row.get("type") for row in stack.journal()]  # a slow command leaves hundreds of other messages behind it
    newest = {kind: at for at, kind in enumerate(kinds)}
    assert newest["control.halt"] < newest["control.resume"]


def test_the_record_verifies_inside_and_from_an_exported_file(stack: ComposeStack) -> None:
    exported = stack.home / "audit.jsonl"
    stack.ok("audit", "export", str(exported))
    assert exported.stat().st_size > 0
    stack.ok("audit", "verify", "--export", str(exported))


class TestRefusals:
    def test_the_stack_is_not_started_from_within(self, stack: ComposeStack) -> None:
        ran = stack.exec("injector", "triage", "up")
        assert ran.code == 4
        assert "on its host: triage --platform docker up" in ran.err

    def test_an_unknown_container_is_not_killed(self, stack: ComposeStack) -> None:
        ran = stack.triage("kill", "log-agent-9")
        assert ran.code == 3
        assert "did you mean log-agent-1?" in ran.err

    def test_an_unknown_command_is_wrong_usage_inside_too(self, stack: ComposeStack) -> None:
        assert stack.triage("bogus").code == 2

    def test_a_fault_on_what_is_not_managed_is_refused(self, stack: ComposeStack) -> None:
        ran = stack.triage("inject", "service_killed", "--target", "loadgen")
        assert ran.code == 2
        assert "does not apply to 'loadgen'" in ran.err

    def test_an_incident_text_with_an_escape_is_refused(self, stack: ComposeStack) -> None:
        ran = stack.triage("report", "-", stdin=b"\x1b[2J")
        assert ran.code == 4
        assert "control character U+001B" in ran.err


def test_the_dashboard_shows_the_stack_and_takes_a_report_behind_its_token_only(stack: ComposeStack) -> None:
    address, token = stack.ok("dashboard").out.split()
    with httpx.Client(base_url=address, timeout=30.0, trust_env=False) as page:
        assert page.get("healthz").status_code == 200
        assert page.get("").status_code == 200
        assert page.get("api/snapshot").status_code == 401
        assert page.get("api/snapshot", headers={"Authorization": "Bearer not-the-token-at-all"}).status_code == 401
        page.headers["Authorization"] = f"Bearer {token}"
        assert {row["agent"] for row in page.get("api/agents").json()["agents"]} >= set(AGENTS)
        assert page.get("api/broker").json()["error"] is None
        assert page.get("api/faults").json()["can_inject"] is True
        said = page.post("api/incidents", json={"text": "all well?"}, headers={"Idempotency-Key": "whole-stack-1"})
        assert said.status_code < 300, said.text
        closed = _closed(page, said.json()["incident"])
    assert closed["verdict"] == "no_fault"
    assert stack.ok("audit", "verify", "--json").json["ok"]


def _closed(page: httpx.Client, incident: str) -> dict[str, Any]:
    """Return what closed an incident, as the page sees it."""
    deadline = time.monotonic() + 120.0
    while True:
        rows: list[dict[str, Any]] = page.get("api/incidents").json()["incidents"]
        found = next((row for row in rows if row["incident"] == incident and row["verdict"]), None)
        if found is not None:
            return found
        assert time.monotonic() < deadline, rows[:3]
        time.sleep(0.5)
