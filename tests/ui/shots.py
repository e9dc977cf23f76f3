"""Pictures of every view, light, dark and on a phone, to be looked at: `python -m tests.ui.shots FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from tests.ui.serving import served

VIEWS = {
    "overview": "#/overview",
    "topology": "#/topology?node=catalog",
    "incident": "#/incident?incident=inc-a1",
    "incident-open": "#/incident?incident=inc-b2",
    "plan": "#/plan?incident=inc-a1&task=t3",
    "model": "#/model?incident=inc-a1&run=inc-a1.v1.a1",
    "timeline": "#/timeline?seq=40",
    "approvals": "#/approvals",
    "agents": "#/agents",
    "broker": "#/broker",
    "faults": "#/faults",
    "replay": "#/replay?replay=incident:inc-a1&incident=inc-a1&at=45",
    "replay-plan": "#/plan?replay=incident:inc-a1&incident=inc-a1&at=45",
}
CHROMIUM = "/usr/bin/chromium"
SETTLED_MS = 30_000
WINDOW = ViewportSize(width=1440, height=900)
PHONE = ViewportSize(width=390, height=844)
UNFIXED = """() => innerWidth < 760 && document.querySelectorAll("nav, .replay").forEach((bar) => {
  bar.style.position = "static";
})"""
"""What stands at the lower edge of a phone would else cover the middle of a picture of the whole page."""


def opened(browser: Browser, theme: str, *, phone: bool) -> Page:
    """Return a page of that look."""
    size = PHONE if phone else WINDOW
    context = browser.new_context(viewport=size, color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
    return context.new_page()


def settled(page: Page) -> None:
    """Wait until nothing loads any more and every graph has its place on the screen."""
    expect(page.locator("main [role=status]", has_text="is loading")).to_have_count(0, timeout=SETTLED_MS)
    page.wait_for_timeout(250)  # a picture, not a test: the graph moves into its frame


def main(folder: Path) -> None:
    """Write all pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with served() as (_, base), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for theme, phone in (("light", False), ("dark", False), ("light", True)):
            page = opened(browser, theme, phone=phone)
            for name, address in VIEWS.items():
                page.goto(base + address)
                page.wait_for_load_state("load")
                page.get_by_text("live", exact=True).first.wait_for()
                settled(page)
                page.evaluate(UNFIXED)
                page.screenshot(path=folder / f"{name}-{theme}{'-phone' if phone else ''}.png", full_page=phone)
            page.context.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
