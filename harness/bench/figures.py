"""The figures a benchmark prints: each with its bound, what was measured, and whether it is reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table."""

    what: str
    bound: str
    measured: str
    reached: bool


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table."""
    rows = ["| what | at most / at least | measured | reached |", "|---|---|---|---|"]
    rows += [f"| {f.what} | {f.bound} | {f.measured} | {'yes' if f.reached else '**no**'} |" for f in figures]
    return "\n".join(rows)
