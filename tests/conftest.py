"""What holds for every ring: tests that need a Docker engine, or a real model, say loudly when there is none."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

from harness.errors import HarnessError
from harness.llm import known
from harness.llm.fetch import fetch
from harness.llm.server import require_engine
from tests.support.docker_ring import TITLE, why_not

settings.register_profile("repeatable", derandomize=True)
settings.register_profile("search", print_blob=True)
settings.load_profile("repeatable")
"""A change passes `make test` or it does not, on every machine alike. `make search` looks for what nobody has seen."""

SMALL_MODEL = "smollm2-135m-instruct"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A suite that a script runs in the background is deaf to this signal, and so is every program that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def small_model() -> Path:
    """Give the file of the smallest known model, fetched once into the cache; skip where it cannot be had or served."""
    if os.environ.get("TRIAGE_TESTS_WITHOUT_MODEL"):
        pytest.skip("TRIAGE_TESTS_WITHOUT_MODEL is set")
    try:
        require_engine()
        return fetch(known.named(SMALL_MODEL))
    except HarnessError as error:
        pytest.skip(str(error))


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
    _say_skipped(terminalreporter, "docker", TITLE, "that need Docker")
    _say_skipped(terminalreporter, "local_llm", "NOT TESTED WITH A REAL MODEL", "that need a model")


def _say_skipped(reporter: pytest.TerminalReporter, marker: str, title: str, which: str) -> None:
    skipped = [report for report in reporter.stats.get("skipped", []) if marker in report.keywords]
    if not skipped:
        return
    reporter.section(title, sep="!", red=True, bold=True)
    for reason in sorted({str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped}):
        reporter.line(f"{len(skipped)} tests {which} were skipped: {reason}", red=True)
