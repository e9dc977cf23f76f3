"""`triage doctor --model`: its cases, its judgement, and what it recommends."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from broker.contracts.plan import PromptForm
from harness.errors import ModelDownError
from harness.llm.probe import Answered, Case, ModelReport, cases, probe, recommend
from planner_svc.config import ModelSettings, load_rulebook
from planner_svc.core.config import PlannerConfig
from planner_svc.core.machine import PlannerMachine
from tests.support.model_server import Behaviour, always, completion, serving, well_behaved
from tests.support.planner_world import World, shop


def answer(case: str, form: PromptForm = "hypothesis", **fields: Any) -> Answered:
    values: dict[str, Any] = {
        "usable": True,
        "right": True,
        "said": "orders config_drift",
        "seconds": 2.0,
        "prompt_tokens": 1_000,
        "cached_tokens": None,
    }
    return Answered(case=case, form=form, **(values | fields))


CLOSED = [answer(f"c{number}") for number in range(6)]
PLANS = [answer("c0", "plan", seconds=9.0), answer("c1", "plan", seconds=9.0)]


@pytest.mark.parametrize(
    ("answers", "repeated_s", "mode", "why"),
    [
        ([*CLOSED, *PLANS], 2.0, "full", "6 of 6 and writes 2 of 2"),
        ([*CLOSED, PLANS[0], answer("c1", "plan", right=False)], 2.0, "hypothesis", "of 2 whole plans 1"),
        ([*CLOSED, PLANS[0], answer("c1", "plan", seconds=25.0)], 2.0, "hypothesis", "6 of 6 in 2.0 s"),
        ([*CLOSED[:5], answer("c5", right=False), *PLANS], 2.0, "hypothesis", "5 of 6"),
        ([*CLOSED[:3], *(answer(f"c{n}", right=False) for n in (3, 4, 5)), *PLANS], 2.0, "rulebook", "3 of 6"),
        ([*CLOSED, *PLANS], 16.0, "rulebook", "takes 16.0 s of the 30 s"),
        ([answer(f"c{n}", usable=False, right=False) for n in range(6)], None, "rulebook", "0 of 6"),
    ],
)
def test_mode_follows_from_what_was_right_and_how_long_it_took(
    answers: list[Answered], repeated_s: float | None, mode: str, why: str
) -> None:
    recommended, reason = recommend(answers, repeated_s, 30.0)
    assert recommended == mode
    assert why in reason


@pytest.mark.parametrize("case", cases(), ids=[case.name for case in cases()])
def test_rulebook_alone_is_right_in_every_case_as_the_recommendation_says(case: Case) -> None:
    world = World(PlannerMachine(PlannerConfig(inventory=shop(), rulebook=load_rulebook(), mode="rulebook")))
    looks = {name: look.model_dump(exclude={"silent"}, exclude_none=True) for name, look in case.looks.items()}
    for name, look in case.looks.items():
        if look.silent:
            looks[name] |= dict.fromkeys(("cpu_load", "mem_usage", "latency_ms", "success_ratio", "request_rate"))
    world.seconds(5)
    world.seconds(3, looks)
    world.request(text=case.report)
    world.seconds(12, looks)
    believed = world.proposal().plan.hypothesis
    assert any(right.fits(believed) for right in case.right), believed


def test_no_case_is_one_of_the_examples_that_the_model_is_shown() -> None:
    shown = {example.report for example in load_rulebook().examples}
    assert not shown & {case.report for case in cases()}
    assert sum(case.full for case in cases()) >= 2


def run(behave: Behaviour) -> ModelReport:
    with serving(behave) as server:
        settings = ModelSettings(url=server.url, name=None, timeout_s=10.0, temperature=0.0, seed=42)
        return asyncio.run(probe(settings))


def knowing(path: str, body: dict[str, Any]) -> tuple[int, bytes]:
    """Behave as a model that knows the right answer of every case."""
    if not path.endswith("completions"):
        return well_behaved(path, body)
    asked = body["messages"][-1]["content"]
    right = next(case.right[0] for case in cases() if case.report[:30] in asked)
    said = {"target": right.target, "fault_class": right.fault_class, "confidence": 0.9}
    return 200, completion(json.dumps(said))


@pytest.mark.integration
def test_model_that_is_right_about_everything_but_writes_no_plan_is_for_the_closed_question() -> None:
    report = run(knowing)
    closed = [item for item in report.answers if item.form == "hypothesis"]
    assert all(item.usable and item.right for item in closed)
    assert len(closed) == len(cases())
    assert report.recommended == "hypothesis"
    assert (report.model, report.deterministic, report.structured) == ("qwen-0.5b", True, True)
    assert report.repeated_s is not None


@pytest.mark.integration
def test_model_that_says_something_else_every_time_is_not_repeatable() -> None:
    count = iter(range(1_000))

    def behave(path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        said = {"target": "orders", "fault_class": "process_down", "confidence": next(count) / 1_000}
        return (200, completion(json.dumps(said))) if path.endswith("completions") else well_behaved(path, body)

    report = run(behave)
    assert report.deterministic is False
    assert report.recommended == "rulebook"


@pytest.mark.integration
def test_prose_is_no_usable_answer_and_the_report_says_what_was_wrong() -> None:
    report = run(always(200, completion("I am sorry, Dave.")))
    assert not any(item.usable or item.right for item in report.answers)
    assert all(item.said for item in report.answers)
    assert (report.recommended, report.repeated_s) == ("rulebook", None)


@pytest.mark.integration
def test_endpoint_that_fails_at_every_question_is_reported_and_not_raised() -> None:
    report = run(always(500, b'{"error":"out of memory"}'))
    assert all("out of memory" in item.said for item in report.answers)
    assert (report.structured, report.deterministic) == (None, None)


def test_endpoint_that_is_not_there_is_down() -> None:
    settings = ModelSettings(url="http://127.0.0.1:9/v1", name=None, timeout_s=3.0, temperature=0.0, seed=42)
    with pytest.raises(ModelDownError, match=r"no model to probe: .*not reachable"):
        asyncio.run(probe(settings))
