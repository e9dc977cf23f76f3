"""The figures a benchmark prints: each with its bound, what was measured, and whether it is reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table."""

    what: str
    bound: str
    measured: str
    reached: bool


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile, `share` in 0..1: the smallest value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table."""
    rows = ["| what | at most / at least | measured | reached |", "|---|---|---|---|"]
    rows += [f"| {f.what} | {f.bound} | {f.measured} | {'yes' if f.reached else '**no**'} |" for f in figures]
    return "\n".join(rows)
