"""A recording said again through a real broker of its own: seen by whoever reads that home, and gone afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker.gate import Trusted
from harness.control import connect
from harness.decisions import run_of
from harness.diff import compare
from harness.rebroadcast import opened
from harness.sources import live, recorded
from tests.support.recordings import SIGNED, fixture

pytestmark = pytest.mark.integration
WAIT_S = 60.0
BURST = 20.0
"""Speed: 25 recorded seconds in little more than one."""


@contextmanager
def replaying(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, object]]]:
    """Run `triage replay --live` and give what it says first."""
    command = [sys.executable, "-m", "harness.cli.app", "replay", str(fixture(SIGNED)), "--live", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


async def seen(home: Path, count: int) -> list[Trusted]:
    """Return the first trusted messages of the journal under a home; nothing else stands there."""
    found: list[Trusted] = []
    async with asyncio.timeout(WAIT_S), connect(home) as control:
        async for item in control.follow(1):
            if len(found) == count:
                break
            assert isinstance(item, Trusted) or not hasattr(item, "stored"), item
            found += [item] if isinstance(item, Trusted) else []
            if len(found) == count:
                break
    return found


def test_a_reader_sees_the_whole_run_and_it_is_the_recorded_one() -> None:
    lines = opened(fixture(SIGNED)).lines
    with replaying("--speed", str(BURST), "--stay") as (process, told):
        assert told["messages"] == len(lines)
        assert str(told["url"]).startswith("nats://127.0.0.1:")
        home = Path(str(told["home"]))
        found = asyncio.run(seen(home, len(lines)))
        assert [item.message for item in found] == [line.message for line in lines]
        incident = str(told["incident"])
        journal = run_of("live", incident, found)
        assert compare(recorded(fixture(SIGNED)), journal, exact=True).same
        assert asyncio.run(live(home, "live", incident)).incident == incident
        assert process.stdout is not None
        kept = json.loads(process.stdout.readline())
        assert kept["messages"] == len(lines)
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 130
    assert not home.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_the_middle_leaves_nothing_behind(number: signal.Signals) -> None:
    with replaying("--speed", "0.2") as (process, told):
        home = Path(str(told["home"]))
        server = server_of(process.pid)
        process.send_signal(number)
        assert process.wait(WAIT_S) == 130
        assert process.stderr is not None
        complaint = process.stderr.read()
    assert "interrupted" in complaint
    assert "Traceback" not in complaint
    assert not home.exists()
    assert gone(server)


def test_a_kill_leaves_no_server_and_the_next_replay_removes_the_home() -> None:
    with replaying("--speed", "0.2") as (process, told):
        home = Path(str(told["home"]))
        server = server_of(process.pid)
        process.kill()
        process.wait(WAIT_S)
    assert gone(server)
    assert home.exists(), "nobody was left to remove it"
    with replaying("--speed", "0.2") as (process, told):
        assert not home.exists()
        assert Path(str(told["home"])).exists()
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 130


def server_of(pid: int) -> int:
    """Return the process id of the broker that a replay has started."""
    listed = subprocess.run(["ps", "-o", "pid=,ppid=,comm=", "-A"], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    return next(int(row[0]) for row in rows if row[1] == str(pid) and "nats-server" in row[2])


def gone(pid: int) -> bool:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False
