"""Which past incidents are like one: the same cause first, then the same words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol, TypeVar

MAX_SIMILAR = 8
_WORD = re.compile(r"[^\W_]{3,}")


class Past(Protocol):
    """What is known of a past incident."""

    @property
    def incident(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def fault_class(self) -> str: ...


PastT = TypeVar("PastT", bound=Past)


def likeness(one: str, other: str) -> float:
    """Return how many of the words of two texts are common, 0..1 (Jaccard)."""
    left, right = (set(_WORD.findall(text.lower())) for text in (one, other))
    return len(left & right) / len(left | right) if left | right else 0.0


def similar(
    incident: str, text: str, target: str, fault_class: str, past: Iterable[PastT]
) -> list[tuple[float, PastT]]:
    """Return past incidents with something in common, the most alike first, each with the likeness of its words.

    Args:
        target, fault_class: what the incident's newest plan believes; empty while there is none.
    """
    found = []
    for item in past:
        words = likeness(text, item.text)
        causes = 2 * (item.target == target) + (item.fault_class == fault_class)
        if item.incident != incident and (causes or words > 0.1):
            found.append((causes, words, item))
    found.sort(key=lambda row: (-row[0], -row[1]))
    return [(words, item) for _, words, item in found[:MAX_SIMILAR]]
