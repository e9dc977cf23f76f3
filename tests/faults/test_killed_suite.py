"""kill -9 of a suite while a fault of it is open: after the next start the world is as before."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.site import deployment
from harness.suite.ground import standing
from harness.suite.plan import Planner
from harness.suite.result import CleanUp
from harness.suite.world import differences
from injector.collateral import Baseline, faults_of
from injector.fault import Spec
from injector.injector import Injector

pytestmark = pytest.mark.stack
FAULT = Spec("network_partition", "orders--shop-db", {})
BREAKS_WITHIN_S = 300.0
"""A suite first waits until the world is as declared, and brings it up anew if it does not become so."""


@pytest.fixture
def injector(home: Path) -> Injector:
    return deployment(home).injector()


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "cut.json"
    fault = {"fault": FAULT.fault, "target": FAULT.target}
    expect = {"verdict": "verified", "max_actions": 2}
    path.write_text(json.dumps({"name": "cut", "summary": "Killed.", "faults": [fault], "expect": expect}))
    return path


def shown(injector: Injector) -> bool:
    return asyncio.run(injector.evidence(FAULT)).present


def world(home: Path) -> Baseline:
    return asyncio.run(deployment(home).witness().baseline())


def killed_with_a_fault_open(home: Path, scenario: Path, injector: Injector) -> None:
    """Start a suite and kill it as soon as its fault is in the world, before anybody was told of it."""
    said = scenario.with_suffix(".said")
    words = (*("suite", "--set", str(scenario)), *("--out", str(scenario.with_suffix(""))))
    with said.open("wb") as file, started(words, home, file.fileno()) as process:
        deadline = time.monotonic() + BREAKS_WITHIN_S
        while not injector.open() or not shown(injector):
            assert process.poll() is None, f"the suite ended before it broke anything: {said.read_text()}"
            assert time.monotonic() < deadline, f"the suite broke nothing: {said.read_text()}"
            time.sleep(0.05)


@contextmanager
def started(words: tuple[str, ...], home: Path, output: int) -> Iterator[subprocess.Popen[bytes]]:
    """Give a `triage` of its own, which is killed at the end of the block."""
    environment = {**os.environ, "TRIAGE_HOME": str(home)}
    command = [sys.executable, "-m", "harness.cli.app", *words]
    with subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process:
        try:
            yield process
        finally:
            process.kill()


async def next_start(home: Path) -> CleanUp:
    """Return what the next suite puts right before it begins. It raises if the world is not as declared after that."""
    async with standing(deployment(home), Planner("rulebook", "rulebook"), lambda _name, _what: None) as ground:
        assert ground.prepared is not None
        return ground.prepared


def test_the_next_start_heals_what_a_killed_suite_left_and_the_world_is_as_before(
    home: Path, scenario: Path, injector: Injector
) -> None:
    """Beside agents that may be repairing the very same thing at that moment."""
    before = world(home)
    killed_with_a_fault_open(home, scenario, injector)
    [left] = injector.open()
    assert left.spec == FAULT
    assert not list((scenario.with_suffix("") / "runs").iterdir()), "half a run was kept"
    found = asyncio.run(next_start(home))
    assert left.id in found.healed
    assert found.proved
    assert not list((home / "faults").iterdir())
    assert not shown(injector)
    assert faults_of(world(home)) == ()
    assert differences(before, world(home)) == ()
