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


@pytest.fixture(scope="module")
def address(browser: Browser) -> Iterator[str]:
    """Bring a stack up by the command, and give the address of its page; without a browser none is started."""
    home = Path(tempfile.mkdtemp(prefix="triage-"))  # Unix sockets have short paths, so the home does too
    environment = os.environ | SETTINGS | {"TRIAGE_HOME": str(home), "TRIAGE_PORT_BASE": str(free_base())}
    triage(environment, "up")  # which leaves nothing behind if it fails
    try:
        yield address_of(environment)
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
def page(browser: Browser, address: str) -> Iterator[Page]:
    """Give a page that has the stack live; fail if it complained of anything."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce", base_url=address)
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


def say(page: Page, path: str, body: dict[str, Any]) -> None:
    """Command as the page does, without it."""
    answer = page.request.post(f"/api/{path}", data=body, headers={"Idempotency-Key": secrets.token_hex(8)})
    assert answer.ok, answer.text()


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


def test_the_key_kills_the_agent_that_has_the_focus_and_the_stack_has_it_again(page: Page) -> None:
    show(page, "agents")
    agent = page.get_by_label("Agent metric-agent-1")
    expect(agent).to_have_attribute("aria-label", re.compile("connected"), timeout=PATIENCE_MS)
    agent.focus()
    with page.expect_response("**/api/agents/metric-agent-1/kill") as answer:
        page.keyboard.press("Shift+K")
    assert answer.value.ok
    show(page, "timeline?q=metric-agent-1&group=agent")
    rows = page.locator(".row[role=option]")
    expect(rows.filter(has_text="lost")).not_to_have_count(0, timeout=PATIENCE_MS)
    show(page, "agents")
    expect(agent).to_have_attribute("aria-label", re.compile("connected"), timeout=PATIENCE_MS)


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
        say(page, "halt", {"reason": "a drill"})
        say(page, "resume", {})
    page.reload()
    for _ in range(3):
        say(page, "halt", {"reason": "a drill"})
        say(page, "resume", {})
    expect(count).to_contain_text(re.compile(rf"^{before + 12} of "), timeout=PATIENCE_MS)


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
