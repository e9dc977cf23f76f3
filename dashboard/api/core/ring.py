"""The newest part of the journal, encoded once for everybody who follows: bounded by bytes, read by cursor.

A follower holds nothing but the sequence it has: however many pages there are, memory stays what the ring takes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right

MAX_BYTES = 24 * 1024 * 1024
SPARE = 8
"""Room of given-up entries is freed when it is a part of all that large: the index, too, is bounded by what is kept."""


class Ring:
    """Encoded entries by sequence, ascending. The oldest give way."""

    def __init__(self, max_bytes: int = MAX_BYTES, floor: int = 0) -> None:
        """
        Args:
            floor: what stands up to this sequence is not, and never was, in here.
        """
        self._max_bytes = max_bytes
        self._floor = floor
        self._seqs = array("q")
        self._data: list[bytes] = []
        self._first = 0
        self._bytes = 0

    @property
    def floor(self) -> int:
        """Newest sequence that was given up; who has less than that has a gap."""
        return self._floor

    @property
    def size_bytes(self) -> int:
        """What the kept entries take."""
        return self._bytes

    def append(self, seq: int, data: bytes) -> None:
        """Add the next entry; one that is there already is not added again."""
        if self._seqs and seq <= self._seqs[-1]:
            return
        self._seqs.append(seq)
        self._data.append(data)
        self._bytes += len(data)
        while self._bytes > self._max_bytes and len(self._seqs) - self._first > 1:
            self._drop()
        if self._first > 1_024 and self._first * SPARE > len(self._seqs):
            del self._seqs[: self._first], self._data[: self._first]
            self._first = 0

    def _drop(self) -> None:
        self._floor = self._seqs[self._first]
        self._bytes -= len(self._data[self._first])
        self._data[self._first] = b""
        self._first += 1

    def after(self, seq: int, limit: int) -> list[tuple[int, bytes]] | None:
        """Return up to `limit` entries behind a sequence, oldest first; None if some of them were given up."""
        if seq < self._floor:
            return None
        start = max(self._first, bisect_right(self._seqs, seq))
        stop = min(len(self._seqs), start + limit)
        return list(zip(self._seqs[start:stop], self._data[start:stop], strict=True))
