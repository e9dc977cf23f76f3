"""docs/faults.md says of every fault where it can be made and what it takes, as the registry has it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from injector.fault import Platform
from injector.registry import FAULTS

DOC = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
NAMED = re.compile(r"`(\w+)`")
WHERE = "| family | fault | mechanism | processes | containers | why not elsewhere |"
WHAT = "| fault | targets | arguments | evidence | repaired by |"
LIMITED: dict[str, tuple[Platform, ...]] = {"processes": ("embedded",), "containers": ("docker",)}


def rows(header: str) -> Iterator[list[str]]:
    """Yield the cells of every row of the table with this header."""
    lines = iter(DOC[DOC.index(header) :].splitlines()[2:])
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def test_the_families_table_names_every_fault_once_with_the_platforms_it_can_be_made_on() -> None:
    said: list[tuple[str, tuple[str, ...]]] = []
    for _, faults, _, processes, containers, _ in rows(WHERE):
        cells = {"embedded": processes, "docker": containers}
        where = tuple(name for name, cell in cells.items() if cell != "no")
        assert all(cell == "no" or cell.startswith(("yes", "as `")) for cell in cells.values()), faults
        said += [(name, where) for name in NAMED.findall(faults)]
    assert sorted(said) == sorted((fault.name, fault.platforms) for fault in FAULTS.values())


def test_the_table_of_targets_names_every_fault_once_with_its_arguments_and_where_it_is_limited_to() -> None:
    said = []
    for faults, _, arguments, _, _ in rows(WHAT):
        limit = re.search(r"\((\w+)\)", faults)
        where = LIMITED[limit.group(1)] if limit else ("embedded", "docker")
        said += [(name, set(NAMED.findall(arguments)), where) for name in NAMED.findall(faults)]
    real = [(fault.name, set(fault.arguments), fault.platforms) for fault in FAULTS.values()]
    assert sorted(said, key=lambda row: row[0]) == sorted(real, key=lambda row: row[0])


def test_the_bounds_and_defaults_of_arguments_are_those_of_the_faults() -> None:
    for faults, _, arguments, _, _ in rows(WHAT):
        for name, least, greatest, default in re.findall(r"`(\w+)` ([\d.]+?)\.\.([\d.]+) \(([\d.]+)\)", arguments):
            for fault in NAMED.findall(faults):
                assert FAULTS[fault].arguments[name] == (float(default), float(least), float(greatest)), fault


def test_the_number_of_kinds_is_the_registrys() -> None:
    on_processes = sum("embedded" in fault.platforms for fault in FAULTS.values())
    assert (len(FAULTS), on_processes) == (34, 28)
    assert "Thirty-four kinds over six families, 28 of them on processes" in DOC
