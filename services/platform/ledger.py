"""The ledger of effects: which idempotency key was begun and which was carried out, safe across crashes.

One JSON object per line, appended and synced before it counts. An `intent` stands before the world is touched, `done`
or `failed` after. Whoever finds an intent without an end looks at the world before doing anything (docs of `Platform`).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Phase = Literal["intent", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the ledger."""

    key: str
    workload: str
    verb: str
    phase: Phase
    at_us: int
    """Microseconds since the epoch."""
    detail: str = ""
    """On an end: what happened, in one sentence."""
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Past:
    """What the ledger says of one key."""

    intent: Row | None = None
    done: Row | None = None


class Ledger:
    """The ledger in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self) -> Iterator[Row]:
        """Read all rows, oldest first. A last line cut by a crash was never promised and is skipped."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        for line in data.splitlines():
            try:
                yield Row(**json.loads(line))
            except (ValueError, TypeError):
                continue

    def past(self, key: str) -> Past:
        """Return what is known of a key: its first intent, and its end if it was carried out."""
        intent = done = None
        for row in self.rows():
            if row.key != key:
                continue
            if row.phase == "intent" and intent is None:
                intent = row
            elif row.phase == "done" and done is None:
                done = row
        return Past(intent, done)

    def begun(self) -> tuple[tuple[str, str, str], ...]:
        """Return (key, workload, verb) of every effect that was begun, oldest first, each once."""
        return tuple((row.key, row.workload, row.verb) for row in self.rows() if row.phase == "intent")

    def append(self, row: Row) -> None:
        """Add a row; it is on disk when this returns.

        Raises:
            OSError: the disk is full or not writable; the row does not count.
        """
        line = json.dumps(asdict(row), ensure_ascii=False).encode() + b"\n"
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, (b"" if _ends_clean(descriptor) else b"\n") + line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _ends_clean(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
