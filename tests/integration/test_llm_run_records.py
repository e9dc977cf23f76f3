"""A model run in a real audit database, shown whole and asked again of a real HTTP endpoint."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auditor_svc import api
from auditor_svc.api import LlmRecord
from auditor_svc.chain import ACCEPTED, EMPTY
from auditor_svc.projections import project
from auditor_svc.store import Batch, Store
from broker.contracts.base import Contract
from broker.contracts.incident import IncidentAnswered, IncidentAsked
from broker.contracts.plan import ChatMessage, PlanAnswered, PlanPrompted, PlanProposed, PlanRejected, Reason
from broker.contracts.registry import CONTRACTS
from broker.envelope import open_frame
from broker.port import Stored
from broker.runtime.settings import Settings
from broker.subjects import Role
from harness.cli import llm_runs
from harness.errors import NotFoundError, RefusedError, StackDownError
from harness.llm_replay import AskedAgain, ask_again
from planner_svc.config import model_settings
from planner_svc.core.prompt import prompt_hash
from planner_svc.worker import question_of
from tests.support.audit import PUBLIC, START_US, chain, incident_messages, sealed
from tests.support.model_server import ANSWER, always, completion, serving, well_behaved
from tests.support.nats_server import free_port
from tests.support.planner_world import shop
from tests.support.postgres import running_postgres
from tests.support.scheduler import plan, task

pytestmark = pytest.mark.integration
TURNS = (ChatMessage(role="system", content="You find causes."), ChatMessage(role="user", content="orders?"))
PROMPT = "".join(turn.content for turn in TURNS)


def attempt_of(n: int, version: int = 1) -> dict[str, Any]:
    return {"incident": "inc2", "version": version, "attempt": n}


def answered(n: int, response: str = ANSWER, **fields: Any) -> PlanAnswered:
    values: dict[str, Any] = {
        "outcome": "ok",
        "response": response,
        "prompt_hash": prompt_hash(TURNS),
        "response_hash": hashlib.sha256(response.encode()).hexdigest(),
        "model": "qwen-0.5b",
        "settings": {
            "endpoint": "http://127.0.0.1:1/v1", "temperature": 0.0, "seed": 42, "max_tokens": 200,
            "schema": "hypothesis",
        },
        "prompt_tokens": 700,
        "completion_tokens": 14,
        "elapsed_ms": 2_800.0,
        "structured": True,
        "schema_hash": "5c" * 32,
        "fingerprint": "llama.cpp b1 \x00 odd",
        "finish_reason": "stop",
        "timings": {"prompt_ms": 2_000.0},
        "template": "full.v1",
        "template_hash": "7e" * 32,
    }  # fmt: skip
    return PlanAnswered(**attempt_of(n), **(values | fields))


def proposal(n: int, number: int, **fields: Any) -> PlanProposed:
    given = plan(task("t1"), number=number)
    values: dict[str, Any] = {"plan": given, "origin": "llm", "decision_tag": "LLM_DECISION", "repairs": ("fence",)}
    return PlanProposed(**attempt_of(n), **(values | fields))


def prompted(n: int) -> PlanPrompted:
    return PlanPrompted(
        **attempt_of(n), messages=TURNS, prompt_hash=prompt_hash(TURNS), form="plan", template="full.v1"
    )


ASKS = proposal(2, 2)
MESSAGES: list[tuple[Role, Contract]] = [
    *incident_messages("inc1"),
    ("planner", prompted(1)),
    ("planner", answered(1, 'no plan, sorry\x00 "quoted"')),
    ("planner", proposal(1, 1, mended=True, filled=("costs",), repairs=("cycle broken",))),
    (
        "scheduler",
        PlanRejected(
            **attempt_of(1), plan_id=plan(number=1).plan_id, reasons=(Reason(code="no_plan", detail="prose"),)
        ),
    ),
    ("planner", prompted(2)),
    ("planner", answered(2)),
    ("planner", ASKS),
    (
        "scheduler",
        IncidentAsked(
            incident="inc2", n=1, question="Deployed?", version=1, attempt=2, plan_id=ASKS.plan.plan_id, wait_s=9.0
        ),
    ),
    ("operator", IncidentAnswered(incident="inc2", n=1, text="yes")),
    ("planner", prompted(3)),
    ("planner", answered(3, "", outcome="timeout", error="no answer", structured=None)),
]


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    """Give a database that holds the messages, through the same steps as the auditor's."""
    with running_postgres() as server:
        made = server.new_database()
        asyncio.run(_fill(made))
        yield made


async def _fill(dsn: str) -> None:
    stored = [
        Stored(10 + n, START_US + n * 1_000, message.subject(), sealed(role)(message))
        for n, (role, message) in enumerate(MESSAGES)
    ]
    rows, checkpoints = chain(stored)
    facts = []
    for row in rows:
        frame = open_frame(row.envelope)
        assert row.verdict == ACCEPTED
        fact = project(row.journal_seq, row.time_us, CONTRACTS[frame.type].decode(frame.payload))
        facts += [fact] if fact else []
    store = Store(dsn)
    await store.migrate()
    await store.append(EMPTY, Batch(tuple(rows), tuple(facts), tuple(checkpoints)))
    await store.close()


async def record(dsn: str, run_id: str) -> LlmRecord:
    [found] = await api.llm_records(dsn, run_id)
    return found


@pytest.mark.asyncio
async def test_run_is_shown_with_all_that_belongs_to_it(dsn: str) -> None:
    found = await record(dsn, "inc2.v1.a1")
    assert (found.version, found.attempt, found.model, found.temp) == (1, 1, "qwen-0.5b", 0.0)
    assert (found.template, found.template_hash, found.schema_hash) == ("full.v1", "7e" * 32, "5c" * 32)
    assert (found.finish_reason, found.structured, found.timings) == ("stop", True, {"prompt_ms": 2_000.0})
    assert found.fingerprint == "llama.cpp b1 \x00 odd"
    assert found.model_config["seed"] == 42
    assert [turn["content"] for turn in found.prompt] == [turn.content for turn in TURNS]
    assert (found.repairs, found.filled, found.mended) == (("cycle broken",), ("costs",), True)
    assert (found.verdict, found.reasons[0]["code"], found.repaired) == ("refused", "no_plan", True)


@pytest.mark.asyncio
async def test_run_whose_plan_asked_the_operator_says_so(dsn: str) -> None:
    found = await record(dsn, "inc2.v1.a2")
    assert (found.verdict, found.question) == ("asked", "Deployed?")


@pytest.mark.asyncio
async def test_run_without_an_answer_and_run_from_before_the_newer_fields(dsn: str) -> None:
    silent = await record(dsn, "inc2.v1.a3")
    assert (silent.outcome, silent.verdict, silent.structured) == ("timeout", "no plan", None)
    old = await record(dsn, "inc1.v1.a1")
    assert (old.template, old.schema_hash, old.fingerprint, old.timings) == (None, None, None, None)
    assert (old.verdict, old.repairs, old.filled) == ("accepted", ("quoted",), ())


@pytest.mark.asyncio
async def test_runs_of_an_incident_are_found_by_its_name_and_nothing_by_another(dsn: str) -> None:
    assert [one.run_id for one in await api.llm_records(dsn, "inc2")] == [f"inc2.v1.a{n}" for n in (1, 2, 3)]
    assert await api.llm_records(dsn, "inc9") == ()


@pytest.mark.asyncio
async def test_question_and_answer_are_in_a_view_of_their_own(dsn: str) -> None:
    store = Store(dsn)
    found = await store.fetch("SELECT incident, n, step, text FROM clarifying_questions ORDER BY journal_seq")
    await store.close()
    assert [tuple(row.values()) for row in found] == [
        ("inc2", 1, "asked", "Deployed?"),
        ("inc2", 1, "answered", "yes"),
    ]


@pytest.mark.asyncio
async def test_trail_with_the_views_still_verifies(dsn: str) -> None:
    report = await api.verify_database(dsn, PUBLIC)
    assert report.ok, report.faults


@pytest.mark.asyncio
async def test_json_of_a_record_is_json(dsn: str) -> None:
    found = api.plain(await record(dsn, "inc2.v1.a1"))
    assert json.loads(json.dumps(found))["run_id"] == "inc2.v1.a1"


@pytest.mark.asyncio
async def test_shown_facts_hold_the_verdict_and_the_repairs(dsn: str) -> None:
    rows = llm_runs._facts(await record(dsn, "inc2.v1.a1"))
    assert ("repair", "cycle broken") in rows
    assert any(name == "verdict" and value.startswith("refused") and "no_plan" in value for name, value in rows)


# asked again


@asynccontextmanager
async def asked(dsn: str, url: str, run_id: str = "inc2.v1.a2", **changes: Any) -> Any:
    found = await record(dsn, run_id)
    config = {**found.model_config, "endpoint": url, **changes.pop("config", {})}
    yield replace(found, **({"model_config": config, "schema_hash": None} | changes))


async def again(home: Path, given: LlmRecord) -> AskedAgain:
    settings = Settings.model_validate({"home": home, "role": "operator", "model_url": "http://127.0.0.1:9/v1"})
    return await ask_again(given, settings, shop())


@pytest.mark.asyncio
async def test_same_model_asked_the_same_gives_the_same_answer(dsn: str, tmp_path: Path) -> None:
    with serving(well_behaved) as endpoint:
        async with asked(dsn, endpoint.url) as given:
            result = await again(tmp_path, given)
    assert result.same
    [body] = endpoint.chats()
    assert body["messages"] == [{"role": turn.role, "content": turn.content} for turn in TURNS]
    assert (body["model"], body["temperature"], body["seed"], body["max_tokens"]) == ("qwen-0.5b", 0.0, 42, 200)
    assert body["response_format"]["json_schema"]["name"] == "hypothesis"


@pytest.mark.asyncio
async def test_run_of_full_mode_is_asked_with_its_own_schema(dsn: str, tmp_path: Path) -> None:
    with serving(well_behaved) as endpoint:
        async with asked(dsn, endpoint.url, config={"schema": "plan", "max_tokens": 900}) as given:
            await again(tmp_path, given)
    [body] = endpoint.chats()
    assert (body["response_format"]["json_schema"]["name"], body["max_tokens"]) == ("plan", 900)


@pytest.mark.asyncio
async def test_other_answer_is_told_with_both_texts_and_the_likeliest_reason(dsn: str, tmp_path: Path) -> None:
    with serving(always(200, completion('{"target":"catalog"}'))) as endpoint:
        async with asked(dsn, endpoint.url) as given:
            result = await again(tmp_path, given)
    assert not result.same
    assert "the server was" in result.sentence
    assert '"target":"catalog"' in result.sentence
    assert '"target":"orders"' in result.sentence


@pytest.mark.asyncio
async def test_schema_that_changed_since_is_told(dsn: str, tmp_path: Path) -> None:
    with serving(well_behaved) as endpoint:
        async with asked(dsn, endpoint.url, schema_hash="0" * 64) as given:
            assert not (await again(tmp_path, given)).schema_same
        settings = Settings.model_validate({"home": tmp_path, "role": "operator"})
        now = question_of("hypothesis", model_settings(settings), shop()).schema_hash
        async with asked(dsn, endpoint.url, schema_hash=now) as given:
            assert (await again(tmp_path, given)).schema_same


@pytest.mark.asyncio
async def test_endpoint_that_is_down_is_a_dependency_that_is_down(dsn: str, tmp_path: Path) -> None:
    async with asked(dsn, f"http://127.0.0.1:{free_port()}/v1") as given:
        with pytest.raises(StackDownError, match="cannot be asked again") as caught:
            await again(tmp_path, given)
    assert caught.value.exit_code == 7


@pytest.mark.asyncio
async def test_endpoint_that_refuses_is_no_endpoint_that_is_down(dsn: str, tmp_path: Path) -> None:
    with serving(always(200, b"[]", media="application/json")) as endpoint:
        async with asked(dsn, endpoint.url) as given:
            with pytest.raises(RefusedError):
                await again(tmp_path, given)


@pytest.mark.asyncio
@pytest.mark.parametrize("changes", [{"prompt": None}, {"prompt": [{"role": "root"}]}, {"outcome": "timeout"}])
async def test_run_that_cannot_be_asked_again_says_what_is_missing(
    dsn: str, tmp_path: Path, changes: dict[str, Any]
) -> None:
    async with asked(dsn, "http://127.0.0.1:1/v1", **changes) as given:
        with pytest.raises(NotFoundError, match=r"inc2\.v1\.a2"):
            await again(tmp_path, given)


@pytest.mark.asyncio
async def test_key_of_now_goes_only_to_the_endpoint_of_now(dsn: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk-secret\n")
    with serving(well_behaved) as endpoint:
        async with asked(dsn, endpoint.url) as given:
            for url, sent in ((endpoint.url, True), ("http://127.0.0.1:9/v1", False)):
                fields = {"home": tmp_path, "role": "operator", "model_url": url, "model_key_file": key}
                await ask_again(given, Settings.model_validate(fields), shop())
                assert ("authorization" in endpoint.seen[-1][2]) is sent
