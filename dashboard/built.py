"""Where the built page lies, and whether it does. Nothing else: every command may ask."""

from __future__ import annotations

from pathlib import Path
from typing import Final

DIST: Final = Path(__file__).resolve().parent / "web" / "dist"
NOT_BUILT: Final = "its page is not built; build it with: make web"


def is_built(folder: Path = DIST) -> bool:
    """Tell whether a folder holds a built page."""
    return (folder / "index.html").is_file()
