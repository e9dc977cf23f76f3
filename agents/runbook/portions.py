"""How many texts go to the endpoint for vectors at once, and which go no more. Bookkeeping only; it asks nobody.

A failure does not say what it was for: the machine may be too slow for so many texts at once, the endpoint may be
away, or one of the texts may be more than the model takes. So after a failure fewer go together, down to one; and a
text that fails alone is left out only if it fails again right after the endpoint has taken another one. Else one long
runbook, or a slow machine, would keep every passage from ever having a vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agents.runbook.embeddings import MAX_BATCH
from agents.runbook.passages import Ref


class Portions:
    """What is known of an endpoint's appetite. Not kept over a restart: then everything is tried again."""

    def __init__(self) -> None:
        self._size = MAX_BATCH
        self._left_out: set[str] = set()
        self.suspect: str | None = None
        """The text that failed alone, as long as nobody knows whether it was its own fault."""

    @property
    def limit(self) -> int:
        """How many passages without a vector must be looked at to find the next portion."""
        return self._size + len(self._left_out)

    def next(self, unseen: Mapping[Ref, str]) -> dict[Ref, str]:
        """Return those that go to the endpoint now; empty if there is nothing that it could take."""
        wanted = [(ref, text) for ref, text in unseen.items() if text not in self._left_out]
        return dict(wanted[: self._size])

    def answered(self) -> None:
        """Let more go together again, after a portion that came back."""
        self._size = min(MAX_BATCH, 2 * self._size)

    def failed(self, texts: Sequence[str]) -> None:
        """Let fewer go together, or suspect the one that failed alone."""
        if len(texts) > 1:
            self._size = max(1, len(texts) // 2)
        else:
            self.suspect = texts[0]

    def leave_out(self, text: str) -> None:
        """The endpoint takes others, and not this one: it is asked for no vector any more."""
        self._left_out.add(text)
