"""One run at a time on one stack: two would see, and be judged by, each other's faults."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.runtime.locks import try_lock
from harness.errors import ConflictError

NAME = "run.lock"


@contextmanager
def only_run(home: Path, what: str) -> Iterator[None]:
    """Be the only run on the stack under `home`; the lock is free again when its holder ends, however it ends.

    Args:
        what: a scenario or a suite; whoever is refused is told of it.

    Raises:
        ConflictError: another run holds it, which is named.
    """
    path = home / NAME
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not try_lock(descriptor):
            running = path.read_text(errors="replace").strip() or "a scenario"
            raise ConflictError(
                f"{running} runs on the stack under {home}; wait for its end, or use another TRIAGE_HOME"
            )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{what} (process {os.getpid()})\n".encode())
        yield
    finally:
        os.close(descriptor)
