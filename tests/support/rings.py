"""`make test`: the rings by cost. The quick ones first and alone; then, alone as well, what asks a real model, which
takes every core it is given and is starved beside anything; then those on containers beside those on processes, as both
mostly wait for something. What the first of these two says is shown when it is over.

    python -m tests.support.rings [ARGUMENT ...]      # arguments are given to every pytest
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO

from tests.support.docker_ring import why_not

QUICK = ("tests/unit", "tests/property", "tests/contract", "tests/replay")
QUICK_MARKS = "not integration and not stack and not docker"
MODEL_MARKS = "local_llm"
DOCKER_MARKS = "docker"
EMBEDDED_MARKS = "(integration or stack) and not local_llm and not docker and not ui"
END_S = 60.0
"""So long a ring that was interrupted may take down what it has up."""


def command(places: Sequence[str], marks: str, more: Sequence[str]) -> list[str]:
    """Return the words that run one ring."""
    return [sys.executable, "-m", "pytest", *places, "-m", marks, *more]


def main(more: Sequence[str]) -> int:
    """Run the rings; return the exit code of the first that failed, 0 if none did."""
    first = _run(command(QUICK, QUICK_MARKS, more)) or _run(command(["tests"], MODEL_MARKS, more))
    if first:
        return first
    if why_not() is not None:
        return _run(command(["tests"], DOCKER_MARKS, more)) or _run(command(["tests"], EMBEDDED_MARKS, more))
    with tempfile.TemporaryFile() as said, _beside(command(["tests"], DOCKER_MARKS, more), said) as docker:
        _say("the ring on containers runs beside this one; what it says follows at the end")
        embedded = _run(command(["tests"], EMBEDDED_MARKS, more))
        _say("waiting for the ring on containers")
        code = docker.wait()
        said.seek(0)
        sys.stdout.write(said.read().decode(errors="replace"))
    return embedded or code


def _run(words: Sequence[str]) -> int:
    return subprocess.run(words, check=False).returncode


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextlib.contextmanager
def _beside(words: Sequence[str], output: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside the block; left before its end, it is interrupted and takes its world down."""
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
