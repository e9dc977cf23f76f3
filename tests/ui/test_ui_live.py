"""The page in a real Chromium over a canned journal: what a person does, and what must then stand there."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from broker.contracts.control import Rotate
from tests.ui.conftest import Shown

pytestmark = pytest.mark.ui


def test_the_overview_tells_todays_figures_and_what_is_open(shown: Shown) -> None:
    shown.open("#/overview")
    page = shown.page
    expect(page.get_by_label("Today")).to_contain_text("22 of 30 injected faults today")
    expect(page.get_by_label("Latency meter")).to_contain_text("within 250 ms")
    expect(page.locator("main")).to_contain_text("waits for approval")


def test_an_incident_that_is_reported_stands_in_the_journal_and_in_the_address(shown: Shown) -> None:
    shown.open("#/incident")
    page = shown.page
    page.get_by_label("What is broken").fill("checkout is dead")
    page.get_by_role("button", name="Report", exact=True).click()
    expect(page.locator(".panel h2", has_text="inc-c")).to_be_visible()
    assert "incident=inc-c" in page.url
    assert any(entry.message and entry.type == "incident.reported" for entry in shown.canned.story.entries[-20:])


def test_script_in_an_incidents_text_is_shown_as_text(shown: Shown) -> None:
    for view in ("incident", "timeline", "overview", "model", "broker", "replay"):
        shown.open(f"#/{view}?incident=inc-b2")
        expect(shown.page.locator("main")).to_be_visible()
    shown.open("#/incident?incident=inc-b2")
    expect(shown.page.locator(".said pre").filter(has_text="<script>window.hacked=1</script>").first).to_be_visible()
    assert shown.page.evaluate("window.hacked === undefined")


def test_a_risky_step_is_approved_only_with_its_targets_name_and_only_once(shown: Shown) -> None:
    shown.open("#/approvals")
    page = shown.page
    approve = page.get_by_role("button", name="Approve", exact=True)
    expect(approve).to_be_disabled()
    page.get_by_label("to approve").fill("catalo")
    expect(approve).to_be_disabled()
    page.get_by_label("to approve").fill("catalog")
    approve.dblclick()
    expect(page.get_by_role("region", name="Decided approvals")).to_contain_text("approved")
    granted = [entry for entry in shown.canned.story.entries if entry.type == "approval.granted"]
    assert len(granted) == 1


def test_an_approval_that_was_decided_elsewhere_is_refused_in_words(shown: Shown) -> None:
    shown.open("#/approvals")
    page = shown.page
    page.route(
        "**/api/approvals/**",
        lambda route: route.fulfill(
            status=409,
            json={"error": "approval_decided", "message": "It was approved already", "next": "Nothing is left to do"},
        ),
    )
    page.get_by_label("to approve").fill("catalog")
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.locator(".failure")).to_contain_text("It was approved already. Nothing is left to do.")


@pytest.mark.parametrize("key", ["F12", "Shift+K"])
def test_the_key_kills_the_agent_that_has_the_focus_and_the_cue_tells_the_milliseconds(shown: Shown, key: str) -> None:
    shown.open("#/agents")
    page = shown.page
    page.get_by_label("Agent metric-agent-1").focus()
    page.keyboard.press(key)
    cue = page.locator(".cue")
    expect(cue).to_contain_text("Fallback: metric-agent-1 was lost.")
    expect(cue).to_contain_text("went to metric-agent-2 in 3.0 ms")
    assert [path for _, path in shown.canned.commands] == ["agents/metric-agent-1/kill"]


def test_the_kill_key_does_nothing_while_no_agent_has_the_focus_or_somebody_types(shown: Shown) -> None:
    shown.open("#/incident")
    page = shown.page
    page.keyboard.press("F12")
    page.get_by_label("What is broken").press("Shift+K")
    page.get_by_label("What is broken").press("Shift+H")
    expect(page.get_by_label("What is broken")).to_have_value("KH")
    assert shown.canned.commands == []


def test_the_halt_shows_its_time_in_every_view_and_ends_with_resume(shown: Shown) -> None:
    shown.open("#/topology")
    page = shown.page
    page.get_by_role("button", name="Halt", exact=True).click()
    halted = page.locator(".halted")
    expect(halted).to_contain_text("No agent has begun anything since.")
    expect(halted).to_contain_text("From the press to this page")
    page.get_by_role("link", name="Timeline", exact=True).click()
    expect(halted).to_be_visible()
    halted.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Halt", exact=True)).to_be_visible()


def test_a_reload_in_the_middle_loses_no_row(shown: Shown) -> None:
    shown.open("#/timeline?group=control")
    page, story = shown.page, shown.canned.story
    for version in range(2, 22):
        story.say(Rotate(key_version=version), "operator", "cli")
    page.reload()
    for version in range(22, 32):
        story.say(Rotate(key_version=version), "operator", "cli")
    expect(page.locator(".panel-aside").first).to_contain_text("30 of")
    expect(page.locator(".row[role=option]").first).to_contain_text("key version 31")


def test_a_page_left_open_while_the_api_is_away_goes_on_where_it_was(shown: Shown) -> None:
    shown.open("#/timeline?group=control")
    page, canned = shown.page, shown.canned
    canned.away = True
    expect(page.locator("header .badge").first).to_contain_text("offline")
    for version in range(2, 12):
        canned.story.say(Rotate(key_version=version), "operator", "cli")
    canned.away = False
    expect(page.locator("header .badge").first).to_contain_text("live", timeout=10_000)
    expect(page.locator(".panel-aside").first).to_contain_text("10 of")


def test_a_stack_whose_broker_is_away_is_said_while_the_page_stays_and_goes_on(shown: Shown) -> None:
    shown.open("#/timeline?group=control")
    page, canned = shown.page, shown.canned
    canned.deaf = True
    expect(page.locator("header .badge").first).to_contain_text("stack away, waiting")
    expect(page.locator(".failure")).to_contain_text("The stack's broker does not answer.")
    page.reload()
    expect(page.locator("header .badge").first).to_contain_text("stack away, waiting")
    canned.deaf = False
    canned.story.say(Rotate(key_version=2), "operator", "cli")
    expect(page.locator("header .badge").first).to_contain_text("live")
    expect(page.locator(".failure")).to_have_count(0)
    expect(page.locator(".panel-aside").first).to_contain_text("1 of")


def test_a_stack_that_came_back_with_another_journal_is_shown_anew(shown: Shown) -> None:
    shown.open("#/timeline")
    page, canned = shown.page, shown.canned
    canned.away = True
    expect(page.locator("header .badge").first).to_contain_text("offline")
    fresh = type(canned)("another")
    canned.name, canned.story = fresh.name, fresh.story
    canned.story.say(Rotate(key_version=7), "operator", "cli")
    canned.away = False
    expect(page.locator(".row[role=option]").first).to_contain_text("key version 7", timeout=10_000)
