"""What code had to mend in a model's answer, and how it mends names. A repair of form leaves what is meant alone; one
of meaning chooses between readings, and makes a person look at whatever acts (docs/adr/0012)."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TypeVar

NameT = TypeVar("NameT", bound=str)

MAX_REPAIRS = 24
MAX_NAME = 100
DEFAULT_CONFIDENCE = 0.5
FAR = 4
"""A name of fewer characters than twice this must fit but for one; a longer one but for two."""


class Repairs:
    """Repairs in the order in which they were made."""

    def __init__(self) -> None:
        self._made: list[str] = []
        self.touched_meaning = False

    @property
    def made(self) -> tuple[str, ...]:
        """Return a sentence for each repair; of very many, the first ones and their number."""
        more = len(self._made) - MAX_REPAIRS
        return (*self._made[:MAX_REPAIRS], *((f"and {more} more repairs",) if more > 0 else ()))

    def form(self, sentence: str) -> None:
        """Note a repair of how the answer is written."""
        self._made.append(sentence)

    def meaning(self, sentence: str) -> None:
        """Note a repair of what the answer means."""
        self._made.append(sentence)
        self.touched_meaning = True

    def unasked(self, value: dict[str, object], known: Collection[str]) -> None:
        """Note how many fields nobody asked for; they are not looked at."""
        extra = set(value) - set(known)
        if extra:
            self.form(f"{len(extra)} unasked field(s) dropped")

    def confidence(self, value: object) -> float:
        """Return a confidence of 0..1 as given, or the one in the middle."""
        if isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value <= 1.0:
            return float(value)
        self.form(f"confidence missing or not in 0..1, taken as {DEFAULT_CONFIDENCE}")
        return DEFAULT_CONFIDENCE


def same_name(value: str, allowed: Sequence[NameT]) -> NameT | None:
    """Return the name that is the same but for case, blanks, dashes and underscores, or None."""
    return {_plain(name): name for name in reversed(allowed)}.get(_plain(value[:MAX_NAME]))


def nearest(value: object, allowed: Sequence[NameT], field: str, repairs: Repairs) -> NameT | None:
    """Return the name of a closed list that is meant, or None: the same, the same otherwise spelled, or the only one so
    near that it is a slip."""
    if not isinstance(value, str) or not value.strip():
        return None
    for name in allowed:
        if name == value:
            return name
    if (same := same_name(value, allowed)) is not None:
        repairs.form(f"spelling of {field} mended to {same}")
        return same
    given = _plain(value[:MAX_NAME])
    far = sorted((distance(given, _plain(name)), name) for name in allowed)
    best, chosen = far[0] if far else (MAX_NAME, None)
    slip = 1 if len(given) < 2 * FAR else 2
    if chosen is None or len(given) < FAR or best > slip or (len(far) > 1 and far[1][0] < best + 2):
        return None
    repairs.meaning(f"{field} taken for {chosen}, the only name near what was written")
    return chosen


def distance(one: str, other: str) -> int:
    """Return how many letters must be put in, left out, changed or exchanged with their neighbour."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        older, before, row = before, row, [i]
        for j, b in enumerate(other, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()
