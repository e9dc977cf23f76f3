"""The stack's own page over the real embedded stack: what an operator does, from a live fault's report to its replay.

One stack for the module. The tests stand in the order of one story: what is replayed at the end was repaired before.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.ports import free_base

pytestmark = [pytest.mark.ui, pytest.mark.stack]

PATIENCE_MS = 90_000.0
"""For what the whole stack has to do; it takes seconds."""
SETTINGS = {"TRIAGE_PLANNER_MODE": "rulebook", "TRIAGE_AUTO_APPROVE": "safe", "TRIAGE_REPORT_GRACE_S": "120"}
"""Risky steps wait for a person, and people report first."""
TASK = ".node.task"
UNFINISHED = ", ".join(
    f"{TASK}[data-state={state}]" for state in ("waiting", "approval", "dispatched", "running", "retrying")
)


@dataclass(frozen=True)
class Running:
    """The module's stack: how commands find it, and where its page is."""

    environment: Mapping[str, str]
    address: str


@pytest.fixture(scope="module")
def running(browser: Browser) -> Iterator[Running]:
    """Bring a stack up by the command; without a browser none is started."""
    home = Path(tempfile.mkdtemp(prefix="triage-"))  # Unix sockets have short paths, so the home does too
    environment = os.environ | SETTINGS | {"TRIAGE_HOME": str(home), "TRIAGE_PORT_BASE": str(free_base())}
    triage(environment, "up")  # which leaves nothing behind if it fails
    try:
        yield Running(environment, address_of(environment))
    finally:
        triage(environment, "down", "--wipe")
        shutil.rmtree(home, ignore_errors=True)


def triage(environment: Mapping[str, str], *arguments: str) -> str:
    """Run a command in a process of its own, for the browser's event loop is this one's; return what it printed."""
    command = (sys.executable, "-m", "harness.cli.app", *arguments)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180.0, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def address_of(environment: Mapping[str, str]) -> str:
    """Wait until the page's program is healthy, which `up` does not."""
    deadline = time.monotonic() + PATIENCE_MS / 1_000
    while True:
        status = json.loads(triage(environment, "status", "--json"))
        (row,) = (row for row in status["programs"] if row["name"] == "dashboard")
        if row["healthy"]:
            return str(status["dashboard"])
        assert time.monotonic() < deadline, f"the dashboard is {row['state']}: {row['detail']}"


@pytest.fixture
def page(browser: Browser, running: Running) -> Iterator[Page]:
    """Give a page that has the stack live; fail if it complained of anything."""
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, reduced_motion="reduce", base_url=running.address
    )
    context.set_default_timeout(PATIENCE_MS)
    shown = context.new_page()
    complaints: list[str] = []
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    show(shown, "overview")
    yield shown
    context.close()
    assert complaints == []


def show(page: Page, view: str) -> None:
    """Open a view and wait until it is live."""
    page.goto(f"/#/{view}")
    expect(page.locator("header .badge").first).to_contain_text("live", timeout=PATIENCE_MS)


def say(page: Page, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Command as the page does, without it; return what came of it. While a part of the stack is away it is said again,
    with the same key, so that it is carried out once."""
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    deadline = time.monotonic() + PATIENCE_MS / 1_000
    while (answer := page.request.post(f"/api/{path}", data=body, headers=headers)).status == 503:
        assert time.monotonic() < deadline, answer.text()
        time.sleep(0.2)
    assert answer.ok, answer.text()
    return dict(answer.json())


def planned(page: Page, incident: str) -> tuple[str, str]:
    """Wait until a step of an incident's plan asks for approval; return that task, and the one that looks after it."""
    deadline = time.monotonic() + PATIENCE_MS / 1_000
    while True:
        found = page.request.get("/api/snapshot").json()["view"]["incidents"].get(incident)
        if found and found["approvals"]:
            (look,) = (task for task in found["plans"][-1]["tasks"] if task["type"] == "check_health")
            return str(found["approvals"][0]["task_id"]), str(look["task_id"])
        assert time.monotonic() < deadline, f"nothing of {incident} waits for an approval"
        time.sleep(0.1)


def audited(page: Page, types: str) -> int:
    """Count the messages of some types in the audit's journal, from its beginning."""
    count = 0
    after: int | None = 0
    while after is not None:
        found = page.request.get(f"/api/journal?limit=500&after={after}").json()
        count += sum((entry["type"] or "").startswith(types) for entry in found["entries"])
        after = found["next"]
    return count


def reassigned(page: Page, agent: str) -> tuple[str, float]:
    """Return who had a lost agent's work next, and after how many milliseconds by the broker's clock, as audited."""
    deadline = time.monotonic() + PATIENCE_MS / 1_000
    while True:
        entries = page.request.get("/api/journal?limit=500").json()["entries"]
        lost = [entry for entry in entries if entry["type"] == "agent.lost" and entry["payload"]["instance"] == agent]
        for entry in (entry for entry in entries if lost and entry["seq"] > lost[-1]["seq"]):
            task = entry["subject"].replace("triage.claim.", "triage.task.", 1)
            if entry["type"] == "claim" and task in lost[-1]["payload"]["handed_on"]:
                return str(entry["payload"]["instance"]), (entry["time_us"] - lost[-1]["time_us"]) / 1_000
        assert time.monotonic() < deadline, f"the audit does not tell who has the work of {agent}"
        time.sleep(0.1)


def drill(page: Page) -> None:
    """Put two messages of the group `control` into the journal."""
    say(page, "halt", {"reason": "a drill"})
    say(page, "resume", {})


def newest(page: Page) -> str:
    """Return the name of the newest incident in the audit, which ended verified."""
    (row,) = page.request.get("/api/incidents?limit=1").json()["incidents"]
    assert row["verdict"] == "verified"
    return str(row["incident"])


def test_an_incident_goes_from_its_report_through_an_approval_to_its_proof(page: Page) -> None:
    say(page, "faults", {"fault": "db_conn_drift", "target": "orders"})
    show(page, "incident")
    page.get_by_label("What is broken").fill("checkout is dead since ten, db maybe??")
    page.get_by_role("button", name="Report", exact=True).click()
    expect(page).to_have_url(re.compile("incident=inc-"), timeout=PATIENCE_MS)
    incident = page.url.partition("incident=")[2].partition("&")[0]

    show(page, f"plan?incident={incident}")
    expect(page.locator(f"{TASK}[data-state=approval]")).to_have_count(1, timeout=PATIENCE_MS)
    show(page, "approvals")
    page.get_by_label("to approve").fill("orders")
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_role("region", name="Decided approvals")).to_contain_text("approved", timeout=PATIENCE_MS)

    show(page, f"plan?incident={incident}")
    page.reload()
    expect(page.locator(f"{TASK}[data-state=done]")).not_to_have_count(0, timeout=PATIENCE_MS)
    expect(page.locator(UNFINISHED)).to_have_count(0, timeout=PATIENCE_MS)
    show(page, f"incident?incident={incident}")
    expect(page.locator(".panel", has=page.locator("h2", has_text=incident))).to_contain_text(
        "repaired and proved", timeout=PATIENCE_MS
    )


def test_the_key_kills_the_agent_at_work_that_has_the_focus_and_the_work_goes_on_elsewhere(page: Page) -> None:
    say(page, "faults", {"fault": "db_conn_drift", "target": "catalog"})
    incident = str(say(page, "incidents", {"text": "no product can be seen, nobody finds a price"})["incident"])
    repair, look = planned(page, incident)
    # The database hangs while the repair is looked at: whoever looks keeps at it until the shop is well again.
    say(page, "faults", {"fault": "service_hung", "target": "shop-db"})
    show(page, "topology")
    say(page, f"approvals/{incident}/{repair}", {"decision": "grant"})
    node = page.locator(f".react-flow__node[aria-label*='works on {look}.']")
    node.focus()
    agent = str(node.get_attribute("data-id"))
    with page.expect_response(f"**/api/agents/{agent}/kill") as answer:
        page.keyboard.press("Shift+K")
    assert answer.value.ok

    cue = page.locator(".cue")
    expect(cue).to_contain_text(f"Fallback: {agent} was lost.", timeout=PATIENCE_MS)
    expect(cue).to_contain_text(re.compile(r"went to \S+ in \d+\.\d ms"), timeout=PATIENCE_MS)
    to, ms = reassigned(page, agent)
    assert f"went to {to} in {ms:.1f} ms" in (cue.text_content() or "")
    say(page, "faults/service_hung-shop-db-1/heal", {})
    show(page, f"incident?incident={incident}")
    expect(page.locator(".panel", has=page.locator("h2", has_text=incident))).to_contain_text(
        "repaired and proved", timeout=PATIENCE_MS
    )
    show(page, "agents")
    killed = page.get_by_label(f"Agent {agent}")
    expect(killed).to_have_attribute("aria-label", re.compile("connected"), timeout=PATIENCE_MS)


def test_a_halt_is_seen_with_its_time_and_ends_with_resume(page: Page) -> None:
    page.get_by_role("button", name="Halt", exact=True).click()
    halted = page.locator(".halted")
    expect(halted).to_contain_text("From the press to this page", timeout=PATIENCE_MS)
    halted.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Halt", exact=True)).to_be_visible(timeout=PATIENCE_MS)


def test_a_reload_in_the_middle_loses_no_row(page: Page) -> None:
    show(page, "timeline?group=control")
    count = page.locator(".panel-aside").first
    expect(count).to_contain_text(" of ", timeout=PATIENCE_MS)
    before = int((count.text_content() or "").partition(" of ")[0])
    for _ in range(3):
        drill(page)
    page.reload()
    for _ in range(3):
        drill(page)
    expect(count).to_contain_text(re.compile(rf"^{before + 12} of "), timeout=PATIENCE_MS)


def test_a_page_left_open_over_a_broken_broker_and_a_restarted_stack_goes_on_without_a_gap(
    page: Page, running: Running
) -> None:
    badge = page.locator("header .badge").first
    show(page, "timeline?group=control")
    count = page.locator(".panel-aside").first
    expect(count).to_contain_text(" of ", timeout=PATIENCE_MS)
    before = int((count.text_content() or "").partition(" of ")[0])

    say(page, "agents/nats/kill", {"signal": "STOP"})  # it hangs, and nobody can tell that from a slow one at once
    expect(badge).to_contain_text("stack away", timeout=PATIENCE_MS)
    refused = page.request.post("/api/halt", data={}, headers={"Idempotency-Key": secrets.token_hex(8)})
    assert (refused.status, refused.json()["error"]) == (503, "stack_down")
    say(page, "agents/nats/kill", {})
    expect(badge).to_contain_text("live", timeout=PATIENCE_MS)
    drill(page)
    expect(count).to_contain_text(re.compile(rf"^{before + 2} of "), timeout=PATIENCE_MS)

    triage(running.environment, "down")
    expect(badge).to_contain_text("offline", timeout=PATIENCE_MS)
    triage(running.environment, "up")
    assert address_of(running.environment) == running.address
    expect(badge).to_contain_text("live", timeout=PATIENCE_MS)
    drill(page)
    expect(count).to_contain_text(re.compile(rf"^{before + 4} of "), timeout=PATIENCE_MS)
    page.get_by_label("Kind of message").select_option("agent")
    deadline = time.monotonic() + PATIENCE_MS / 1_000  # agents still come, and the audit follows the journal
    while int((count.text_content() or "").partition(" of ")[0]) != audited(page, "agent."):
        assert time.monotonic() < deadline, f"the page has {count.text_content()}, the audit {audited(page, 'agent.')}"
        time.sleep(0.2)


def test_the_scrubber_walks_through_what_was_repaired(page: Page) -> None:
    incident = newest(page)
    page.goto(f"/#/plan?replay=incident:{incident}&incident={incident}")
    place = page.get_by_label("Place in the replay")
    expect(place).to_be_enabled(timeout=PATIENCE_MS)
    expect(page.locator(TASK)).to_have_count(0)
    place.fill(place.get_attribute("max") or "0")
    expect(page.locator(f"{TASK}[data-state=done]")).not_to_have_count(0, timeout=PATIENCE_MS)
    place.fill("1")
    expect(page.locator(TASK)).to_have_count(0, timeout=PATIENCE_MS)
    page.get_by_role("button", name="Back to live").click()
    expect(place).to_have_count(0)
