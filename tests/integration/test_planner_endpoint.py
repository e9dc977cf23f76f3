"""The model's client against a real HTTP server that behaves, or misbehaves, as endpoints in the field do."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from broker.contracts.plan import ChatMessage, PlanAnswered, PlanPrompted
from broker.runtime.worker_host import Work
from planner_svc.config import ModelSettings
from planner_svc.core.answer import SCHEMA_NAME, answer_schema
from planner_svc.core.machine import PlannerMachine
from planner_svc.core.prompt import prompt_hash
from planner_svc.errors import ModelRefusedError, ModelTimeoutError, ModelUnreachableError
from planner_svc.llm_client import LlmClient, open_client
from planner_svc.llm_completion import MAX_TEXT
from planner_svc.llm_endpoint import MAX_BYTES
from planner_svc.worker import ModelWorker, sha256
from tests.support.model_server import ANSWER, Behaviour, ModelServer, always, completion, serving, well_behaved
from tests.support.planner_world import USERS_FAIL, World, config, shop

pytestmark = pytest.mark.integration

TURNS = (ChatMessage(role="user", content="what is broken?"),)
KEY = "sk-very-secret"


Start = Callable[[Behaviour], ModelServer]


@pytest.fixture
def start() -> Iterator[Start]:
    """Give a function that starts endpoints; all are stopped afterwards."""
    with ExitStack() as running:
        yield lambda behave: running.enter_context(serving(behave))


def settings(url: str, **fields: Any) -> ModelSettings:
    values: dict[str, Any] = {"name": None, "timeout_s": 5.0, "temperature": 0.0, "seed": 42}
    return ModelSettings(url=url, **(values | fields))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def ask(chosen: ModelSettings) -> Any:
    async with open_client(chosen) as client:
        return await client.ask(TURNS, SCHEMA_NAME, answer_schema(shop()))


@pytest.mark.asyncio
async def test_good_endpoint_is_asked_portably_and_its_model_found_out(start: Start) -> None:
    endpoint = start(well_behaved)
    got = await ask(settings(endpoint.url))
    assert (got.text, got.model, got.prompt_tokens, got.completion_tokens) == (ANSWER, "qwen-0.5b", 700, 14)
    assert got.structured
    [body] = endpoint.chats()
    assert body["model"] == "qwen-0.5b"
    assert (body["temperature"], body["seed"], body["stream"]) == (0.0, 42, False)
    assert body["max_tokens"] > 0
    assert body["response_format"]["json_schema"]["schema"]["properties"]["target"]["enum"] == list(shop().names())
    assert set(body) == {"model", "messages", "temperature", "seed", "max_tokens", "stream", "response_format"}


@pytest.mark.asyncio
async def test_configured_model_is_not_looked_up_and_key_is_sent_as_bearer(start: Start) -> None:
    endpoint = start(well_behaved)
    await ask(settings(endpoint.url, name="mine", key=KEY))
    [(path, body, headers)] = endpoint.seen
    assert path == "/v1/chat/completions"
    assert body["model"] == "mine"
    assert headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.asyncio
async def test_endpoint_that_does_not_know_response_format_is_asked_without(start: Start) -> None:
    complaint = b"{\"error\":\"'response_format.type' must be 'json_schema' or 'text'\"}"
    endpoint = start(
        lambda path, body: (
            (400, complaint) if "response_format" in body else always(200, completion(ANSWER))(path, body)
        )
    )
    got = await ask(settings(endpoint.url))
    assert got.text == ANSWER
    assert not got.structured
    assert ["response_format" in body for body in endpoint.chats()] == [True, False]


@pytest.mark.asyncio
async def test_reasoning_model_whose_answer_stands_beside_empty_content(start: Start) -> None:
    endpoint = start(always(200, completion("", message={"reasoning_content": ANSWER})))
    assert (await ask(settings(endpoint.url))).text == ANSWER


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b'{"error":{"message":"No models loaded. Please load a model","code":null}}', "No models loaded"),
        (400, b'{"error":"something else"}', "something else"),
        (401, b'{"error":{"message":"Incorrect API key provided"}}', "Incorrect API key"),
        (500, b"<html>Internal error</html>", "Internal error"),
        (503, b'{"error":"upstream connect error"}', "upstream connect error"),
        (200, b'{"error":"Model crashed"}', "Model crashed"),
        (200, b"not json at all", "not json"),
        (200, b"[1,2,3]", "HTTP 200"),
        (200, b"{}", "no message"),
        (200, b'{"choices":[]}', "no message"),
        (200, b'{"choices":["text"]}', "no message"),
        (200, b'{"choices":[{"message":null}]}', "no message"),
        (200, completion(None), "empty"),
        (200, completion("  \n"), "empty"),
        (200, completion('{"target":', finish_reason="length"), "cut off"),
        (200, b"[" * 100_000, "HTTP 200"),
    ],
)
async def test_answer_that_is_none_is_refused_with_the_endpoints_words(
    start: Start, status: int, body: bytes, said: str
) -> None:
    endpoint = start(always(status, body))
    with pytest.raises(ModelRefusedError, match=re.escape(said)):
        await ask(settings(endpoint.url))
    assert len(endpoint.chats()) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("models", [b'{"data":[]}', b"{}", b"nonsense", b'{"data":[{"name":"x"}]}', b'{"data":"x"}'])
async def test_endpoint_that_lists_no_model_is_refused(start: Start, models: bytes) -> None:
    endpoint = start(lambda _path, _body: (200, models))
    with pytest.raises(ModelRefusedError, match="lists no model"):
        await ask(settings(endpoint.url))


@pytest.mark.asyncio
async def test_endless_answer_is_not_swallowed(start: Start) -> None:
    endpoint = start(always(200, b" " * (MAX_BYTES + 100_000)))
    with pytest.raises(ModelRefusedError, match="longer than"):
        await ask(settings(endpoint.url))


@pytest.mark.asyncio
async def test_long_text_is_cut_and_lone_surrogates_replaced(start: Start) -> None:
    endpoint = start(always(200, completion("\ud800" + "x" * 50_000)))
    got = await ask(settings(endpoint.url))
    assert len(got.text) == MAX_TEXT
    assert got.text.startswith("?x")


@pytest.mark.asyncio
async def test_endpoint_that_hangs_costs_no_more_than_its_time(start: Start) -> None:
    endpoint = start(well_behaved)

    def hang(path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        endpoint.release.wait(20)
        return well_behaved(path, body)

    endpoint.behave = hang
    began = time.monotonic()
    with pytest.raises(ModelTimeoutError, match=r"within 0\.3 s"):
        await ask(settings(endpoint.url, timeout_s=0.3))
    assert time.monotonic() - began < 10.0


@pytest.mark.asyncio
async def test_endpoint_that_listens_and_never_speaks_is_a_time_out() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(ModelTimeoutError):
            await ask(settings(f"http://127.0.0.1:{mute.getsockname()[1]}/v1", timeout_s=0.3))


@pytest.mark.asyncio
async def test_endpoint_that_speaks_something_else_is_unreachable() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"220 smtp ready\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ModelUnreachableError):
            await ask(settings(f"http://127.0.0.1:{port}/v1"))


@pytest.mark.asyncio
async def test_nothing_listens_and_that_is_known_at_once() -> None:
    """The wait before a second try to connect is not taken where the system itself says that nobody listens."""
    chosen = settings(f"http://127.0.0.1:{free_port()}/v1")
    async with open_client(chosen) as client:
        assert "no model" in await client.greet()
        times = []
        for _ in range(5):
            began = time.monotonic()
            with pytest.raises(ModelUnreachableError):
                await client.ask(TURNS, SCHEMA_NAME, answer_schema(shop()))
            times.append(time.monotonic() - began)
    assert min(times) < 0.05


@pytest.mark.asyncio
async def test_model_that_was_unloaded_is_looked_up_anew(start: Start) -> None:
    endpoint = start(always(404, b'{"error":"model not found"}'))
    async with open_client(settings(endpoint.url)) as client:
        assert await client.greet() == f"model qwen-0.5b at {endpoint.url}"
        with pytest.raises(ModelRefusedError):
            await client.ask(TURNS, SCHEMA_NAME, {})
        endpoint.behave = well_behaved
        assert (await client.ask(TURNS, SCHEMA_NAME, {})).text == ANSWER
    assert endpoint.paths().count("/v1/models") == 3


def prompt() -> PlanPrompted:
    return PlanPrompted(incident="i1", version=1, attempt=1, messages=TURNS, prompt_hash=prompt_hash(TURNS))


def work(order: PlanPrompted) -> Work:
    return Work(order=order, seq=7, time_us=1, deliveries=1, tag="DETERMINISTIC", subject=order.subject())


@pytest.mark.asyncio
async def test_worker_stores_everything_needed_to_ask_again_and_no_key(start: Start) -> None:
    endpoint = start(well_behaved)
    chosen = settings(endpoint.url.replace("http://", f"http://user:{KEY}@"), key=KEY)
    async with open_client(chosen) as client:
        answered = await ModelWorker(chosen, shop(), client).handle(work(prompt()))
    assert isinstance(answered, PlanAnswered)
    assert answered.outcome == "ok"
    assert answered.response == ANSWER
    assert answered.response_hash == sha256(ANSWER)
    assert answered.prompt_hash == prompt().prompt_hash
    assert answered.settings["endpoint"] == endpoint.url
    assert {"temperature", "seed", "max_tokens", "structured"} <= set(answered.settings)
    assert (answered.prompt_tokens, answered.completion_tokens) == (700, 14)
    assert KEY not in answered.encode().decode()
    assert KEY not in repr(chosen)


@pytest.mark.asyncio
async def test_worker_asks_for_a_plan_with_the_plans_schema_and_limit_and_says_so(start: Start) -> None:
    body = json.loads(completion(ANSWER)) | {"system_fingerprint": "b1234", "timings": {"prompt_ms": 9.5, "cache_n": 3}}
    endpoint = start(always(200, json.dumps(body).encode()))
    chosen = settings(endpoint.url, max_tokens=64, plan_max_tokens=777)
    async with open_client(chosen) as client:
        worker = ModelWorker(chosen, shop(), client)
        plan = await worker.handle(work(prompt().model_copy(update={"form": "plan"})))
        closed = await worker.handle(work(prompt()))
    assert isinstance(plan, PlanAnswered)
    assert isinstance(closed, PlanAnswered)
    assert [chat["max_tokens"] for chat in endpoint.chats()] == [777, 64]
    schemas = [chat["response_format"]["json_schema"] for chat in endpoint.chats()]
    assert [schema["name"] for schema in schemas] == [plan.settings["schema"], closed.settings["schema"]]
    for said, schema in zip((plan, closed), schemas, strict=True):
        canonical = json.dumps(schema["schema"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert said.schema_hash == sha256(canonical)
        assert (said.structured, said.fingerprint, said.finish_reason) == (True, "b1234", "stop")
        assert said.timings == {"prompt_ms": 9.5, "cached_tokens": 3.0}
    assert plan.schema_hash != closed.schema_hash


@pytest.mark.asyncio
async def test_key_that_an_endpoint_quotes_does_not_reach_the_journal(start: Start) -> None:
    endpoint = start(always(401, json.dumps({"error": f"bad key {KEY}"}).encode()))
    chosen = settings(endpoint.url, key=KEY)
    async with open_client(chosen) as client:
        answered = await ModelWorker(chosen, shop(), client).handle(work(prompt()))
    assert isinstance(answered, PlanAnswered)
    assert answered.outcome == "error"
    assert KEY not in answered.encode().decode()
    assert "***" in answered.error


@pytest.mark.asyncio
async def test_key_that_an_endpoint_answers_with_does_not_reach_the_journal(start: Start) -> None:
    body = json.loads(completion(KEY, finish_reason=KEY)) | {"model": KEY, "system_fingerprint": KEY}
    endpoint = start(lambda _path, _body: (200, json.dumps(body | {"data": [{"id": KEY}]}).encode()))
    chosen = settings(endpoint.url, key=KEY, name=None)
    async with open_client(chosen) as client:
        worker = ModelWorker(chosen, shop(), client)
        answered = await worker.handle(work(prompt()))
        failed = worker.failure(work(prompt()), RuntimeError("nobody foresaw this"))
    assert isinstance(answered, PlanAnswered)
    assert isinstance(failed, PlanAnswered)
    assert (answered.outcome, answered.model, answered.finish_reason) == ("ok", "***", "***")
    assert KEY not in (answered.encode() + failed.encode()).decode()


@pytest.mark.asyncio
async def test_worker_never_raises_for_the_endpoints_trouble() -> None:
    chosen = settings(f"http://127.0.0.1:{free_port()}/v1")
    client = LlmClient(chosen)
    worker = ModelWorker(chosen, shop(), client)
    answered = await worker.handle(work(prompt()))
    late = worker.failure(work(prompt()), TimeoutError("not done within 60 s"))
    odd = worker.failure(work(prompt()), RuntimeError("nobody foresaw this"))
    await client.close()
    outcomes = [item.outcome for item in (answered, late, odd) if isinstance(item, PlanAnswered)]
    assert outcomes == ["unreachable", "timeout", "error"]


@pytest.mark.asyncio
async def test_policy_worker_and_endpoint_make_a_plan_together(start: Start) -> None:
    """Prompt of the machine, through the worker and real HTTP, back into the machine."""
    endpoint = start(always(200, completion(f"```json\n{ANSWER}\n```")))
    world = World(PlannerMachine(config("auto")))
    world.seconds(4)
    world.seconds(3, {"orders": {"status": "ERROR", "note": "shop-db=gaierror"}, "loadgen": USERS_FAIL})
    world.request()
    [asked] = world.prompts()
    chosen = settings(endpoint.url)
    async with open_client(chosen) as client:
        world.say(await ModelWorker(chosen, shop(), client).handle(work(asked)))
    proposal = world.proposal()
    assert proposal.origin == "llm"
    assert proposal.plan.hypothesis.target == "orders"
    assert "code fence removed" in proposal.repairs
    [body] = endpoint.chats()
    assert [turn["role"] for turn in body["messages"]][:3] == ["system", "user", "assistant"]
