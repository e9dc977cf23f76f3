"""One scenario from the fault to the verified repair with a model in the loop: an LM-Studio-shaped server and an
Ollama-shaped one by their documented answers, and a real llama.cpp with a real, very small model.

What the real one answers is not asserted: it is asked, what it says is recorded, whatever it says does no harm, and the
audit tells its plans from the rulebook's.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from auditor_svc.api import LlmRecord, llm_records, llm_runs
from harness.llm.server import examine, serving
from harness.replay import replay
from harness.run import Outcome
from harness.scenario import draw, load
from harness.site import open_site
from tests.faults.conftest import running_stack
from tests.support import model_server
from tests.support.model_fixtures import LM_STUDIO, OLLAMA, Routes, answering
from tests.support.runs import assert_audit_holds, assert_nothing_happened_twice, assert_recovered, run

pytestmark = pytest.mark.stack
SCENARIO = "db_conn_drift"


def settings(url: str) -> dict[str, str]:
    """A busy machine may take its time to read the prompt for the first time; the scheduler waits even longer."""
    return {"TRIAGE_PLANNER_MODE": "auto", "TRIAGE_MODEL_URL": url, "TRIAGE_MODEL_TIMEOUT_S": "120"}


def played(home: Path, recording: Path) -> tuple[Outcome, list[LlmRecord]]:
    """Run the scenario, judge what must hold whoever planned, and return its outcome and its model runs."""
    outcome = run(home, draw(load(SCENARIO)), recording)
    assert_recovered(outcome)
    assert_nothing_happened_twice(home)
    assert_audit_holds(home)
    report = replay(recording)
    assert report.difference is None, report.difference
    return outcome, asyncio.run(_records(open_site(home).audit_dsn, outcome.incident))


async def _records(dsn: str, incident: str) -> list[LlmRecord]:
    assert incident in {item.incident for item in await llm_runs(dsn)}
    return list(await llm_records(dsn, incident))


@pytest.mark.parametrize(
    ("routes", "model", "fingerprint"),
    [(LM_STUDIO, "qwen2.5-7b-instruct", "qwen2.5-7b-instruct"), (OLLAMA, "qwen2.5:7b-instruct", "fp_ollama")],
    ids=["LM Studio", "Ollama"],
)
def test_incident_is_planned_by_the_model_of_a_documented_server(
    tmp_path: Path, routes: Routes, model: str, fingerprint: str
) -> None:
    with model_server.serving(answering(routes)) as server, running_stack(settings=settings(server.url)) as home:
        _, records = played(home, tmp_path / "run.recording")
    first = records[0]
    assert (first.model, first.fingerprint, first.outcome, first.structured) == (model, fingerprint, "ok", True)
    assert first.model_config["endpoint"] == server.url
    # Who leads is not asked: on a busy machine the rulebook may be certain of something else. The answer was weighed.
    assert any("compiled from the hypothesis" in said or "names orders config_drift" in said for said in first.repairs)
    assert first.accepted
    assert ("reconcile", "orders") in {(task["type"], task["target"]) for task in first.plan["tasks"]}
    assert {body["model"] for body in server.chats()} == {model}


@pytest.mark.local_llm
def test_incident_is_planned_with_a_real_model_and_the_audit_shows_its_run(small_model: Path, tmp_path: Path) -> None:
    with (
        serving(examine(small_model), context=4_096, threads=2) as engine,
        running_stack(settings=settings(engine.url)) as home,
    ):
        _, records = played(home, tmp_path / "run.recording")
    answered = [record for record in records if record.outcome == "ok"]
    assert answered, [(record.outcome, record.error) for record in records]
    for record in answered:
        assert (record.model, record.structured) == ("smollm2-135m-instruct", True)
        assert record.model_config["endpoint"] == engine.url
        assert record.model_config["seed"] == 42
        assert {"target", "fault_class"} <= set(json.loads(record.response))
        assert record.prompt_tokens > 500
        assert record.timings
        assert record.fingerprint
        assert record.prompt
    planned = [record.origin for record in records if record.plan_id is not None]
    assert planned, "no plan followed from any run"
    assert set(planned) <= {"llm", "rulebook"}
    assert all(record.repairs for record in records if record.origin == "rulebook"), "a fallback must say why"
