"""Fills a small volume to its last byte, frees it again, or says how large the filler is.

    volume.py fill|free|size DIRECTORY

Prints the filler's size in bytes. A directory on a file system of more than 256 MiB is refused: that is no small
volume, and filling it could take the machine down.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

FILLER = ".triage-filler"
LARGEST = 256 << 20


def size_of(directory: Path) -> int:
    """Return the filler's size, bytes; 0 if there is none."""
    try:
        return (directory / FILLER).stat().st_size
    except FileNotFoundError:
        return 0


def fill(directory: Path) -> None:
    """Write the filler until nothing fits any more.

    Raises:
        ValueError: not a small volume. OSError: any failure but a full volume.
    """
    room = os.statvfs(directory)
    if room.f_blocks * room.f_frsize > LARGEST:
        raise ValueError(f"{directory} lies on more than {LARGEST >> 20} MiB: no small volume")
    with (directory / FILLER).open("ab", buffering=0) as file:
        for chunk in (1 << 16, 1 << 10, 1):
            while _fits(file.fileno(), chunk):
                pass


def _fits(descriptor: int, count: int) -> bool:
    try:
        return os.write(descriptor, b"\0" * count) == count
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return False
        raise


def main(verb: str, directory: Path) -> int:
    """Do it and print the filler's size; 1 and a sentence if it cannot be done."""
    try:
        if verb == "fill":
            fill(directory)
        elif verb == "free":
            (directory / FILLER).unlink(missing_ok=True)
        sys.stdout.write(f"{size_of(directory)}\n")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
