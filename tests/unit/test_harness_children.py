"""Ending a process of ours: one that hears the signal, one that does not, and one that has ended already."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import pytest

from harness.children import end_child, end_child_of_loop

OBEDIENT = "import time; print(flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + OBEDIENT
ENDED = "print(flush=True)"
CASES = pytest.mark.parametrize(
    ("words", "grace_s", "code"),
    [(OBEDIENT, 60.0, -signal.SIGTERM), (STUBBORN, 0.1, -signal.SIGKILL), (ENDED, 60.0, 0)],
    ids=["obedient", "stubborn", "ended"],
)


@CASES
def test_a_child_has_ended_however_it_takes_being_asked(words: str, grace_s: float, code: int) -> None:
    with subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        if words == ENDED:
            child.wait()
        end_child(child, grace_s)
        assert child.returncode == code


@CASES
@pytest.mark.asyncio
async def test_a_child_of_the_loop_has_ended_however_it_takes_being_asked(
    words: str, grace_s: float, code: int
) -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", words, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    await child.stdout.readline()
    if words == ENDED:
        await child.wait()
    await end_child_of_loop(child, grace_s)
    assert child.returncode == code
