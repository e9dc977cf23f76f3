"""Before the first incident: the model loaded and the constant part of the prompt read, over real HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from planner_svc.config import ModelSettings, newest_templates
from planner_svc.core.machine import PlannerMachine
from planner_svc.errors import ModelRefusedError
from planner_svc.llm_client import open_client
from planner_svc.warm import constant_turns, warm_up, warming
from tests.support.model_server import ModelServer, Said, always, completion, serving, well_behaved
from tests.support.planner_world import USERS_FAIL, World, config

pytestmark = pytest.mark.integration


def settings(server: ModelServer) -> ModelSettings:
    return ModelSettings(url=server.url, name=None, timeout_s=5.0, temperature=0.0, seed=42)


@pytest.mark.asyncio
@pytest.mark.parametrize("mode", ["hypothesis", "full"])
async def test_what_is_read_before_is_how_every_question_begins(mode: str) -> None:
    chosen = config("auto").model_copy(update={"mode": mode, "templates": newest_templates()})
    world = World(PlannerMachine(chosen))
    world.seconds(4)
    world.seconds(3, {"orders": {"status": "ERROR", "note": "shop-db=gaierror"}, "loadgen": USERS_FAIL})
    world.request()
    world.seconds(4, {"orders": {"status": "ERROR", "note": "shop-db=gaierror"}, "loadgen": USERS_FAIL})
    [prompt] = world.prompts()
    constant = constant_turns(chosen)
    assert len(constant) > 3
    assert prompt.messages[:-1] == constant[:-1]
    assert prompt.messages[-1] != constant[-1]


@pytest.mark.asyncio
async def test_one_token_is_asked_for_and_a_cut_answer_is_no_trouble() -> None:
    with serving(always(200, completion("x", finish_reason="length"))) as server:
        told: list[float] = []
        async with open_client(settings(server)) as client:
            await warm_up(client, config("auto"), told.append)
    [body] = server.chats()
    assert (body["max_tokens"], "response_format" in body) == (1, False)
    assert body["messages"][0]["role"] == "system"
    assert len(told) == 1


@pytest.mark.asyncio
async def test_endpoint_that_comes_later_is_warmed_up_when_it_is_there() -> None:
    refusals = [Said(500, b'{"error":"not yet"}'), Said(404, b'{"error":"No models loaded"}')]

    def behave(path: str, body: dict[str, Any]) -> Any:
        return refusals.pop() if refusals and path.endswith("completions") else well_behaved(path, body)

    told: list[float] = []
    with serving(behave) as server:
        async with open_client(settings(server)) as client:
            await asyncio.wait_for(warm_up(client, config("auto"), told.append, wait_s=0.05), 20)
    assert len(server.chats()) == 3
    assert len(told) == 1


@pytest.mark.asyncio
async def test_warming_up_ends_with_the_role_that_wanted_it() -> None:
    with serving(always(500, b'{"error":"never"}')) as server:
        async with open_client(settings(server)) as client:
            with pytest.raises(ModelRefusedError, match="never"):
                await client.warm(constant_turns(config("auto")), 5.0)
            before = asyncio.all_tasks()
            async with warming(client, config("auto"), lambda _took: None):
                await asyncio.sleep(0)
            async with warming(client, None, lambda _took: None):
                pass
            assert asyncio.all_tasks() == before
