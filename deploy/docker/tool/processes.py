"""Ends the processes of its process namespace whose last argument is MARK.

    processes.py MARK

Prints how many there were. Itself and process 1 are never among them.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def marked(mark: str, proc: Path = Path("/proc")) -> list[int]:
    """Return the ids of the marked processes, in ascending order."""
    found = []
    for folder in proc.iterdir():
        if not folder.name.isdigit() or int(folder.name) in (1, os.getpid()):
            continue
        try:
            arguments = (folder / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        except OSError:  # it ended meanwhile
            continue
        if arguments[-1] == mark.encode():
            found.append(int(folder.name))
    return sorted(found)


def end(mark: str) -> int:
    """SIGKILL them; returns how many there were."""
    found = marked(mark)
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(found)


if __name__ == "__main__":
    sys.stdout.write(f"{end(sys.argv[1])}\n")
