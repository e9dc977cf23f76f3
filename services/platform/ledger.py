"""The ledger of effects: which idempotency key was begun and which was carried out, safe across crashes.

One JSON object per line, appended and synced before it counts. An `intent` stands before the world is touched, `done`
or `failed` after. Whoever finds an intent without an end looks at the world before doing anything (docs of `Platform`).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Phase = Literal["intent", "done", "failed"]
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


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
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            for line in file:  # one at a time: years may stand here
                row = _read(line)
                if row is not None:
                    yield row

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
        with self._locked() as descriptor:
            os.write(descriptor, (b"" if _ends_clean(descriptor) else b"\n") + _line(row))
            os.fsync(descriptor)

    def drop_before(self, at_us: int) -> int:
        """Drop the rows that are older, and what a crash cut off; returns how many rows. All or nothing: who is
        interrupted leaves the ledger as it was.

        Args:
            at_us: microseconds since the epoch.

        Raises:
            OSError: as `append`.
        """
        if not any(row.at_us < at_us for row in self.rows()):
            return 0
        draft, dropped = self._path.with_name(f".{self._path.name}.new"), 0
        with self._locked(), os.fdopen(os.open(draft, _NEW, 0o600), "wb") as file:
            for row in self.rows():
                if row.at_us >= at_us:
                    file.write(_line(row))
                else:
                    dropped += 1
            file.flush()
            os.fsync(file.fileno())
            draft.replace(self._path)
        return dropped

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the ledger for the length of a block; gives it open for appending."""
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if self._is_current(descriptor):
                    yield descriptor
                    return
            finally:
                os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        """Tell whether an open file is still the ledger: another may have taken its place before it was locked."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False


def _read(line: bytes) -> Row | None:
    try:
        return Row(**json.loads(line))
    except (ValueError, TypeError):
        return None


def _line(row: Row) -> bytes:
    return json.dumps(asdict(row), ensure_ascii=False).encode() + b"\n"


def _ends_clean(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
