"""What a store of passages offers: the database, and the memory that stands in for it. One contract suite holds for
both (`tests/contract/test_runbook_store.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from agents.runbook.passages import Document, Kind, Ref
from broker.contracts.symptoms import Vector

RANKED: Final = 20
"""How many passages of each kind a ranking gives: hundreds of past incidents never push every runbook out."""
ALIKE: Final = 0.3
"""From this cosine on a past incident counts as alike."""
MAX_INCIDENTS: Final = 2_000
"""So many past incidents are kept; the oldest go."""


class Store(Protocol):
    """Documents and three ways to rank their passages. Every method does all it says or nothing.

    All raise StoreDownError if the store cannot be asked, StoreRefusedError if it refuses.
    """

    async def known(self, kind: Kind) -> dict[str, str]:
        """Return id and digest of every document of a kind."""
        ...

    async def put(self, document: Document) -> bool:
        """Store a document in place of one with its id; False if it is there already, with that digest."""
        ...

    async def drop(self, ids: Iterable[str]) -> None:
        """Forget documents; unknown ids change nothing."""
        ...

    async def documents(self, ids: Iterable[str]) -> dict[str, Document]:
        """Return the documents of these ids that are there."""
        ...

    async def newest_incident(self) -> int:
        """Return the highest journal sequence of all past incidents; 0 if there is none."""
        ...

    async def by_words(self, words: Sequence[str], limit: int = RANKED) -> list[Ref]:
        """Return passages that hold any of the words (`ranking.words_of`), best first; at most `limit` of each kind."""
        ...

    async def by_vector(self, embedder: str, vector: Sequence[float], limit: int = RANKED) -> list[Ref]:
        """Return the passages nearest in meaning that the same embedder has seen; at most `limit` of each kind."""
        ...

    async def by_symptoms(self, symptoms: Vector, limit: int = RANKED) -> list[Ref]:
        """Return past incidents that looked alike, most alike first."""
        ...

    async def unseen(self, embedder: str, limit: int) -> dict[Ref, str]:
        """Return passages without a vector of this embedder, with the text to embed."""
        ...

    async def keep_vectors(self, embedder: str, vectors: Mapping[Ref, Sequence[float]]) -> None:
        """Store vectors in place of another embedder's. Passages that are gone are left out."""
        ...

    async def close(self) -> None:
        """Disconnect; harmless when there is no connection."""
        ...


def text_to_embed(document: Document, n: int) -> str:
    """Return what of a passage is embedded: it means little without its title and heading."""
    passage = document.passages[n]
    return f"{document.title}. {passage.section}\n{passage.text}"
