"""The planner as a process, on a real broker, with a real model served by llama.cpp."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from broker.contracts.plan import PlanAnswered, PlanPrompted
from harness.llm.server import examine, serving
from tests.integration.test_planner_process import DRIFT, open_stage
from tests.support.planner_world import shop
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.local_llm]


@pytest.mark.asyncio
async def test_planner_warms_the_model_asks_it_and_says_everything_about_the_answer(
    tmp_path: Path, small_model: Path
) -> None:
    with serving(await asyncio.to_thread(examine, small_model), threads=2) as engine:
        async with open_stage(tmp_path) as stage:
            for _ in range(3):
                await stage.telemetry(DRIFT)
            with stage.planner(TRIAGE_MODEL_URL=engine.url, TRIAGE_MODEL_TIMEOUT_S="100"):

                async def is_warm() -> bool:
                    return "model_warm" in await asyncio.to_thread((tmp_path / "planner.log").read_text)

                await eventually(is_warm, 100.0)
                request = await stage.request("i1", attempt=2)
                proposal = await stage.proposal(request, timeout_s=100.0, meanwhile=DRIFT)
                asked, answered = await stage.said(request, "prompted"), await stage.said(request, "answered")
    assert isinstance(asked, PlanPrompted)
    assert isinstance(answered, PlanAnswered)
    assert (answered.outcome, answered.structured, answered.finish_reason) == ("ok", True, "stop")
    assert json.loads(answered.response)["target"] in shop().names()
    assert len(answered.schema_hash) == 64
    assert answered.fingerprint
    assert answered.settings["endpoint"] == engine.url
    assert answered.timings["cached_tokens"] > answered.prompt_tokens / 2, "what was read before was read again"
    assert proposal.origin == "llm" or proposal.repairs, "a fallback must say why"
