"""Checkpoints kept outside the database: one JSON object a line, appended and synced.

Whoever can rewrite the database finds here, and in the journal, heads that no longer fit. Copy the file elsewhere for
stronger evidence; `triage audit verify` takes any copy.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from broker.contracts.control import Checkpoint
from broker.errors import SchemaError

FILE_NAME = "audit-checkpoints.jsonl"


def read(path: Path) -> tuple[Checkpoint, ...]:
    """Return what the file holds, in its order; nothing if there is no file. A line that was cut by a crash, or is no
    checkpoint, is passed over: what it said is in the journal too."""
    if not path.exists():
        return ()
    found = []
    for line in path.read_bytes().splitlines():
        try:
            found.append(Checkpoint.decode(line))
        except SchemaError:
            continue
    return tuple(found)


def add(path: Path, checkpoints: Iterable[Checkpoint]) -> None:
    """Append checkpoints; they are on disk on return.

    Raises:
        OSError: the file cannot be written; it may then end in a half line, which the next call closes.
    """
    text = b"".join(checkpoint.encode() + b"\n" for checkpoint in checkpoints)
    if not text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.tell() and not _ends_a_line(file.fileno(), file.tell()):
            text = b"\n" + text
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _ends_a_line(descriptor: int, size: int) -> bool:
    return os.pread(descriptor, 1, size - 1) == b"\n"
