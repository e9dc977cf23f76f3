"""Vectors from an endpoint with troubles of its own: too slow for many, unable to take one, away in the middle."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from agents.runbook import shelf as shelves
from agents.runbook.embeddings import MAX_BATCH, REST_S, Embedder
from agents.runbook.memory import MemoryStore
from agents.runbook.passages import Ref
from agents.runbook.portions import Portions
from agents.runbook.shelf import Shelf
from tests.support.embeddings import Endpoint, serving
from tests.support.runbooks import runbook_file
from tests.support.world import shop_inventory

EMBEDDER = "nomic-embed-text/8"
BAD = "incomprehensible"


@dataclass
class Indexing:
    """A shelf over memory, its endpoint, and a clock that is moved by hand."""

    endpoint: Endpoint
    store: MemoryStore
    shelf: Shelf
    folder: Path
    """Where users put runbooks of their own."""
    now: float = 100.0

    async def after_rests(self, count: int) -> None:
        """Look for what to index so many times, each after the endpoint's rest is over."""
        for _ in range(count):
            self.now += REST_S + 1
            await self.shelf.refresh()

    async def without_vector(self) -> list[str]:
        return list((await self.store.unseen(EMBEDDER, 999)).values())


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint()) as running:
        yield running


@pytest_asyncio.fixture
async def indexing(endpoint: Endpoint, tmp_path: Path) -> AsyncIterator[Indexing]:
    store = MemoryStore()
    made: Indexing
    embedder = Embedder(endpoint.url, clock=lambda: made.now)
    shelf = Shelf(shop_inventory(), users=tmp_path, database=store, embedder=embedder)
    made = Indexing(endpoint, store, shelf, tmp_path)
    yield made
    await made.shelf.close()


@pytest.mark.asyncio
async def test_an_endpoint_that_cannot_take_many_at_once_gets_fewer_until_it_can(indexing: Indexing) -> None:
    indexing.endpoint.most = 3
    await indexing.after_rests(99)
    assert await indexing.without_vector() == []
    assert max(len(body["input"]) for body in indexing.endpoint.asked) <= 3


@pytest.mark.asyncio
async def test_one_text_that_it_cannot_take_keeps_no_other_from_its_vector(indexing: Indexing) -> None:
    (indexing.folder / "mine.md").write_bytes(runbook_file(body=f"## Words\nThis is {BAD}.\n## More\nThat is not.\n"))
    indexing.endpoint.indigestible = BAD
    with capture_logs() as logs:
        await indexing.after_rests(30)
    [left] = await indexing.without_vector()
    assert BAD in left
    assert [item["event"] for item in logs].count("passage_without_vector") == 1
    asked = len(indexing.endpoint.keys)
    await indexing.after_rests(3)
    assert len(indexing.endpoint.keys) == asked, "it is not asked for it again and again"


@pytest.mark.asyncio
async def test_an_endpoint_that_goes_away_in_the_middle_blames_no_text_and_is_gone_on_with(indexing: Indexing) -> None:
    indexing.endpoint.answers = 1
    await indexing.shelf.refresh()
    seen = len(await indexing.without_vector())
    assert seen > 0
    found = await indexing.shelf.search("gaierror", {}, 4)
    assert (found.ranked_by, found.excerpts[0].source) == ("full text", "config-drift")
    assert found.missing == "no vectors: the endpoint answers HTTP 501 to a question for vectors"
    await indexing.after_rests(12)
    assert len(await indexing.without_vector()) == seen
    indexing.endpoint.answers = None
    await indexing.after_rests(6)
    assert await indexing.without_vector() == []
    assert (await indexing.shelf.search("gaierror", {}, 4)).ranked_by == f"full text and vectors ({EMBEDDER})"


@pytest.mark.asyncio
async def test_a_pass_that_was_cut_off_asks_for_less_the_next_time(
    indexing: Indexing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelves, "INDEX_S", 1.0)
    indexing.endpoint.hangs_above = 5
    for _ in range(40):
        if not await indexing.without_vector() and indexing.endpoint.asked:
            break
        await indexing.after_rests(1)
    assert await indexing.without_vector() == []


@pytest.mark.asyncio
async def test_an_endpoint_that_rests_is_not_counted_as_failing_again(indexing: Indexing) -> None:
    indexing.endpoint.status = 500
    await indexing.shelf.refresh()
    asked = len(indexing.endpoint.keys)
    for _ in range(5):
        await indexing.shelf.refresh()
    assert len(indexing.endpoint.keys) == asked
    indexing.endpoint.status = 200
    await indexing.after_rests(1)
    assert await indexing.without_vector() == []


@pytest.mark.asyncio
async def test_what_one_model_could_not_take_another_is_asked_for(indexing: Indexing) -> None:
    await indexing.after_rests(1)
    portions = indexing.shelf._portions
    portions.leave_out("something")
    indexing.endpoint.dimension = 16
    await indexing.shelf.search("gaierror", {}, 4)
    assert indexing.shelf._portions is not portions


def test_portions_shrink_to_one_and_grow_again() -> None:
    unseen = {Ref("runbook/x", n): f"text {n}" for n in range(40)}
    portions = Portions()
    sizes = []
    for _ in range(6):
        taken = portions.next(unseen)
        sizes.append(len(taken))
        portions.failed(list(taken.values()))
    assert sizes == [16, 8, 4, 2, 1, 1]
    assert portions.suspect == "text 0"
    for _ in range(6):
        portions.answered()
    assert len(portions.next(unseen)) == MAX_BATCH == portions.limit


def test_what_is_left_out_makes_room_for_the_next() -> None:
    unseen = {Ref("runbook/x", n): f"text {n}" for n in range(40)}
    portions = Portions()
    portions.leave_out("text 0")
    assert portions.limit == MAX_BATCH + 1
    assert next(iter(portions.next(unseen).values())) == "text 1"
