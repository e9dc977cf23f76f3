"""What a store of runbooks must do, whichever it is: in memory, or PostgreSQL with pgvector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
import pytest_asyncio

from agents.runbook.database import DatabaseStore, prepare, with_database
from agents.runbook.embeddings import MAX_DIMENSION, MAX_VALUE, MIN_LENGTH, TINY
from agents.runbook.library import load
from agents.runbook.memory import MemoryStore
from agents.runbook.passages import Ref, of_runbook
from agents.runbook.ranking import words_of
from agents.runbook.store import Store
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.runbooks import document, incident

PASSWORD = "runbooks-password"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running_postgres() as running:
        yield running


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.integration)])
def dsn(request: pytest.FixtureRequest) -> str | None:
    """The runbooks' database as its own role sees it; None for the memory."""
    if request.param == "memory":
        return None
    server: PostgresServer = request.getfixturevalue("server")
    asyncio.run(prepare(server.dsn(), "runbooks", PASSWORD))
    return with_database(server.dsn(user="runbooks", password=PASSWORD), "runbooks")


@pytest_asyncio.fixture
async def store(dsn: str | None) -> AsyncIterator[Store]:
    if dsn is None:
        yield MemoryStore()
        return
    opened = DatabaseStore(dsn)
    await opened.drop([*await opened.known("runbook"), *await opened.known("incident")])
    yield opened
    await opened.close()


async def found(store: Store, question: str) -> list[str]:
    """Return the documents that a question's words find, best first, each once."""
    return list(dict.fromkeys(ref.document for ref in await store.by_words(words_of(question))))


@pytest.mark.asyncio
class TestDocuments:
    async def test_what_was_put_comes_back_as_it_was(self, store: Store) -> None:
        mine, past = document("mine", body="## One\nfirst\n\n## Two\nsecond\n"), incident(service__error__gaierror=1.0)
        assert await store.put(mine)
        assert await store.put(past)
        assert await store.documents([mine.id, past.id, "runbook/none"]) == {mine.id: mine, past.id: past}
        assert await store.known("runbook") == {mine.id: mine.digest}
        assert await store.known("incident") == {past.id: past.digest}

    async def test_the_same_again_changes_nothing_and_another_takes_its_place(self, store: Store) -> None:
        await store.put(document(body="## One\nold words\n\n## Two\nmore of them\n"))
        assert not await store.put(document(body="## One\nold words\n\n## Two\nmore of them\n"))
        assert await store.put(document(body="## One\nfresh syllables\n"))
        assert await found(store, "old") == []
        assert await found(store, "fresh") == ["runbook/mine"]

    async def test_what_was_dropped_is_found_no_more(self, store: Store) -> None:
        await store.put(document("mine", body="## One\nzebra\n"))
        await store.put(document("other", body="## One\nzebra\n"))
        await store.drop(["runbook/mine", "runbook/never-there"])
        assert await found(store, "zebra") == ["runbook/other"]

    async def test_the_newest_incident_is_the_one_that_ended_last(self, store: Store) -> None:
        assert await store.newest_incident() == 0
        for name, seq in (("inc-1", 30), ("inc-2", 70), ("inc-3", 50)):
            await store.put(incident(name, seq=seq))
        assert await store.newest_incident() == 70


@pytest.mark.asyncio
class TestWords:
    async def test_a_rare_word_outweighs_a_common_one(self, store: Store) -> None:
        for name in ("one", "two", "three", "four"):
            await store.put(document(name, body="## Text\nthe database is slow, slow, slow\n"))
        await store.put(document("five", body="## Text\nthe database gave a quagmire\n"))
        assert (await found(store, "database quagmire"))[0] == "runbook/five"

    async def test_nothing_in_common_finds_nothing(self, store: Store) -> None:
        await store.put(document())
        assert await found(store, "xylophone") == []
        assert await found(store, "") == []
        assert await found(store, "the is and of") == []

    async def test_many_past_incidents_do_not_push_every_runbook_out(self, store: Store) -> None:
        await store.put(document(body="## Text\none word about marmalade among many others that matter less here\n"))
        for number in range(30):
            await store.put(incident(f"inc-{number}", text="marmalade marmalade"))
        refs = await store.by_words(["marmalade"], limit=5)
        assert len([ref for ref in refs if ref.kind == "incident"]) == 5
        assert [ref.document for ref in refs if ref.kind == "runbook"] == ["runbook/mine"]
        vectors = {Ref(f"incident/inc-{number}", 0): [1.0, 0.0] for number in range(30)}
        await store.keep_vectors("small/2", vectors | {Ref("runbook/mine", 1): [0.0, 1.0]})
        refs = await store.by_vector("small/2", [1.0, 0.0], limit=5)
        assert [ref.kind for ref in refs] == ["incident"] * 5 + ["runbook"]

    @pytest.mark.parametrize(
        ("question", "expected"),
        [
            ("Die Datenbank ist nicht erreichbar, Verbindung verweigert", "process-down"),
            ("die Seite ist heute sehr langsam", "network-latency"),
            ("Der Dienst hängt und reagiert nicht mehr", "process-hung"),
            ("Festplatte voll?", "disk-full"),
            ("ab und zu bricht eine Verbindung ab", "network-loss"),
            ("wrong password, database refuses the login", "bad-credentials"),
            ("orders fails with gaierror, name or service not known", "config-drift"),
            ("JSONDecodeError: Expecting value: line 1 column 1", "cache-poison"),
            ("container was OOMKilled", "resource-limit"),
            ("a busy loop burns the processor", "cpu-saturation"),
            ("packets vanish between two services", "network-partition"),
        ],
    )
    async def test_our_runbooks_are_found_in_both_languages(self, store: Store, question: str, expected: str) -> None:
        for runbook in load().runbooks:
            await store.put(of_runbook(runbook))
        assert (await found(store, question))[0] == f"runbook/{expected}"

    @pytest.mark.parametrize(
        "question",
        [
            "'; DROP TABLE documents; --",
            "a & b | !c <-> d :* '",
            "\\ \\' \\\\ E'\\x41'",
            "((((",
            "x" * 4_000,
            "ß İ ﬁ ⅷ ك 数据库 🔥",
            "http://host/path?x=1&y='2'",
            "%s {0} $1",
        ],
    )
    async def test_no_question_is_taken_for_anything_but_words(self, store: Store, question: str) -> None:
        await store.put(document())
        await store.by_words(words_of(question))
        assert await store.known("runbook")


@pytest.mark.asyncio
class TestVectors:
    async def test_the_nearest_comes_first_and_only_of_the_same_embedder(self, store: Store) -> None:
        for name in ("one", "two", "three"):
            await store.put(replace(document(name), passages=document(name).passages[:1]))
        refs = [Ref(f"runbook/{name}", 0) for name in ("one", "two", "three")]
        await store.keep_vectors("small/2", {refs[0]: [1.0, 0.0], refs[1]: [0.6, 0.8]})
        await store.keep_vectors("large/3", {refs[2]: [1.0, 0.0, 0.0]})
        assert await store.by_vector("small/2", [1.0, 0.1]) == refs[:2]
        assert await store.by_vector("small/2", [0.0, 1.0]) == [refs[1], refs[0]]
        assert await store.by_vector("large/3", [0.0, 1.0, 0.0]) == [refs[2]]
        assert await store.by_vector("other/2", [1.0, 0.0]) == []

    async def test_numbers_as_large_and_as_small_as_an_embedder_may_send_are_ranked(self, store: Store) -> None:
        for name in ("large", "small"):
            await store.put(replace(document(name), passages=document(name).passages[:1]))
        large, small = Ref("runbook/large", 0), Ref("runbook/small", 0)
        rest = MAX_DIMENSION - 1
        vectors = {large: [MAX_VALUE] * MAX_DIMENSION, small: [MIN_LENGTH, *([-TINY] * rest)]}
        await store.keep_vectors("odd/4096", vectors)
        assert await store.by_vector("odd/4096", [MIN_LENGTH] * MAX_DIMENSION) == [large, small]
        assert await store.by_vector("odd/4096", [MAX_VALUE, *([TINY] * rest)]) == [small, large]

    async def test_another_embedder_has_everything_to_do_again(self, store: Store) -> None:
        await store.put(document(title="Of trains", body="## Late\nThe train is late.\n"))
        unseen = await store.unseen("small/2", 10)
        assert await store.unseen("", 10) == unseen, "to begin with nobody has seen anything"
        assert set(unseen) == {Ref("runbook/mine", 0), Ref("runbook/mine", 1)}
        assert unseen[Ref("runbook/mine", 1)] == "Of trains. Late\nThe train is late."
        await store.keep_vectors("small/2", {ref: [1.0, 0.0] for ref in unseen})
        assert await store.unseen("small/2", 10) == {}
        assert len(await store.unseen("large/3", 1)) == 1
        await store.keep_vectors("large/3", {ref: [0.0, 0.0, 1.0] for ref in unseen})
        assert await store.by_vector("small/2", [1.0, 0.0]) == []

    async def test_a_document_that_changed_loses_its_vectors(self, store: Store) -> None:
        await store.put(document(body="## One\nold\n"))
        await store.keep_vectors("small/2", {Ref("runbook/mine", 0): [1.0, 0.0], Ref("runbook/mine", 9): [1.0, 0.0]})
        await store.put(document(body="## One\nnew\n"))
        assert await store.by_vector("small/2", [1.0, 0.0]) == []


@pytest.mark.asyncio
class TestSymptoms:
    async def test_what_looked_alike_comes_first_and_what_did_not_is_left_out(self, store: Store) -> None:
        await store.put(document())
        await store.put(incident("inc-1", service__error__gaierror=0.8, database__silent=0.6))
        await store.put(incident("inc-2", service__error__gaierror=1.0))
        await store.put(incident("inc-3", cache__silent=1.0))
        refs = await store.by_symptoms({"service:error:gaierror": 1.0})
        assert refs == [Ref("incident/inc-2", 0), Ref("incident/inc-1", 0)]
        assert await store.by_symptoms({}) == []

    async def test_words_of_a_past_incident_are_searched_as_well(self, store: Store) -> None:
        await store.put(incident("inc-1", text="the marmalade was off"))
        assert await found(store, "marmalade") == ["incident/inc-1"]

    async def test_only_so_many_incidents_are_kept_and_the_oldest_go(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("agents.runbook.memory.MAX_INCIDENTS", 2)
        monkeypatch.setattr("agents.runbook.database.MAX_INCIDENTS", 2)
        for number in (1, 2, 3):
            await store.put(incident(f"inc-{number}", seq=number, text=f"word{number}"))
        assert set(await store.known("incident")) == {"incident/inc-2", "incident/inc-3"}
        assert await found(store, "word1") == []
