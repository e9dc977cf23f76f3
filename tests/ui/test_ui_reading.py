"""What is read and not changed: plans, proofs, replay, keyboard, addresses, and that everybody can read it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.ui.canned import DIST
from tests.ui.conftest import Shown
from tests.ui.shots import VIEWS

pytestmark = pytest.mark.ui
AXE = DIST.parent / "node_modules" / "axe-core" / "axe.min.js"


def test_every_view_is_free_of_serious_violations_in_light_and_dark(shown: Shown) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: make web")
    found: list[str] = []
    script = Path(AXE).read_text()
    for theme in ("light", "dark"):
        shown.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        for name, address in VIEWS.items():
            shown.open(address)
            expect(shown.page.locator("main [role=status]", has_text="is loading")).to_have_count(0)
            shown.page.evaluate(script)
            report = shown.page.evaluate(
                "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})"
            )
            for violation in report["violations"]:
                if violation["impact"] in ("serious", "critical"):
                    nodes = [node["html"][:140] for node in violation["nodes"][:3]]
                    found.append(f"{theme} {name}: {violation['id']} {json.dumps(nodes)}")
    assert found == []


def test_the_graph_of_a_plan_stays_where_it_is_when_only_a_state_changes(shown: Shown) -> None:
    shown.open("#/plan?incident=inc-b2")
    page = shown.page
    nodes = page.locator(".react-flow__node")
    expect(nodes).to_have_count(3)
    before = nodes.evaluate_all("all => all.map(one => one.style.transform)")
    expect(page.locator(".node[data-state=approval]")).to_be_visible()
    page.evaluate("location.hash = '#/approvals'")
    page.get_by_label("to approve").fill("catalog")
    page.get_by_role("button", name="Approve", exact=True).click()
    page.evaluate("location.hash = '#/plan?incident=inc-b2'")
    expect(page.locator(".node[data-state=approval]")).to_have_count(0)
    expect(nodes).to_have_count(3)
    assert nodes.evaluate_all("all => all.map(one => one.style.transform)") == before


def test_the_slider_shows_an_older_version_of_the_plan_and_the_difference(shown: Shown) -> None:
    shown.open("#/plan?incident=inc-a1")
    page = shown.page
    expect(page.locator("main")).to_contain_text("no longer there: check_logs orders, restart orders")
    page.get_by_label("Plan version", exact=True).fill("0")
    expect(page.get_by_role("region", name="Plan as a table")).to_contain_text("orders was restarted")
    assert "plan=v1.a1" in page.url


def test_hashes_and_place_in_the_chain_are_computed_in_the_page(shown: Shown) -> None:
    shown.open("#/timeline?seq=40")
    checks = shown.page.locator(".checks li")
    expect(checks).to_have_count(4)
    expect(checks.filter(has_text="does not hold")).to_have_count(0)
    expect(checks.filter(has_text="checked by this page")).to_have_count(3)


def test_the_timeline_is_exported_as_lines_of_json_with_the_state_of_every_signature(shown: Shown) -> None:
    shown.open("#/timeline")
    with shown.page.expect_download() as download:
        shown.page.get_by_role("button", name="Export").click()
    assert download.value.suggested_filename == "timeline.jsonl"
    entries = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
    assert len(entries) > 60
    assert [entry["refusal"] for entry in entries if not entry["verified"]] == ["bad_frame"]


def test_a_message_whose_bytes_were_changed_is_called_out(shown: Shown) -> None:
    row = shown.canned.story.rows[39]
    shown.canned.story.rows[39] = row._replace(envelope=row.envelope[:-1] + bytes([row.envelope[-1] ^ 1]))
    shown.open("#/timeline?seq=40")
    expect(shown.page.locator(".checks li").filter(has_text="Hash of the bytes")).to_contain_text("does not hold")


def test_the_scrubber_drives_plan_and_timeline_together(shown: Shown) -> None:
    shown.open("#/plan?replay=incident:inc-a1&incident=inc-a1")
    page = shown.page
    place = page.get_by_label("Place in the replay")
    expect(place).to_be_enabled()
    expect(page.locator(".react-flow__node")).to_have_count(0)
    page.get_by_label("Next decision").click()
    page.get_by_label("Next decision").click()
    page.get_by_label("Next decision").click()
    expect(page.locator(".node[data-state=waiting]")).to_have_count(4)
    place.fill(place.get_attribute("max") or "0")
    expect(page.locator(".node[data-state=done]")).to_have_count(3)
    page.get_by_role("link", name="Timeline", exact=True).click()
    expect(page.locator(".row[role=option]").first).to_contain_text(re.compile("verified|checkpoint"))
    page.get_by_role("button", name="Back to live").click()
    expect(place).to_have_count(0)


def test_a_reload_in_a_replay_comes_back_to_the_same_place(shown: Shown) -> None:
    shown.open("#/replay?replay=recording:chaos1.recording&incident=inc-a1&at=45")
    page = shown.page
    expect(page.get_by_label("Place in the replay")).to_have_value("45")
    page.reload()
    expect(page.get_by_label("Place in the replay")).to_have_value("45")


def test_the_keyboard_alone_opens_views_finds_things_and_walks_the_rows(shown: Shown) -> None:
    shown.open("#/overview")
    page = shown.page
    page.keyboard.press("g")
    page.keyboard.press("l")
    expect(page).to_have_title("Timeline · Agentic Triage")
    expect(page.locator(".row[role=option]").first).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator(".row.selected")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.type("shop-db")
    page.keyboard.press("Enter")
    expect(page.locator(".side h2")).to_have_text("shop-db")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keyboard")).to_have_count(0)


def test_a_phone_shows_every_view_without_scrolling_sideways(shown: Shown) -> None:
    shown.page.set_viewport_size({"width": 390, "height": 844})
    for address in VIEWS.values():
        shown.open(address)
        expect(shown.page.get_by_role("button", name="Halt", exact=True)).to_be_in_viewport()
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= 390, address


def test_an_approval_that_nobody_gave_in_time_stands_there_as_expired(shown: Shown) -> None:
    shown.open("#/approvals")
    row = shown.page.get_by_role("region", name="Decided approvals").get_by_role("row", name="inc-a2")
    expect(row).to_contain_text("expired")
    expect(row).to_contain_text("nobody decided within 10.0 s")
    expect(shown.page.locator("main")).to_contain_text("then it counts as not approved")
