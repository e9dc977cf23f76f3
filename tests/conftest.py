"""What holds for every ring: tests that need a Docker engine say loudly when there is none."""

from __future__ import annotations

import signal
from collections.abc import Generator

import pytest

from tests.support.docker_ring import TITLE, why_not

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A suite that a script runs in the background is deaf to this signal, and so is every program that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `docker` if there is no engine to be used; what was deselected is not here any more."""
    wanted = [item for item in items if item.get_closest_marker("docker")]
    if not wanted or (reason := why_not()) is None:
        return
    for item in wanted:
        item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
    """A skipped ring is no passed ring: the last thing that is said."""
    yield
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "docker" in report.keywords]
    if not skipped:
        return
    terminalreporter.section(TITLE, sep="!", red=True, bold=True)
    for reason in sorted({str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped}):
        terminalreporter.line(f"{len(skipped)} tests that need Docker were skipped: {reason}", red=True)
