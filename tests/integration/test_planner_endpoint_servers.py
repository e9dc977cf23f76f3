"""LM Studio, Ollama, llama.cpp and vLLM as their documentation says they answer (tests/fixtures/llm), over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from broker.contracts.plan import ChatMessage
from planner_svc.config import ModelSettings
from planner_svc.core.answer import SCHEMA_NAME, answer_schema, read_answer
from planner_svc.errors import ModelRefusedError, ModelTimeoutError
from planner_svc.llm_client import LlmClient, open_client
from planner_svc.llm_completion import Completion
from tests.support import model_fixtures
from tests.support.model_fixtures import FIXTURES, LM_STUDIO, OLLAMA, Routes, answering, said
from tests.support.model_server import ANSWER, ModelServer, Said, serving
from tests.support.planner_world import shop

pytestmark = pytest.mark.integration

TURNS = (ChatMessage(role="user", content="what is broken?"),)
Start = Callable[..., ModelServer]


@pytest.fixture
def start() -> Iterator[Start]:
    """Give a function that starts a server of such routes; `more` changes some of them."""
    with ExitStack() as running:

        def begin(routes: Routes, more: Routes | None = None) -> ModelServer:
            return running.enter_context(serving(answering(routes | (more or {}))))

        yield begin


def settings(url: str, **fields: Any) -> ModelSettings:
    values: dict[str, Any] = {"name": None, "timeout_s": 5.0, "temperature": 0.0, "seed": 42}
    return ModelSettings(url=url, **(values | fields))


async def ask(server: ModelServer, **fields: Any) -> Completion:
    async with open_client(settings(server.url, **fields)) as client:
        return await client.ask(TURNS, SCHEMA_NAME, answer_schema(shop()))


@pytest.mark.asyncio
async def test_lm_studio_lists_all_its_models_and_the_loaded_one_is_asked(start: Start) -> None:
    server = start(LM_STUDIO)
    got = await ask(server)
    assert server.chats()[0]["model"] == "qwen2.5-7b-instruct"
    assert (got.text, got.model, got.fingerprint) == (ANSWER, "qwen2.5-7b-instruct", "qwen2.5-7b-instruct")
    assert (got.prompt_tokens, got.completion_tokens, got.finish_reason) == (1012, 25, "stop")
    assert got.structured


@pytest.mark.asyncio
async def test_lm_studio_without_its_own_interface_is_asked_for_the_first_that_chats(start: Start) -> None:
    server = start(LM_STUDIO, {"/api/v0/models": "lm_studio/unknown_path"})
    await ask(server)
    assert server.chats()[0]["model"] == "meta-llama-3.1-8b-instruct"


@pytest.mark.asyncio
async def test_lm_studio_says_what_it_is_and_how_its_model_is_quantized(start: Start) -> None:
    async with open_client(settings(start(LM_STUDIO).url)) as client:
        found = await client.discover(5.0)
    assert (found.server, found.loaded, found.listed, found.quantization) == ("LM Studio", True, 2, "Q4_K_M")


@pytest.mark.asyncio
async def test_lm_studios_statistics_become_timings(start: Start) -> None:
    got = await ask(start(LM_STUDIO, {"/v1/chat/completions": "lm_studio/chat_with_stats"}))
    assert got.timings == {"first_token_ms": 111.0, "generation_ms": 954.0}


@pytest.mark.asyncio
@pytest.mark.parametrize("reply", ["chat_reasoning_in_schema", "chat_thinking_inside"])
async def test_lm_studios_reasoning_models_are_understood(start: Start, reply: str) -> None:
    got = await ask(start(LM_STUDIO, {"/v1/chat/completions": f"lm_studio/{reply}"}))
    answer = read_answer(got.text, shop())
    assert (answer.target, answer.fault_class) == ("orders", "config_drift")


@pytest.mark.asyncio
async def test_lm_studio_without_a_loaded_model_is_refused_in_its_own_words_at_once(start: Start) -> None:
    server = start(LM_STUDIO, {"/v1/chat/completions": "lm_studio/no_model"})
    with pytest.raises(ModelRefusedError, match="HTTP 404: No models loaded"):
        await ask(server)
    assert len(server.chats()) == 1


@pytest.mark.asyncio
async def test_lm_studio_with_required_tokens_says_so(start: Start) -> None:
    server = start(dict.fromkeys(("/v1/models", "/api/v0/models", "/v1/chat/completions"), "lm_studio/no_token"))
    with pytest.raises(ModelRefusedError, match=r"HTTP 401\): Invalid or missing API token"):
        await ask(server)


@pytest.mark.asyncio
async def test_lm_studios_cut_answer_is_no_answer(start: Start) -> None:
    with pytest.raises(ModelRefusedError, match="cut off after 200 tokens"):
        await ask(start(LM_STUDIO, {"/v1/chat/completions": "lm_studio/chat_cut"}))


@pytest.mark.asyncio
async def test_bare_text_error_about_the_schema_is_understood_and_remembered(start: Start) -> None:
    plain = said("lm_studio/chat")
    server = start(LM_STUDIO)
    routes = server.behave
    server.behave = lambda path, body: (
        said("lm_studio/no_response_format")
        if "response_format" in body
        else plain
        if path.endswith("completions")
        else routes(path, body)
    )
    async with open_client(settings(server.url)) as client:
        first = await client.ask(TURNS, SCHEMA_NAME, answer_schema(shop()))
        second = await client.ask(TURNS, SCHEMA_NAME, answer_schema(shop()))
        await client.ask(TURNS, "another", {"type": "object"})
    assert not first.structured
    assert not second.structured
    assert ["response_format" in body for body in server.chats()] == [True, False, False, True, False]
    assert all(body.get("response_format", {}).get("type") != "json_object" for body in server.chats())


@pytest.mark.asyncio
async def test_model_evicted_since_it_was_found_gives_way_to_the_one_loaded_now(start: Start) -> None:
    server = start(LM_STUDIO)
    routes, loaded = server.behave, "qwen2.5-7b-instruct"

    def behave(path: str, body: dict[str, Any]) -> Any:
        if path == "/v1/chat/completions" and body["model"] != loaded:
            return said("lm_studio/no_model")
        reply = routes(path, body)
        if path == "/api/v0/models" and isinstance(reply, Said) and loaded.startswith("meta"):
            rows = json.loads(bytes(reply.body))  # type: ignore[arg-type]
            for row in rows["data"]:
                row["state"] = "loaded" if row["id"] == loaded else "not-loaded"
            return Said(200, json.dumps(rows).encode())
        return reply

    server.behave = behave
    async with open_client(settings(server.url)) as client:
        await client.ask(TURNS, SCHEMA_NAME, {})
        loaded = "meta-llama-3.1-8b-instruct"
        await client.ask(TURNS, SCHEMA_NAME, {})
        assert client.model == loaded
    assert [body["model"] for body in server.chats()] == ["qwen2.5-7b-instruct", "qwen2.5-7b-instruct", loaded]


@pytest.mark.asyncio
async def test_configured_model_that_is_not_there_is_refused_and_not_replaced(start: Start) -> None:
    server = start({"/v1/models": "vllm/models", "/v1/chat/completions": "vllm/no_model"})
    with pytest.raises(ModelRefusedError, match="HTTP 404: The model `mine` does not exist"):
        await ask(server, name="mine")
    assert server.paths() == ["/v1/chat/completions"]


@pytest.mark.asyncio
async def test_ollama_is_asked_for_the_model_that_runs(start: Start) -> None:
    server = start(OLLAMA)
    got = await ask(server)
    assert server.chats()[0]["model"] == "qwen2.5:7b-instruct"
    assert (got.text, got.fingerprint) == (ANSWER, "fp_ollama")
    assert "/api/v0/models" not in server.paths()


@pytest.mark.asyncio
async def test_ollama_with_nothing_loaded_is_asked_for_its_newest_that_chats(start: Start) -> None:
    server = start(OLLAMA, {"/api/ps": "ollama/api_ps_none"})
    await ask(server)
    assert server.chats()[0]["model"] == "llama3.2:3b"


@pytest.mark.asyncio
@pytest.mark.parametrize("reply", ["chat_reasoning", "chat_schema_ignored"])
async def test_ollamas_thoughts_and_ignored_schemas_are_read(start: Start, reply: str) -> None:
    got = await ask(start(OLLAMA, {"/v1/chat/completions": f"ollama/{reply}"}))
    assert read_answer(got.text, shop()).target == "orders"


@pytest.mark.asyncio
async def test_ollama_without_the_model_says_so(start: Start) -> None:
    with pytest.raises(ModelRefusedError, match="not found, try pulling it first"):
        await ask(start(OLLAMA, {"/v1/chat/completions": "ollama/no_model"}))


@pytest.mark.asyncio
async def test_ollamas_address_without_its_v1_is_named_as_the_reason(start: Start) -> None:
    server = start(OLLAMA)
    with pytest.raises(ModelRefusedError, match=r"404 page not found; its address should end in /v1"):
        async with open_client(settings(server.url.removesuffix("/v1"))) as client:
            await client.ask(TURNS, SCHEMA_NAME, {})


@pytest.mark.asyncio
async def test_llama_cpp_is_asked_for_its_only_model_without_further_questions(start: Start) -> None:
    server = start({"/v1/models": "llama_cpp/models", "/v1/chat/completions": "vllm/chat"})
    await ask(server)
    assert server.paths() == ["/v1/models", "/v1/chat/completions"]
    assert server.chats()[0]["model"] == "qwen2.5-coder-1.5b-instruct"


@pytest.mark.asyncio
async def test_llama_cpp_as_a_router_is_asked_for_the_model_it_has_loaded(start: Start) -> None:
    server = start({"/v1/models": "llama_cpp/router_models", "/v1/chat/completions": "vllm/chat"})
    await ask(server)
    assert server.chats()[0]["model"] == "qwen2.5-coder-7b-instruct:Q4_K_M"


@pytest.mark.asyncio
async def test_llama_cpp_that_still_loads_is_waited_for(start: Start) -> None:
    server = start({"/v1/models": "llama_cpp/models", "/v1/chat/completions": "vllm/chat"})
    routes, refusals = server.behave, [said("llama_cpp/loading")] * 2
    server.behave = lambda path, body: refusals.pop() if refusals else routes(path, body)
    got = await ask(server)
    assert got.text == ANSWER
    assert server.paths() == ["/v1/models"] * 3 + ["/v1/chat/completions"]


@pytest.mark.asyncio
async def test_llama_cpp_that_does_not_stop_loading_costs_no_more_than_the_time(start: Start) -> None:
    server = start({"/v1/models": "llama_cpp/loading", "/v1/chat/completions": "llama_cpp/loading"})
    with pytest.raises(ModelTimeoutError, match=r"within 0\.8 s; the endpoint answered HTTP 503: Loading model"):
        await ask(server, timeout_s=0.8)


@pytest.mark.asyncio
async def test_llama_cpp_that_wants_a_key_says_so(start: Start) -> None:
    with pytest.raises(ModelRefusedError, match="HTTP 401: Invalid API Key"):
        await ask(start({"/v1/models": "llama_cpp/models", "/v1/chat/completions": "llama_cpp/no_key"}))


@pytest.mark.asyncio
async def test_ollama_that_is_busy_is_asked_again(start: Start) -> None:
    server = start(OLLAMA)
    routes, refusals = server.behave, [said("ollama/busy")]
    server.behave = lambda path, body: (
        refusals.pop() if refusals and path.endswith("completions") else routes(path, body)
    )
    assert (await ask(server)).text == ANSWER
    assert len(server.chats()) == 2


@pytest.mark.asyncio
async def test_llama_cpp_refuses_a_prompt_that_is_too_long_and_nobody_asks_again(start: Start) -> None:
    server = start({"/v1/models": "llama_cpp/models", "/v1/chat/completions": "llama_cpp/context"})
    with pytest.raises(ModelRefusedError, match="exceeds the available context size"):
        await ask(server)
    assert len(server.chats()) == 1


@pytest.mark.asyncio
async def test_schema_that_makes_no_grammar_is_left_out(start: Start) -> None:
    server = start({"/v1/models": "llama_cpp/models", "/v1/chat/completions": "vllm/chat"})
    routes = server.behave
    server.behave = lambda path, body: said("llama_cpp/bad_schema") if "response_format" in body else routes(path, body)
    got = await ask(server)
    assert (got.text, got.structured) == (ANSWER, False)


@pytest.mark.asyncio
async def test_vllms_cached_tokens_are_known(start: Start) -> None:
    got = await ask(start({"/v1/models": "vllm/models", "/v1/chat/completions": "vllm/chat"}))
    assert got.timings == {"cached_tokens": 960.0}
    assert got.model == "Qwen/Qwen2.5-7B-Instruct"


@pytest.mark.asyncio
async def test_server_with_embedding_models_only_is_refused_by_name() -> None:
    listed = {"object": "list", "data": [{"id": "nomic-embed-text-v1.5", "object": "model"}]}
    with serving(lambda _path, _body: Said(200, json.dumps(listed).encode())) as server:
        client = LlmClient(settings(server.url))
        with pytest.raises(ModelRefusedError, match="no model that chats, only nomic-embed-text"):
            await client.ask(TURNS, SCHEMA_NAME, {})
        await client.close()


def test_every_fixture_names_its_source_and_is_used() -> None:
    used = Path(__file__).read_text() + Path(model_fixtures.__file__).read_text()
    for path in sorted(FIXTURES.rglob("*.json")):
        name = f"{path.parent.name}/{path.stem}"
        fixture = json.loads(path.read_text())
        assert fixture["source"], name
        assert path.stem in used, f"{name} is used by no test"
