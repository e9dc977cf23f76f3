"""What holds for every ring: tests that need a Docker engine say loudly when there is none."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from harness.compose.program import find
from harness.errors import HarnessError


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `docker` if there is no engine to be used; what was deselected is not here any more."""
    wanted = [item for item in items if item.get_closest_marker("docker")]
    if not wanted or (reason := _why_not()) is None:
        return
    for item in wanted:
        item.add_marker(pytest.mark.skip(reason=reason))


def _why_not() -> str | None:
    if os.environ.get("TRIAGE_TESTS_WITHOUT_DOCKER"):
        return "TRIAGE_TESTS_WITHOUT_DOCKER is set"
    try:
        find()
    except HarnessError as error:
        return str(error)
    return None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
    """A skipped ring is no passed ring: the last thing that is said."""
    yield
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "docker" in report.keywords]
    if not skipped:
        return
    terminalreporter.section("NOT TESTED ON CONTAINERS", sep="!", red=True, bold=True)
    for reason in sorted({str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped}):
        terminalreporter.line(f"{len(skipped)} tests that need Docker were skipped: {reason}", red=True)
