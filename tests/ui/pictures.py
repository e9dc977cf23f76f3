"""The pictures of the README, from the built page over the canned journal: `python -m tests.ui.pictures docs/pictures`.

Chromium draws and encodes them, so nothing else is needed: a few views as WebP, and `demo.webp`, which plays an
incident through the page's own replay: the fault, the plan, the agent that is lost, the failed check, the repair.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.ui.serving import served
from tests.ui.shots import CHROMIUM, settled
from tests.ui.webp import animated

WIDTH, HEIGHT = 1200, 750
MAX_PICTURE = 200_000
MAX_ANIMATED = 3_000_000
"""Largest files, bytes: a README loads all of them."""
SHOWN = {
    "topology-dark": "#/topology",
    "plan-light": "#/plan?incident=inc-a1&task=t3",
    "timeline-light": "#/timeline?seq=40",
    "approvals-dark": "#/approvals",
}
INCIDENT = "replay=incident:inc-a1&incident=inc-a1"
FIRST = 24
"""Place in the replay at which the incident has just been reported."""
STEP = 2
"""Messages from frame to frame."""
STEP_MS = 450
REST_MS = 2_200
ENCODE = """async ([png, quality]) => {
  const image = new Image();
  image.src = "data:image/png;base64," + png;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  canvas.getContext("2d", { alpha: false }).drawImage(image, 0, 0);
  return canvas.toDataURL("image/webp", quality).split(",")[1];
}"""


def main(folder: Path) -> None:
    """Write all pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with served() as (_, base), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        encoder = browser.new_page()
        for name, address in SHOWN.items():
            page = _page(browser, name.rpartition("-")[2])
            _open(page, base + address)
            _write(folder / f"{name}.webp", _encoded(encoder, page, 0.82), MAX_PICTURE)
            page.context.close()
        page = _page(browser, "light")
        frames = [(_encoded(encoder, page, 0.6), ms) for ms in _played(page, base)]
        _write(folder / "demo.webp", animated(frames, WIDTH, HEIGHT), MAX_ANIMATED)
        browser.close()


def _played(page: Page, base: str) -> Iterator[int]:
    """Go through the incident; gives how long what is on the page shall stand, milliseconds."""
    _open(page, f"{base}#/topology?{INCIDENT}&at={FIRST}")
    yield REST_MS
    _turn(page, "plan")
    place = page.get_by_label("Place in the replay")
    for at in range(FIRST, int(place.get_attribute("max") or "0") + 1, STEP):
        place.fill(str(at))
        settled(page)
        yield STEP_MS
    for view in ("incident", "agents"):
        _turn(page, view)
        yield REST_MS


def _turn(page: Page, view: str) -> None:
    page.locator(f"nav a[href*='#/{view}?']").click()
    settled(page)


def _page(browser: Browser, theme: str) -> Page:
    context = browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    return context.new_page()


def _open(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_text("live", exact=True).first.wait_for()
    settled(page)


def _encoded(encoder: Page, page: Page, quality: float) -> bytes:
    png = base64.b64encode(page.screenshot()).decode()
    return base64.b64decode(encoder.evaluate(ENCODE, [png, quality]))


def _write(path: Path, data: bytes, most: int) -> None:
    if len(data) > most:
        raise SystemExit(f"{path.name} has {len(data):,} bytes; a README loads {most:,} at most: show less of the page")
    path.write_bytes(data)
    sys.stdout.write(f"{path.name}: {len(data):,} bytes\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
