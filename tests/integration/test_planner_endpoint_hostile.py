"""Endpoints that stream unasked, never end, are busy, lie about what they send, or break in the middle."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from agents.runbook.embeddings import Embedder
from agents.runbook.errors import EmbeddingError
from broker.contracts.plan import ChatMessage
from planner_svc.config import ModelSettings
from planner_svc.errors import ModelError, ModelRefusedError, ModelTimeoutError, ModelUnreachableError
from planner_svc.llm_client import open_client
from planner_svc.llm_completion import MAX_TEXT, Completion
from planner_svc.llm_stream import MAX_LINE, MAX_STREAM_TEXT
from tests.support.model_server import ANSWER, Behaviour, ModelServer, Said, always, completion, serving

pytestmark = pytest.mark.integration

TURNS = (ChatMessage(role="user", content="what is broken?"),)
SCHEMA = {"type": "object"}
KEY = "sk-very-secret"
EVENTS = "text/event-stream; charset=utf-8"
Start = Callable[[Behaviour], ModelServer]


@pytest.fixture
def start() -> Iterator[Start]:
    """Give a function that starts endpoints; all are stopped afterwards."""
    with ExitStack() as running:
        yield lambda behave: running.enter_context(serving(behave))


async def ask(server: ModelServer, **fields: Any) -> Completion:
    values: dict[str, Any] = {"name": None, "timeout_s": 5.0, "temperature": 0.0, "seed": 42}
    async with open_client(ModelSettings(url=server.url, **(values | fields))) as client:
        return await client.ask(TURNS, "hypothesis", SCHEMA)


def event(delta: dict[str, Any], **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": more.pop("finish_reason", None)}
    return b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": [choice], **more}).encode() + b"\n\n"


@pytest.mark.asyncio
async def test_stream_that_nobody_asked_for_is_read(start: Start) -> None:
    pieces = [
        b": ping\n\nevent: message\n",
        event({"role": "assistant", "content": ""}, model="m1", system_fingerprint="b1234"),
        *(event({"content": ANSWER[i : i + 7]}) for i in range(0, len(ANSWER), 7)),
        event({}, finish_reason="stop"),
        b'data: {"choices":[],"usage":{"prompt_tokens":700,"completion_tokens":14},"timings":{"prompt_ms":12.5}}\r\n',
        b"data: [DONE]\n\n",
    ]
    got = await ask(start(always(200, pieces, media=EVENTS)))
    assert (got.text, got.model, got.fingerprint, got.finish_reason) == (ANSWER, "m1", "b1234", "stop")
    assert (got.prompt_tokens, got.completion_tokens, got.timings) == (700, 14, {"prompt_ms": 12.5})


@pytest.mark.asyncio
async def test_stream_that_says_it_is_done_is_not_waited_for_any_longer(start: Start) -> None:
    release: list[Any] = []

    def pieces() -> Iterator[bytes]:
        yield event({"content": ANSWER}, finish_reason="stop") + b"data: [DONE]\n\n"
        release[0].wait(20)

    server = start(lambda path, body: always(200, pieces(), media=EVENTS)(path, body))
    release.append(server.release)
    began = time.monotonic()
    assert (await ask(server)).text == ANSWER
    assert time.monotonic() - began < 10.0


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([event({"content": '{"target"'})], "stream ended before the answer did"),
        ([event({"content": '{"tar'}, finish_reason="length")], "cut off"),
        ([b'data: {"error":{"message":"model crashed"}}\n\n'], "model crashed"),
        ([b"data: {not json\n\n"], "events that are no JSON"),
        ([b"data: [DONE]\n\n"], "the answer is empty"),
        ([b"data: 7\n\n", b"data: [DONE]\n"], "the answer is empty"),
        ([], "stream ended before the answer did"),
        ([b"x" * (MAX_LINE + 10_000)], "streams without end"),
    ],
)
async def test_stream_that_holds_no_whole_answer_is_refused(start: Start, pieces: list[bytes], said: str) -> None:
    with pytest.raises(ModelRefusedError, match=said):
        await ask(start(always(200, pieces, media=EVENTS)))


@pytest.mark.asyncio
async def test_stream_without_end_is_left_as_soon_as_it_is_too_long(start: Start) -> None:
    def pieces() -> Iterator[bytes]:
        while True:
            yield event({"content": "all work and no play " * 40})

    server = start(lambda path, body: always(200, pieces(), media=EVENTS)(path, body))
    with pytest.raises(ModelRefusedError, match="streams without end"):
        await ask(server, timeout_s=20.0)
    assert await asyncio.to_thread(server.left.wait, 10), "the server still talks to us"
    assert MAX_STREAM_TEXT > MAX_TEXT


@pytest.mark.asyncio
async def test_stream_that_drips_for_ever_is_left_when_its_time_is_over(start: Start) -> None:
    release: list[Any] = []

    def pieces() -> Iterator[bytes]:
        while not release[0].wait(0.05):
            yield event({"content": "."})

    server = start(lambda path, body: always(200, pieces(), media=EVENTS)(path, body))
    release.append(server.release)
    began = time.monotonic()
    with pytest.raises(ModelTimeoutError, match=r"within 0\.6 s"):
        await ask(server, timeout_s=0.6)
    assert time.monotonic() - began < 10.0


@pytest.mark.asyncio
async def test_body_without_end_is_left_too(start: Start) -> None:
    def pieces() -> Iterator[bytes]:
        while True:
            yield b" " * 65_536

    server = start(lambda path, body: always(200, pieces(), media="application/json")(path, body))
    with pytest.raises(ModelRefusedError, match="longer than"):
        await ask(server, timeout_s=20.0)
    assert await asyncio.to_thread(server.left.wait, 10)


@pytest.mark.asyncio
async def test_answer_of_ten_megabytes_is_refused(start: Start) -> None:
    with pytest.raises(ModelRefusedError, match="longer than"):
        await ask(start(always(200, completion("x" * 10_000_000))))


@pytest.mark.asyncio
@pytest.mark.parametrize("media", ["text/html; charset=utf-8", "application/octet-stream", "image/png"])
async def test_answer_of_another_kind_is_refused_by_its_name(start: Start, media: str) -> None:
    server = start(always(200, b"<html><title>Router login</title>", media=media))
    with pytest.raises(ModelRefusedError, match=f"answered with {media.partition(';')[0]}, which is no completion"):
        await ask(server)


@pytest.mark.asyncio
async def test_json_under_a_wrong_name_is_json_all_the_same(start: Start) -> None:
    assert (await ask(start(always(200, completion(ANSWER), media="text/plain")))).text == ANSWER


@pytest.mark.asyncio
async def test_packed_answer_is_not_unpacked(start: Start) -> None:
    packed = gzip.compress(completion("x" * 5_000_000))
    server = start(always(200, packed, headers={"content-encoding": "gzip"}))
    with pytest.raises(ModelRefusedError, match="in the coding 'gzip', which was not asked for"):
        await ask(server)
    assert server.seen[0][2]["accept-encoding"] == "identity"


@pytest.mark.asyncio
async def test_redirection_is_refused_and_the_key_goes_nowhere_else(start: Start) -> None:
    other = start(always(200, completion(ANSWER)))
    moved = {"location": other.url + "/chat/completions"}
    server = start(always(307, b"", media="text/plain", headers=moved))
    with pytest.raises(ModelRefusedError, match="HTTP 307"):
        await ask(server, key=KEY)
    assert other.seen == []


@pytest.mark.asyncio
async def test_connection_that_breaks_in_the_middle_of_the_answer_is_unreachable(start: Start) -> None:
    whole = completion(ANSWER)
    server = start(always(200, whole[:20], headers={"content-length": str(len(whole))}))
    with pytest.raises(ModelUnreachableError):
        await ask(server)


@pytest.mark.asyncio
async def test_busy_endpoint_is_asked_again_when_it_says(start: Start) -> None:
    busy = [Said(429, b'{"error":{"message":"Too many requests"}}', headers={"retry-after": "0.4"})]
    proper = always(200, completion(ANSWER))
    server = start(lambda path, body: busy.pop() if busy and path.endswith("completions") else proper(path, body))
    began = time.monotonic()
    assert (await ask(server)).text == ANSWER
    assert time.monotonic() - began >= 0.4
    assert len(server.chats()) == 2


@pytest.mark.asyncio
async def test_endpoint_that_is_busy_for_longer_than_there_is_time_is_refused_at_once(start: Start) -> None:
    server = start(always(429, b'{"error":"Too many requests"}', headers={"retry-after": "60"}))
    began = time.monotonic()
    with pytest.raises(ModelRefusedError, match="HTTP 429: Too many requests"):
        await ask(server)
    assert time.monotonic() - began < 10.0
    assert len(server.chats()) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("header", ["soon", "-3", "nan", "Fri, 31 Dec 1999 23:59:59 GMT", "", "0", "0.001"])
async def test_senseless_time_to_wait_is_no_reason_to_wait_for_ever_nor_to_flood(start: Start, header: str) -> None:
    server = start(always(429, b'{"error":"Too many requests"}', headers={"retry-after": header}))
    with pytest.raises(ModelError):
        await ask(server, timeout_s=0.8)
    assert 2 <= len(server.chats()) <= 4


@pytest.mark.asyncio
async def test_answer_in_a_tool_call_or_in_parts_is_found(start: Start) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "hypothesis", "arguments": ANSWER}}]
    parts = [{"type": "text", "text": ANSWER[:10]}, {"type": "text", "text": ANSWER[10:]}, {"type": "image"}]
    assert (await ask(start(always(200, completion(None, message={"tool_calls": calls}))))).text == ANSWER
    assert (await ask(start(always(200, completion(None, message={"content": parts}))))).text == ANSWER


@pytest.mark.asyncio
async def test_long_reasoning_in_front_does_not_push_the_answer_out(start: Start) -> None:
    got = await ask(start(always(200, completion("<think>" + "hm " * 20_000 + "</think>" + ANSWER))))
    assert got.text == ANSWER


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "facts",
    [
        {"usage": "many", "timings": [1], "stats": None, "system_fingerprint": 7, "model": ["x"]},
        {"usage": {"prompt_tokens": -1, "completion_tokens": True, "prompt_tokens_details": 3}},
        {"timings": {"prompt_ms": "fast", "predicted_ms": -2, "cache_n": 1e300}, "stats": {"generation_time": [1]}},
        {"system_fingerprint": "f" * 10_000, "model": "m" * 10_000},
        {"timings": {"prompt_ms": 10**400}, "stats": {"generation_time": 10**400, "time_to_first_token": 2**53 - 1}},
        {"timings": {"prompt_ms": float("nan"), "predicted_ms": float("inf"), "cache_n": True}},
    ],
)
async def test_absurd_facts_beside_a_good_answer_do_no_harm(start: Start, facts: dict[str, Any]) -> None:
    body = json.loads(completion(ANSWER)) | facts
    got = await ask(start(always(200, json.dumps(body).encode())))
    assert got.text == ANSWER
    assert len(got.model) <= 200
    assert len(got.fingerprint) <= 200
    assert min(got.prompt_tokens, got.completion_tokens) >= 0
    assert all(0 <= value < 2**53 for value in got.timings.values())


@pytest.mark.asyncio
async def test_key_that_an_endpoint_quotes_is_in_no_error(start: Start) -> None:
    server = start(always(401, json.dumps({"error": {"message": f"bad key {KEY} at me"}}).encode()))
    with pytest.raises(ModelRefusedError) as caught:
        await ask(server, key=KEY)
    assert KEY not in str(caught.value)
    assert "bad key ***" in str(caught.value)


@pytest.mark.asyncio
async def test_key_is_blanked_wherever_an_endpoint_quotes_it(start: Start) -> None:
    body = json.loads(completion(f"it is {KEY}", finish_reason=f"stop {KEY}")) | {
        "model": KEY,
        "system_fingerprint": KEY,
    }
    escaped = json.dumps(body).replace(KEY, KEY.replace("-", r"\u002d")).encode()
    got = await ask(start(always(200, escaped)), key=KEY)
    assert (got.text, got.model, got.fingerprint, got.finish_reason) == ("it is ***", "***", "***", "stop ***")
    split = [
        event({"content": KEY[:5]}, model=KEY),
        event({"content": KEY[5:]}, finish_reason="stop"),
        b"data: [DONE]\n",
    ]
    streamed = await ask(start(always(200, split, media=EVENTS)), key=KEY)
    assert (streamed.text, streamed.model) == ("***", "***")
    parts = [{"type": "text", "text": KEY[:5]}, {"type": "text", "text": KEY[5:]}]
    assert (await ask(start(always(200, completion(None, message={"content": parts}))), key=KEY)).text == "***"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "said",
    [
        Said(200, b"no completion", media=f"Text/{KEY.upper()}"),
        Said(200, b"packed", headers={"content-encoding": KEY.upper()}),
        Said(500, (KEY.upper() * 100).encode(), media="text/plain"),
        Said(500, json.dumps({"error": {KEY.upper(): [KEY.upper()] * 100}}).encode()),
    ],
)
async def test_no_piece_of_the_key_is_left_where_words_are_cut_or_written_small(start: Start, said: Said) -> None:
    server = start(lambda _path, _body: said)
    with pytest.raises(ModelRefusedError) as caught:
        await ask(server, key=KEY.upper(), name="m")
    assert "***" in str(caught.value)
    assert KEY[:6] not in str(caught.value).lower()


@pytest.mark.asyncio
async def test_key_listed_as_a_model_is_not_greeted_by(start: Start) -> None:
    server = start(lambda _path, _body: (200, json.dumps({"data": [{"id": KEY, "owned_by": "vllm"}]}).encode()))
    settings = ModelSettings(url=server.url, name=None, timeout_s=5.0, temperature=0.0, seed=42, key=KEY)
    async with open_client(settings) as client:
        assert await client.greet() == f"model *** at {server.url}"
        assert KEY not in client.model


@pytest.mark.asyncio
@pytest.mark.parametrize("owner", [[], {}, [["vllm"]], 7, None, {"vllm": 1}])
async def test_owner_of_any_shape_in_a_list_of_models_is_no_owner(start: Start, owner: Any) -> None:
    rows = [{"id": "m", "owned_by": owner}, {"id": "n", "owned_by": "vllm"}]
    server = start(lambda _path, _body: (200, json.dumps({"data": rows}).encode()))
    settings = ModelSettings(url=server.url, name=None, timeout_s=5.0, temperature=0.0, seed=42)
    async with open_client(settings) as client:
        assert (await client.discover(5.0)).server == "vLLM"
        assert await client.greet() == f"model m at {server.url}"


@pytest.mark.asyncio
async def test_answer_nested_deeper_than_it_can_be_read_is_refused(start: Start) -> None:
    for depth in (100, 300, 500, 700, 900, 100_000):
        deep = b'{"choices":' + b"[" * depth + b"]" * depth + b"}"
        with pytest.raises(ModelRefusedError, match=r"no message|nested deeper|answered HTTP 200"):
            await ask(start(always(200, deep)), key=KEY)


@pytest.mark.asyncio
async def test_fault_that_nobody_foresaw_is_a_refusal_and_ends_no_process(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: Any, **_fields: Any) -> Any:
        raise TypeError(f"unhashable type, says {KEY}")

    server = start(always(200, completion(ANSWER)))
    settings = ModelSettings(url=server.url, name=None, timeout_s=5.0, temperature=0.0, seed=42, key=KEY)
    async with open_client(settings) as client:
        monkeypatch.setattr("planner_svc.llm_client.completion", broken)
        with pytest.raises(ModelRefusedError, match=r"failed: TypeError unhashable type, says \*\*\*"):
            await client.ask(TURNS, "hypothesis", SCHEMA)
        monkeypatch.setattr("planner_svc.llm_discovery.openai_list", broken)
        assert "the rulebook decides meanwhile" in await client.greet()
        client._model = None
        with pytest.raises(ModelRefusedError, match="TypeError"):
            await client.warm(TURNS, 5.0)


@pytest.mark.asyncio
@pytest.mark.parametrize("scheme", ["https", "HTTPS"])
async def test_server_whose_certificate_nobody_vouches_for_gets_no_key(scheme: str, tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(4_096))
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0, ssl=self_signed(tmp_path)) as server:
        url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        settings = ModelSettings(url=url, name="m", timeout_s=5.0, temperature=0.0, seed=42, key=KEY)
        async with open_client(settings) as client:
            with pytest.raises(ModelUnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.ask(TURNS, "hypothesis", SCHEMA)
        embedder = Embedder(url, key=KEY, model="m")
        with pytest.raises(EmbeddingError, match="cannot be used"):
            await embedder.embed(["x"])
        await embedder.close()
    assert not any(heard)


def self_signed(folder: Path) -> ssl.SSLContext:
    """Return what a server with a certificate of its own making serves with."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(7).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "server.pem").write_bytes(pem + made.sign(key, SHA256()).public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


@pytest.mark.asyncio
@pytest.mark.parametrize("host", ["a..b", "a" * 70])
async def test_address_that_no_resolver_takes_is_greeted_with_a_sentence(host: str) -> None:
    settings = ModelSettings(url=f"http://{host}:1234/v1", name=None, timeout_s=5.0, temperature=0.0, seed=42)
    async with open_client(settings) as client:
        assert "the rulebook decides meanwhile" in await client.greet()


@pytest.mark.asyncio
async def test_host_that_swallows_connections_is_given_up_within_two_seconds() -> None:
    """A full backlog: nobody refuses, nobody accepts."""
    with ExitStack() as sockets:
        mute = sockets.enter_context(socket.socket())
        mute.bind(("127.0.0.1", 0))
        mute.listen(0)
        for _ in range(8):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(mute.getsockname())
        settings = ModelSettings(
            url=f"http://127.0.0.1:{mute.getsockname()[1]}/v1", name=None, timeout_s=30.0, temperature=0.0, seed=42
        )
        began = time.monotonic()
        with pytest.raises(ModelUnreachableError, match="nobody takes the connection"):
            async with open_client(settings) as client:
                await client.ask(TURNS, "hypothesis", SCHEMA)
        assert time.monotonic() - began < 10.0
