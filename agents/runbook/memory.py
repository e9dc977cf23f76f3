"""The store without a database: the same rankings over what fits into memory. Nothing outlives the process."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from agents.runbook.passages import Document, Kind, Ref
from agents.runbook.ranking import by_words, terms_of
from agents.runbook.store import ALIKE, MAX_INCIDENTS, RANKED, text_to_embed
from broker.contracts.symptoms import Vector, cosine


class MemoryStore:
    """Documents in a dictionary."""

    def __init__(self) -> None:
        self._documents: dict[str, Document] = {}
        self._terms: dict[Ref, list[str]] = {}
        self._vectors: dict[Ref, tuple[str, tuple[float, ...]]] = {}

    async def known(self, kind: Kind) -> dict[str, str]:
        return {name: item.digest for name, item in self._documents.items() if item.kind == kind}

    async def put(self, document: Document) -> bool:
        before = self._documents.get(document.id)
        if before is not None and before.digest == document.digest:
            return False
        self._forget(document.id)
        self._documents[document.id] = document
        for n, passage in enumerate(document.passages):
            leads = passage.text if n == 0 else ""  # symptoms and errors count most, as in the database
            text = f"{document.title} {passage.section} {passage.text} {leads}"
            self._terms[Ref(document.id, n)] = terms_of(text)
        incidents = sorted(self._incidents(), key=lambda item: item.journal_seq)
        for old in incidents[:-MAX_INCIDENTS]:
            self._forget(old.id)
        return True

    async def drop(self, ids: Iterable[str]) -> None:
        for name in ids:
            self._forget(name)

    async def documents(self, ids: Iterable[str]) -> dict[str, Document]:
        return {name: self._documents[name] for name in ids if name in self._documents}

    async def newest_incident(self) -> int:
        return max((item.journal_seq for item in self._incidents()), default=0)

    async def by_words(self, words: Sequence[str], limit: int = RANKED) -> list[Ref]:
        return _of_each_kind(by_words(words, self._terms), limit)

    async def by_vector(self, embedder: str, vector: Sequence[float], limit: int = RANKED) -> list[Ref]:
        far = {
            ref: _distance(vector, held)
            for ref, (by, held) in self._vectors.items()
            if by == embedder and len(held) == len(vector)
        }
        return _of_each_kind(sorted(far, key=lambda ref: (far[ref], ref)), limit)

    async def by_symptoms(self, symptoms: Vector, limit: int = RANKED) -> list[Ref]:
        alike = {Ref(item.id, 0): cosine(symptoms, item.symptoms) for item in self._incidents()}
        found = [ref for ref, likeness in alike.items() if likeness >= ALIKE]
        return sorted(found, key=lambda ref: (-alike[ref], ref))[:limit]

    async def unseen(self, embedder: str, limit: int) -> dict[Ref, str]:
        seen = {ref for ref, (by, _) in self._vectors.items() if by == embedder}
        refs = [ref for ref in sorted(self._terms) if ref not in seen][:limit]
        return {ref: text_to_embed(self._documents[ref.document], ref.n) for ref in refs}

    async def keep_vectors(self, embedder: str, vectors: Mapping[Ref, Sequence[float]]) -> None:
        for ref, vector in vectors.items():
            if ref in self._terms:
                self._vectors[ref] = (embedder, tuple(vector))

    async def close(self) -> None:
        """Nothing to let go of."""

    def _incidents(self) -> list[Document]:
        return [item for item in self._documents.values() if item.kind == "incident"]

    def _forget(self, name: str) -> None:
        document = self._documents.pop(name, None)
        for n in range(len(document.passages) if document else 0):
            self._terms.pop(Ref(name, n), None)
            self._vectors.pop(Ref(name, n), None)


def _of_each_kind(refs: Iterable[Ref], limit: int) -> list[Ref]:
    taken: Counter[str] = Counter()
    kept = []
    for ref in refs:
        taken[ref.kind] += 1
        if taken[ref.kind] <= limit:
            kept.append(ref)
    return kept


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the cosine distance, 0..2; 1 where a vector has no direction."""
    lengths = math.sqrt(sum(v * v for v in one)) * math.sqrt(sum(v * v for v in other))
    return 1.0 - sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 1.0
