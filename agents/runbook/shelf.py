"""The shelf: what is searched, and what keeps it up to date. Used by the agent and by `triage runbook search` alike.

Runbooks lie in memory always and in the database as long as that answers; past incidents and vectors lie in the
database only. A search asks the database within SEARCH_S, else the memory: there is always an answer, and it says what
it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

from agents.runbook.database import AuditRecord
from agents.runbook.embeddings import Embedder
from agents.runbook.errors import EmbeddingError, StoreError, StoreRefusedError
from agents.runbook.library import BUILT_IN, Library, Refused, load
from agents.runbook.memory import MemoryStore
from agents.runbook.metrics import RunbookMetrics, Used
from agents.runbook.passages import Document, Ref, of_incident, of_runbook
from agents.runbook.portions import Portions
from agents.runbook.ranking import Fused, fuse, words_of
from agents.runbook.store import Store
from broker.contracts.excerpt import MAX_EXCERPT, Excerpt, Ranking
from broker.contracts.inventory import Inventory
from broker.contracts.symptoms import Vector

EMBED_S: Final = 2.5
"""For the vector of a question, seconds."""
SEARCH_S: Final = 3.0
"""For the database's part of a search, seconds."""
INDEX_S: Final = 30.0
"""For one pass over database and audit, seconds."""
PROBE: Final = "orders cannot be reached"
"""A text that every model for vectors takes: where it is refused too, the text before it was not to blame."""
LOOK_S: Final = 5.0
"""How often files, past incidents and passages without vectors are looked for, seconds."""


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a question."""

    excerpts: tuple[Excerpt, ...]
    ranked_by: str
    """How, in words: `full text`, `full text and vectors (model/dimension), symptoms`."""
    missing: str = ""
    """What was not there to rank by, and why; empty if nothing is missing."""


class Shelf:
    """Everything that is searched. Owns its stores; close it. `search` and `refresh` take turns at the database's one
    connection: a search waits for one turn of the indexer, which is a few statements, but at the first look, or when
    many files have changed, the storing of all of them. Where that takes longer than SEARCH_S the memory answers."""

    def __init__(
        self,
        inventory: Inventory,
        *,
        users: Path | None = None,
        built_in: Path = BUILT_IN,
        database: Store | None = None,
        audit: AuditRecord | None = None,
        embedder: Embedder | None = None,
        metrics: RunbookMetrics | None = None,
        log: FilteringBoundLogger | None = None,
    ) -> None:
        """
        Args:
            users: the users' folder.
            database: for runbooks, past incidents and vectors; None: memory only.
            audit: where past incidents are read; None: none are learnt.
        """
        self._inventory = inventory
        self._folders = (users, built_in)
        self._memory = MemoryStore()
        self._database = database
        self._audit = audit
        self._embedder = embedder
        self._metrics = metrics or RunbookMetrics()
        self._log = log or structlog.get_logger()
        self._turn = asyncio.Lock()
        self._refused: tuple[Refused, ...] = ()
        self._filled = False
        self._embedded_by = ""
        self._portions = Portions()
        self._trouble = ""
        self._told = ""

    async def close(self) -> None:
        """Let go of connections."""
        for owned in (self._database, self._audit, self._embedder):
            if owned is not None:
                try:
                    await owned.close()
                except StoreError as error:
                    self._log.warning("not_closed", error=str(error))

    # -- search

    async def search(self, query: str, symptoms: Vector, k: int) -> Found:
        """Return at most `k` passages, best first. Never raises for want of database or endpoint."""
        words = words_of(query)
        if self._database is not None:
            seen = await self._seen(query)
            try:
                async with asyncio.timeout(SEARCH_S), self._turn:
                    return await self._in_database(self._database, words, seen, symptoms, k)
            except (StoreError, TimeoutError) as error:
                self._trouble = str(error) or f"the runbooks' database does not answer within {SEARCH_S:g} s"
                self._log.warning("searched_in_memory", error=self._trouble)
        if not self._filled:
            await self._fill()
        excerpts = await self._ranked(self._memory, {"text": await self._memory.by_words(words)}, k)
        self._count("memory")
        why = self._trouble if self._database is not None else "no database is named"
        return Found(excerpts, "full text in memory", f"no vectors and no past incidents: {why}")

    async def _seen(self, query: str) -> tuple[str, list[float]] | str:
        """Return the embedder and what it makes of a question, or why it makes nothing of it."""
        try:
            async with asyncio.timeout(EMBED_S):
                embedder, vectors = await self._embed([query])
            return embedder, vectors[0]
        except TimeoutError:
            return f"the endpoint gives none within {EMBED_S:g} s"
        except EmbeddingError as error:
            return str(error)

    async def _in_database(
        self, store: Store, words: Sequence[str], seen: tuple[str, list[float]] | str, symptoms: Vector, k: int
    ) -> Found:
        rankings: dict[Ranking, list[Ref]] = {"text": await store.by_words(words)}
        how, missing = "full text", ""
        if isinstance(seen, str):
            missing = f"no vectors: {seen}"
        else:
            try:
                near = await store.by_vector(*seen)
                if near:
                    rankings["vector"], how = near, f"full text and vectors ({seen[0]})"
                else:  # a model that has just come in another's place
                    missing = f"no vectors: nothing is stored of {seen[0]} yet"
            except StoreRefusedError as error:  # a stranger's numbers take away their own ranking only
                missing = f"no vectors: {error}"
        if symptoms:
            rankings["symptoms"] = await store.by_symptoms(symptoms)
            how += ", symptoms"
        excerpts = await self._ranked(store, rankings, k)
        self._trouble = ""
        self._count("text_vector" if "vector" in rankings else "text")
        return Found(excerpts, how, missing)

    async def _ranked(self, store: Store, rankings: Mapping[Ranking, Sequence[Ref]], k: int) -> tuple[Excerpt, ...]:
        fused = fuse(rankings, k)
        held = await store.documents({item.ref.document for item in fused})
        return tuple(
            _excerpt(held[item.ref.document], item)
            for item in fused
            if item.ref.document in held and item.ref.n < len(held[item.ref.document].passages)
        )

    def _count(self, used: Used) -> None:
        self._metrics.searches.labels(used).inc()

    # -- keeping it up to date

    async def keep(self) -> None:
        """Look for changes until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.refresh()

    async def refresh(self) -> None:
        """Take over what changed since the last look: files, past incidents, passages without vectors."""
        documents = await self._fill()
        count = {"runbook": len(documents), "incident": 0}
        if self._database is not None:
            try:
                async with asyncio.timeout(INDEX_S):
                    await self._index(self._database, documents)
                    async with self._turn:
                        count["incident"] = len(await self._database.known("incident"))
                self._tell("")
            except (StoreError, TimeoutError) as error:
                self._tell(str(error) or f"the runbooks' database does not answer within {INDEX_S:g} s")
        for kind, number in count.items():
            self._metrics.documents.labels(kind).set(number)

    async def _fill(self) -> list[Document]:
        """Read the folders; the memory holds what is there. Returns it."""
        library = await asyncio.to_thread(load, *self._folders)
        self._name_refused(library)
        documents = [of_runbook(runbook) for runbook in library.runbooks]
        await _align(self._memory, documents)
        self._filled = True
        return documents

    def _name_refused(self, library: Library) -> None:
        for item in library.refused:
            if item not in self._refused:
                self._metrics.refusals.inc()
                self._log.warning("runbook_refused", file=item.name, reason=item.reason)
        self._refused = library.refused
        self._metrics.refused.set(len(library.refused))

    def _tell(self, trouble: str) -> None:
        """Log what keeps the database from being used, once."""
        if trouble and trouble != self._told:
            self._log.warning("runbooks_not_stored", error=trouble)
        elif self._told and not trouble:
            self._log.info("runbooks_stored_again")
        self._trouble = self._told = trouble

    async def _index(self, store: Store, documents: Sequence[Document]) -> None:
        async with self._turn:
            await _align(store, documents)
        if self._audit is not None:
            async with self._turn:
                newest = await store.newest_incident()
            for repaired in await self._audit.repaired_since(newest, self._inventory):
                async with self._turn:
                    if await store.put(of_incident(repaired)):
                        self._log.info("incident_learnt", incident=repaired.incident, fault_class=repaired.fault_class)
        await self._embed_unseen(store)

    async def _embed_unseen(self, store: Store) -> None:
        """Embed what has no vector of the embedder that answered last, some at a time; if there is nothing, ask nobody.

        Another model in its place shows with the next search, and everything is embedded anew. An endpoint that is away
        is no fault; one that fails is asked for less at once (`portions.py`).
        """
        if self._embedder is None or self._embedder.rests or not await self._examined():
            return
        while True:
            async with self._turn:
                unseen = await store.unseen(self._embedded_by, self._portions.limit)
            texts = self._portions.next(unseen)
            if not texts:
                return
            try:
                embedder, vectors = await self._embed(list(texts.values()))
            except EmbeddingError:
                self._portions.failed(list(texts.values()))
                return
            except asyncio.CancelledError:  # the whole pass took longer than INDEX_S
                self._portions.failed(list(texts.values()))
                raise
            self._portions.answered()
            async with self._turn:
                await store.keep_vectors(embedder, dict(zip(texts, vectors, strict=True)))

    async def _examined(self) -> bool:
        """Find out whose fault the failure of a text alone was; tell whether the endpoint answers now."""
        suspect, self._portions.suspect = self._portions.suspect, None
        if suspect is None:
            return True
        try:
            await self._embed([PROBE])
        except EmbeddingError:
            return False
        try:
            await self._embed([suspect])
        except EmbeddingError as error:
            self._portions.leave_out(suspect)
            self._log.warning("passage_without_vector", text=suspect[:80], error=str(error))
            return False
        return True

    async def _embed(self, texts: Sequence[str]) -> tuple[str, list[list[float]]]:
        if self._embedder is None:
            raise EmbeddingError("no endpoint is named")
        try:
            found = await self._embedder.embed(texts)
        except EmbeddingError:
            self._metrics.embeddings.labels("failed").inc()
            raise
        self._metrics.embeddings.labels("answered").inc()
        if found[0] != self._embedded_by:
            self._embedded_by, self._portions = found[0], Portions()
        return found


async def _align(store: Store, documents: Sequence[Document]) -> None:
    """Make the store hold exactly these runbooks; what did not change is not touched."""
    known = await store.known("runbook")
    await store.drop(known.keys() - {document.id for document in documents})
    for document in documents:
        if known.get(document.id) != document.digest:
            await store.put(document)


def _excerpt(document: Document, item: Fused) -> Excerpt:
    passage = document.passages[item.ref.n]
    return Excerpt(
        kind=document.kind,
        source=document.source[:80],
        title=document.title[:120],
        section=passage.section[:120],
        fault_class=document.fault_class[:40],
        text=passage.text[:MAX_EXCERPT],
        score=round(item.score, 6),
        ranks=dict(item.ranks),
    )
