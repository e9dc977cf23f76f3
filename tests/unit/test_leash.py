"""A command that was started for somebody ends with him, also when he just vanishes."""

from __future__ import annotations

import subprocess
import sys

import pytest

WAITS = "from harness import leash; import time; leash.hold(); print('waits', flush=True); time.sleep(60)"


def started(environment: dict[str, str], by: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*by, sys.executable, "-c", WAITS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment,
    )  # fmt: skip


@pytest.mark.parametrize(
    "by", [(), ("sh", "-c", 'trap "" INT; exec "$@"', "sh")], ids=["plain", "by a script in the background"]
)
def test_it_is_interrupted_when_its_input_ends(by: tuple[str, ...]) -> None:
    with started({"TRIAGE_LEASH": "1"}, by) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        assert process.poll() is None, "as long as the other end is held, it goes on"
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) != 0
        assert process.stderr is not None
        assert "KeyboardInterrupt" in process.stderr.read()


def test_without_a_leash_an_input_that_ends_means_nothing() -> None:
    with started({}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        assert process.stdin is not None
        process.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.kill()
