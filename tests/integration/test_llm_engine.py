"""The real thing: llama.cpp out of its wheel, a real model of 135 million weights, real HTTP, the planner's client.

The model is too small to be right; everything round it is what a large one gets.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from broker.contracts.plan import ChatMessage
from harness.errors import ModelDownError
from harness.llm import known, server
from harness.llm.probe import ModelReport, cases, probe
from harness.llm.server import WAITING, Running, examine, serving
from planner_svc.config import ModelSettings
from planner_svc.core.answer import SCHEMA_NAME, answer_schema, read_answer
from planner_svc.core.draft import plan_schema
from planner_svc.errors import ModelRefusedError
from planner_svc.llm_client import open_client
from tests.support.gguf import gguf, write
from tests.support.planner_world import shop

pytestmark = [pytest.mark.integration, pytest.mark.local_llm]
TURNS = (
    ChatMessage(role="system", content="You name the broken device of a shop. Answer with JSON."),
    ChatMessage(role="user", content="orders cannot use shop-db=gaierror. What is broken?"),
)
TIMEOUT_S = 120.0


@pytest.fixture(scope="module")
def running(small_model: Path) -> Iterator[Running]:
    """Serve the small model for the module's tests."""
    with serving(examine(small_model), context=4_096, threads=2) as engine:
        yield engine


def settings(engine: Running, **fields: object) -> ModelSettings:
    values: dict[str, object] = {"name": None, "timeout_s": TIMEOUT_S, "temperature": 0.0, "seed": 42}
    return ModelSettings(url=engine.url, **(values | fields))  # type: ignore[arg-type]


def test_what_is_served_is_known_by_its_bytes(running: Running) -> None:
    model = known.named("smollm2")
    assert (running.served.known, running.served.sha256, running.served.bytes) == (
        model.name,
        model.sha256,
        model.bytes,
    )
    assert running.url == f"http://127.0.0.1:{running.options.port}/v1"


def test_engine_was_told_not_to_spin_for_long(running: Running) -> None:
    told = psutil.Process(running.process.pid).environ()
    assert WAITING & told.keys(), "two engines on the same cores would hold each other up fifty times over"


@pytest.mark.asyncio
async def test_real_model_keeps_to_the_schema_and_answers_the_same_twice(running: Running) -> None:
    async with open_client(settings(running)) as client:
        found = await client.discover(TIMEOUT_S)
        assert (found.server, found.name, found.listed) == ("llama.cpp", "smollm2-135m-instruct", 1)
        first = await client.ask(TURNS, SCHEMA_NAME, answer_schema(shop()))
        again = await client.ask(TURNS, SCHEMA_NAME, answer_schema(shop()))
    assert first.structured
    assert first.text == again.text
    answer = read_answer(first.text, shop())
    assert answer.target in shop().names()
    assert (first.model, first.finish_reason) == ("smollm2-135m-instruct", "stop")
    assert first.fingerprint
    assert first.prompt_tokens > 20
    assert {"prompt_ms", "generation_ms", "cached_tokens"} <= set(first.timings)
    assert again.timings["cached_tokens"] > first.timings["cached_tokens"], "the server did not keep the prompt"


def test_schema_of_a_whole_plan_makes_a_grammar_of_a_real_server(running: Running) -> None:
    """What so small a model writes in it is of no interest; that it must begin as the schema says is."""
    form = {"type": "json_schema", "json_schema": {"name": "plan", "strict": True, "schema": plan_schema(shop())}}
    messages = [{"role": turn.role, "content": turn.content} for turn in TURNS]
    body = {"messages": messages, "temperature": 0, "seed": 42, "max_tokens": 24, "response_format": form}
    reply = httpx.post(f"{running.url}/chat/completions", json=body, timeout=TIMEOUT_S, trust_env=False)
    assert reply.status_code == 200, reply.text
    text = reply.json()["choices"][0]["message"]["content"]
    assert re.match(r'\{\s*"', text), text


@pytest.mark.asyncio
async def test_answer_cut_by_the_token_limit_is_refused(running: Running) -> None:
    async with open_client(settings(running)) as client:
        with pytest.raises(ModelRefusedError, match="cut off after 3 tokens"):
            await client.ask(TURNS, SCHEMA_NAME, answer_schema(shop()), max_tokens=3)


@pytest.mark.asyncio
async def test_prompt_longer_than_the_context_is_refused_in_the_servers_words(running: Running) -> None:
    long = (ChatMessage(role="user", content="word " * 6_000),)
    async with open_client(settings(running)) as client:
        with pytest.raises(ModelRefusedError, match=r"HTTP 400: .*context"):
            await client.ask(long, SCHEMA_NAME, answer_schema(shop()))


def test_server_listens_on_loopback_only_tells_no_prompts_and_lets_no_page_in(running: Running) -> None:
    base = running.url.removesuffix("/v1")
    with httpx.Client(trust_env=False, timeout=10.0) as client:
        assert client.get(f"{base}/slots").status_code != 200
        reply = client.get(f"{running.url}/models", headers={"origin": "http://elsewhere.example"})
        assert reply.headers.get("access-control-allow-origin", "") == ""
    sockets = psutil.Process(running.process.pid).net_connections("inet")
    assert {item.laddr.ip for item in sockets if item.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


@pytest.mark.asyncio
async def test_probe_tells_what_a_real_endpoint_is_good_for(running: Running) -> None:
    """The smallest model is of no use, and the probe says so: that everything works makes no answer right."""
    report: ModelReport = await probe(settings(running))
    assert report.structured
    assert report.deterministic
    assert report.server == "llama.cpp"
    assert len(report.answers) == len(cases()) + sum(case.full for case in cases())
    assert all(answer.usable for answer in report.answers if answer.form == "hypothesis")
    assert report.repeated_s is not None
    assert report.recommended == "rulebook"


def serve(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness.cli.app", "llm", "serve", *arguments, "--port", "0", "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_command_serves_until_it_is_told_to_end_and_ends_well(small_model: Path, end: signal.Signals) -> None:
    process = serve(str(small_model), "--alias", "tiny", "--ctx", "1024", "--embeddings")
    try:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        assert (facts["model"], facts["known"], facts["context"]) == ("tiny", "smollm2-135m-instruct", 1024)
        short, long = "orders is down", "the database refuses connections; " * 120  # the second is past 512 tokens
        texts = {"input": [short, long]}
        reply = httpx.post(f"{facts['url']}/embeddings", json=texts, timeout=120.0, trust_env=False)
        assert reply.status_code == 200, reply.text
        assert [len(row["embedding"]) for row in reply.json()["data"]] == [576, 576]
        assert reply.json()["usage"]["prompt_tokens"] > 512
        chat = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
        answered = httpx.post(f"{facts['url']}/chat/completions", json=chat, timeout=60.0, trust_env=False)
        assert answered.json()["choices"][0]["message"]["content"]
        process.send_signal(end)
        _, complaints = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert "Traceback" not in complaints
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{facts['url']}/models", trust_env=False)


def test_engine_ends_with_the_command_even_if_that_is_killed(small_model: Path) -> None:
    process = serve(str(small_model))
    try:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        process.kill()
    finally:
        process.kill()
        process.communicate()
    gone = _until(lambda: _refuses(facts["url"]))
    assert gone, "the engine outlived the command"


def _refuses(url: str) -> bool:
    try:
        httpx.get(f"{url}/models", trust_env=False, timeout=2.0)
    except httpx.ConnectError:
        return True
    except httpx.HTTPError:
        pass
    return False


def _until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_engine_that_dies_is_told_in_one_sentence(small_model: Path) -> None:
    with serving(examine(small_model), context=512) as engine:
        os.kill(engine.process.pid, signal.SIGKILL)
        with pytest.raises(ModelDownError, match="ended by itself: it was killed"):
            engine.wait()


def test_model_that_llama_cpp_cannot_load_is_told_in_its_words(tmp_path: Path, small_model: Path) -> None:
    """A proper GGUF file of no architecture that exists."""
    assert small_model.exists()
    served = examine(write(tmp_path / "odd.gguf", gguf({"general.architecture": "no-such-thing"})))
    with pytest.raises(ModelDownError, match=r"the engine cannot serve .*odd\.gguf: .*load"), serving(served):
        pytest.fail("it was served")


def test_start_that_takes_too_long_is_given_up(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "START_TIMEOUT_S", 0.0)
    with pytest.raises(ModelDownError, match="did not answer within 0 s"), serving(examine(small_model)):
        pytest.fail("it was served")
