"""Vectors from an endpoint: what is taken, and what any answer that is none comes to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from agents.runbook.embeddings import REST_S, Embedder
from agents.runbook.errors import EmbeddingError
from tests.support.embeddings import Endpoint, serving
from tests.support.nats_server import free_port


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint()) as running:
        yield running


@pytest_asyncio.fixture
async def embedder(endpoint: Endpoint) -> AsyncIterator[Embedder]:
    made = Embedder(endpoint.url, timeout_s=2.0)
    yield made
    await made.close()


@pytest.mark.asyncio
async def test_vectors_come_in_the_order_of_the_texts_with_the_embedders_name(
    endpoint: Endpoint, embedder: Embedder
) -> None:
    name, vectors = await embedder.embed(["one two", "three"])
    assert name == "nomic-embed-text/8"
    assert vectors == [endpoint.vector("one two"), endpoint.vector("three")]
    assert endpoint.asked == [{"model": "nomic-embed-text", "input": ["one two", "three"]}]


@pytest.mark.asyncio
async def test_a_model_for_planning_is_not_used_unless_a_person_named_the_endpoint(endpoint: Endpoint) -> None:
    endpoint.models = ("chat-7b",)
    tried, named = Embedder(endpoint.url), Embedder(endpoint.url, chosen=True)
    with pytest.raises(EmbeddingError, match="lists no model for embeddings"):
        await tried.embed(["x"])
    assert (await named.embed(["x"]))[0] == "chat-7b/8"
    await tried.close()
    await named.close()


@pytest.mark.asyncio
async def test_a_key_is_sent_and_never_shown(endpoint: Endpoint) -> None:
    made = Embedder(endpoint.url, key="s3cret", model="m")
    await made.embed(["x"])
    endpoint.status = 401
    with pytest.raises(EmbeddingError) as refused:
        await made.embed(["x"])
    assert endpoint.keys[0] == "Bearer s3cret"
    assert "s3cret" not in str(refused.value)
    await made.close()
    endpoint.status, endpoint.models = 200, ("embed-s3cret",)
    listed = Embedder(endpoint.url, key="s3cret")
    assert (await listed.embed(["x"]))[0] == "embed-***/8"
    assert endpoint.asked[-1]["model"] == "embed-s3cret"
    await listed.close()


def rows(*vectors: object, first: int = 0) -> bytes:
    """Return the answer with these vectors, whatever they are."""
    data = [{"index": first + n, "embedding": vector} for n, vector in enumerate(vectors)]
    return json.dumps({"data": data}).encode()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "something else than vectors"),
        (b"<html>it works</html>", "something else than vectors"),
        (b'{"data": []}', "0 vectors for 2 texts"),
        (rows([1.0]), "1 vectors for 2 texts"),
        (rows([1.0], [1.0], [1.0]), "3 vectors for 2 texts"),
        (rows([1.0], [1.0], first=3), "2 vectors for 2 texts"),
        (rows([1.0, 2.0], [1.0]), "different length"),
        (rows([1.0], ["one"]), "something else than vectors"),
        (rows([], []), "something else than vectors"),
        (rows([1.0], [0.0]), "point nowhere"),
        (b'{"data":[{"index":0,"embedding":[1e999]},{"index":1,"embedding":[1.0]}]}', "numbers|than vectors"),
        (rows([1.0, 0.5], [1e39, 0.5]), "too large or too small"),
        (rows([1.0, 0.5], [-1e20, 0.5]), "too large or too small"),
        (rows([1.0, 0.5], [1e-40, 1e-41]), "too large or too small"),
        (rows([1.0] * 5_000, [1.0] * 5_000), "something else than vectors"),
        (b" " * 9_000_000, "more than 8388608 bytes"),
        (b"[" * 100_000, "something else than vectors"),
    ],
)
async def test_an_answer_that_is_none_is_one_sentence(
    endpoint: Endpoint, embedder: Embedder, raw: bytes, reason: str
) -> None:
    endpoint.raw = raw
    with pytest.raises(EmbeddingError, match=reason):
        await embedder.embed(["one", "two"])


@pytest.mark.asyncio
async def test_a_value_too_small_for_the_database_is_none(endpoint: Endpoint, embedder: Embedder) -> None:
    endpoint.raw = rows([1.0, -1e-50, 1e-300], [-2.5, 0.0, 1e-20])
    assert (await embedder.embed(["one", "two"]))[1] == [[1.0, 0.0, 0.0], [-2.5, 0.0, 1e-20]]


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 501, 503])
async def test_a_status_is_one_sentence_too(endpoint: Endpoint, embedder: Embedder, status: int) -> None:
    endpoint.status = status
    with pytest.raises(EmbeddingError, match=rf"HTTP {status}|cannot be used|does not list"):
        await embedder.embed(["x"])


@pytest.mark.asyncio
async def test_a_dead_endpoint_is_left_alone_for_a_while_and_then_asked_again() -> None:
    clock = Clock()
    with serving(Endpoint()) as endpoint:
        made = Embedder(endpoint.url, clock=clock)
        endpoint.status = 500
        with pytest.raises(EmbeddingError):
            await made.embed(["x"])
        endpoint.status, asked = 200, len(endpoint.keys)
        clock.now += REST_S - 1
        with pytest.raises(EmbeddingError):
            await made.embed(["x"])
        assert len(endpoint.keys) == asked, "it was asked although it rests"
        clock.now += 2
        assert (await made.embed(["x"]))[0] == "nomic-embed-text/8"
        await made.close()


@pytest.mark.asyncio
async def test_nobody_there_and_too_slow_are_told_apart(endpoint: Endpoint) -> None:
    nobody = Embedder(f"http://127.0.0.1:{free_port()}/v1")
    with pytest.raises(EmbeddingError, match="cannot be used \\(ConnectError\\)"):
        await nobody.embed(["x"])
    endpoint.delay_s = 1.0
    slow = Embedder(endpoint.url, timeout_s=0.1)
    with pytest.raises(EmbeddingError, match=r"no vectors within 0\.1 s"):
        await slow.embed(["x"])
    await nobody.close()
    await slow.close()
