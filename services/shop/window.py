"""A sliding window over finished requests. Pure: the clock's reading is an argument, in seconds of any steady clock."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

DEFAULT_SPAN_S = 5.0
"""The window users are judged over (the inventory's objective)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One finished request."""

    at_s: float
    duration_ms: float
    error: str | None
    """What went wrong, in one word (`500`, `timeout`); None if it was good."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a window says."""

    span_s: float
    count: int
    errors: int
    p95_ms: float | None
    """95th percentile of the durations; None if nothing finished in the window."""
    rate: float
    """Finished requests per second."""
    by_error: dict[str, int]

    @property
    def success_ratio(self) -> float | None:
        """Share of good answers, 0..1; None if nothing finished in the window."""
        return None if self.count == 0 else (self.count - self.errors) / self.count


class Window:
    """Keeps the samples of the last `keep_s` seconds, at most `limit` of them (the newest)."""

    def __init__(self, keep_s: float = 60.0, limit: int = 20_000) -> None:
        self._keep_s = keep_s
        self._samples: deque[Sample] = deque(maxlen=limit)

    def add(self, sample: Sample) -> None:
        """Take a sample; samples come in the order of their time."""
        self._samples.append(sample)
        while self._samples and self._samples[0].at_s < sample.at_s - self._keep_s:
            self._samples.popleft()

    def summary(self, now_s: float, span_s: float = DEFAULT_SPAN_S) -> Summary:
        """Return what finished in `(now_s - span_s, now_s]`; `span_s` is cut to what is kept."""
        span_s = min(span_s, self._keep_s)
        inside = [sample for sample in self._samples if now_s - span_s < sample.at_s <= now_s]
        bad = Counter(sample.error for sample in inside if sample.error is not None)
        return Summary(
            span_s=span_s,
            count=len(inside),
            errors=bad.total(),
            p95_ms=percentile([sample.duration_ms for sample in inside], 0.95),
            rate=len(inside) / span_s,
            by_error=dict(bad),
        )


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least `share` (0..1) of the values do not exceed (nearest rank), or None."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
