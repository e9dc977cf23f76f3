"""The shop's image holds a part of the project: every module that the shop imports, whatever imports what."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECIPE = (ROOT / "deploy/docker/shop.Dockerfile").read_text()


def carried() -> set[Path]:
    """Return the modules that are copied into the image."""
    words = [word for line in re.findall(r"^COPY (?!--)(.*) \S+$", RECIPE, flags=re.MULTILINE) for word in line.split()]
    places = [ROOT / word for word in words]
    return {file for place in places for file in (place.rglob("*.py") if place.is_dir() else [place])}


def imported(file: Path) -> Iterator[Path]:
    """Give the project's own files that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [str(node.module)]
        else:
            continue
        for place in (ROOT / name.replace(".", "/") for name in names):
            yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file())


def test_every_module_that_the_shop_imports_is_in_its_image() -> None:
    there = carried()
    shop = set((ROOT / "services/shop").rglob("*.py"))
    assert shop <= there
    seen, left = set(shop), list(shop)
    while left:
        new = set(imported(left.pop())) - seen
        seen |= new
        left += new
    assert {str(file.relative_to(ROOT)) for file in seen - there} == set()
    assert ROOT / "broker/tasks.py" in seen
