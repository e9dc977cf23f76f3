"""One Chromium for all tests, a new page and a new journal for each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.ui.canned import DIST, Canned
from tests.ui.serving import served

CHROMIUM = shutil.which("chromium")
expect.set_options(timeout=30_000)  # a page draws at once; a machine that is busy with something else does not


@dataclass
class Shown:
    """A page on a canned journal."""

    page: Page
    canned: Canned
    base: str
    complaints: list[str]
    """What the browser's console had to complain of."""

    def open(self, address: str) -> None:
        """Open a view and wait until it is live."""
        self.page.goto(self.base + address)
        expect(self.page.locator("header .badge").first).to_contain_text("live")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start Debian's Chromium."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    if not (DIST / "index.html").is_file():
        pytest.skip("the page was not built: make web")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def shown(browser: Browser) -> Iterator[Shown]:
    """Give a page; fail if it complained of anything."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    with served() as (canned, base):
        yield Shown(page, canned, base, complaints)
        context.close()
    assert [text for text in complaints if "Failed to load resource" not in text] == []
