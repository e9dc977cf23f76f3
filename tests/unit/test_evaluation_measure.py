"""Playing a situation through the planner's core, and judging what comes out."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from broker.contracts.plan import PlanAnswered, PlanPrompted
from harness.errors import BadRecordingError, HarnessError
from harness.evaluation.answers import Answers
from harness.evaluation.data import Line, Repair, Truth, Window
from harness.evaluation.evaluate import Progress, evaluate
from harness.evaluation.judge import judge_hypothesis, judge_plan, logged, span_s
from harness.evaluation.play import Ask, decide
from harness.evaluation.table import About, as_json, markdown, table
from tests.support.evaluation import NO_FAULT, RIGHT, STOP, WRONG, case_of, measured_answer, window_of
from tests.support.planner_world import UNANSWERED, Look, config, rulebook

CONFIG = config("rulebook")
ABOUT = About(
    "2026-01-02", "abc1234", "2 cores", "triage llm eval", ("tuning",), "hypothesis", "m", "ff", "http://x/v1"
)


@cache
def window() -> Window:
    return window_of()


def says(text: str, **fields: object) -> tuple[Ask, list[PlanPrompted]]:
    """Return a model that always says the same, and what it was asked."""
    asked: list[PlanPrompted] = []

    async def ask(prompt: PlanPrompted) -> PlanAnswered:
        asked.append(prompt)
        return measured_answer(prompt, text, **fields)

    return ask, asked


@pytest.mark.asyncio
async def test_rulebook_decides_a_situation_as_in_production() -> None:
    decision = await decide(case_of(window()), CONFIG)
    verdict = judge_plan(case_of(window()), decision.proposal.plan)
    assert decision.valid
    assert decision.asked == ()
    assert 0.0 <= decision.waited_s < 5.0
    assert verdict.said == Truth(target="orders", fault_class="process_down")
    assert (verdict.target, verdict.both, verdict.action, verdict.dangerous) == (True, True, True, False)
    assert verdict.done == (Repair(action="start", target="orders"),)


@pytest.mark.asyncio
async def test_model_is_asked_once_and_its_answer_is_read_later_in_the_recording() -> None:
    ask, asked = says(RIGHT)
    decision = await decide(case_of(window()), config("auto"), ask)
    assert len(asked) == 1
    assert decision.proposal.origin == "llm"
    assert decision.waited_s >= 3.0
    assert case_of(window()).situation.text in asked[0].messages[-1].content


@pytest.mark.asyncio
async def test_answer_of_no_use_falls_back_on_the_rulebook_and_is_still_a_plan() -> None:
    ask, _ = says("I am sorry, I cannot help with that.")
    decision = await decide(case_of(window()), config("auto"), ask)
    assert decision.valid
    assert decision.proposal.origin == "rulebook"


@pytest.mark.asyncio
async def test_same_answers_give_the_same_plan_byte_for_byte() -> None:
    ask, _ = says(WRONG)
    first = await decide(case_of(window()), config("auto"), ask)
    again = await decide(case_of(window()), config("auto"), ask)
    assert first.proposal.encode() == again.proposal.encode()


@pytest.mark.asyncio
async def test_recording_that_ends_before_the_decision_is_met_as_the_scheduler_meets_silence() -> None:
    short = window().model_copy(update={"samples": tuple(s for s in window().samples if s.at_s < 8.8)})
    decision = await decide(case_of(short), CONFIG)
    assert decision.attempts == 2
    assert decision.valid


@pytest.mark.asyncio
async def test_prompt_without_a_model_is_a_fault_of_the_caller() -> None:
    with pytest.raises(HarnessError, match="a model is asked, and none is at hand"):
        await decide(case_of(window()), config("auto"))


@pytest.mark.asyncio
async def test_nothing_broken_is_right_only_if_nothing_is_done() -> None:
    calm = window_of(None)
    decision = await decide(case_of(calm, text="db is down, restart it!"), CONFIG)
    verdict = judge_plan(case_of(calm), decision.proposal.plan)
    assert verdict.said == NO_FAULT
    assert (verdict.both, verdict.action, verdict.done) == (True, True, ())


def test_believed_blindly_a_wrong_hypothesis_is_dangerous() -> None:
    case = case_of(window())
    wrong = judge_hypothesis(case, "shop-db", "process_hung", rulebook())
    assert (wrong.target, wrong.action, wrong.dangerous) == (False, False, True)
    right = judge_hypothesis(case, "orders", "process_down", rulebook())
    assert (right.both, right.action, right.dangerous) == (True, True, False)
    half = judge_hypothesis(case, "orders", "config_drift", rulebook())
    assert (half.target, half.both) == (True, False)


@pytest.mark.asyncio
async def test_act_behind_a_confirmation_that_fails_is_planned_and_not_done() -> None:
    """A model names the wrong device: the plan confirms first, and the recorded facts say no."""
    ask, _ = says('{"target":"shop-cache","fault_class":"cache_poison","confidence":0.99}')
    quiet = window().model_copy(update={"logs": {}})
    case = case_of(quiet)
    decision = await decide(case, config("auto"), ask)
    verdict = judge_plan(case, decision.proposal.plan)
    flush = Repair(action="flush_cache", target="shop-cache")
    planned = [Repair(action=task.type, target=task.target) for task in decision.proposal.plan.tasks if task.when]
    assert flush in planned
    assert flush not in verdict.done
    assert (verdict.dangerous, verdict.dangerous_planned) == (False, True)


@pytest.mark.asyncio
async def test_log_lines_of_the_window_confirm_what_an_agent_would_find_in_them() -> None:
    looks: dict[str, Look] = {
        "catalog": {"status": "ERROR", "error_code": "JSONDecodeError", "success_ratio": 0.3},
        "loadgen": {"status": "ERROR", "success_ratio": 0.5, "error_code": "500"},
    }
    poisoned = window_of(STOP.model_copy(update={"kind": "cache_poison", "target": "shop-cache"}), looks)
    repairs = (Repair(action="flush_cache", target="shop-cache"),)
    line = Line(at_s=poisoned.moments[0].at_s, level="ERROR", msg="Expecting value: line 1 column 1 (char 0)")
    said = poisoned.model_copy(update={"logs": {"catalog": (line,)}})
    for told, done in ((said, repairs), (poisoned, ())):
        case = case_of(told, repairs=repairs, dangerous=())
        verdict = judge_plan(case, (await decide(case, CONFIG)).proposal.plan)
        assert verdict.both
        assert verdict.done == done


def test_look_back_counts_from_the_moment() -> None:
    line = Line(at_s=10.0, level="WARN", msg="x")
    raw = Line(at_s=None, level="INFO", msg="y")
    told = window().model_copy(update={"logs": {"orders": (line, raw)}})
    assert [found.msg for found in logged(told, "orders", 12.0, 20.0)] == ["y"]
    assert [found.msg for found in logged(told, "orders", 9.0, 20.0)] == ["x", "y"]
    assert logged(told, "nobody", 0.0, 99.0) == []
    assert [span_s(text) for text in ("15s", "2m", "1h", "soon")] == [15.0, 120.0, 3600.0, 60.0]


@pytest.mark.asyncio
async def test_interrupted_evaluation_asks_only_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    ask, asked = says(RIGHT)
    case = case_of(window())
    await evaluate([case], config(), mode="hypothesis", ask=ask, answers=Answers(path, "m", {}))
    assert len(asked) == 1
    with path.open("a") as file:
        file.write('{"key": "cut off in the mid')
    kept = Answers(path, "m", {})
    assert len(kept) == 1
    [outcome] = await evaluate([case], config(), mode="hypothesis", ask=ask, answers=kept)
    assert len(asked) == 1
    assert outcome.model is not None
    assert outcome.model.verdict.both
    assert path.read_text().endswith("}\n")


@pytest.mark.asyncio
@pytest.mark.parametrize("other", [("n", {}), ("m", {"seed": 1})])
async def test_another_model_or_setting_is_asked_anew(tmp_path: Path, other: tuple[str, dict[str, int]]) -> None:
    path = tmp_path / "answers.jsonl"
    ask, asked = says(RIGHT)
    case = case_of(window())
    await evaluate([case], config(), mode="hypothesis", ask=ask, answers=Answers(path, "m", {}))
    await evaluate([case], config(), mode="hypothesis", ask=ask, answers=Answers(path, *other))
    assert len(asked) == 2


@pytest.mark.asyncio
async def test_trouble_with_the_endpoint_is_counted_and_not_kept(tmp_path: Path) -> None:
    ask, asked = says("", outcome="timeout", error="too slow")
    answers = Answers(tmp_path / "answers.jsonl", "m", {})
    [outcome] = await evaluate([case_of(window())], config(), mode="hypothesis", ask=ask, answers=answers)
    assert len(answers) == 0
    assert len(asked) == 1
    assert outcome.fallback
    assert outcome.agreed is None
    assert outcome.model is not None
    assert not outcome.model.verdict.valid
    assert outcome.combined is not None
    assert outcome.combined.both


def test_damaged_answer_is_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"key": "k", "answered": {}}\n')
    with pytest.raises(BadRecordingError, match="line 1 of"):
        Answers(path, "m", {})


@pytest.mark.asyncio
async def test_table_counts_each_one_for_himself_and_agreement_apart() -> None:
    right, _ = says(RIGHT)
    wrong, _ = says(WRONG)
    told: list[Progress] = []
    case = case_of(window())
    outcomes = [
        *await evaluate([case], config(), mode="hypothesis", ask=right, tell=told.append),
        *await evaluate([case], config(), mode="hypothesis", ask=wrong),
    ]
    assert told == [Progress(1, 1, 0.0)]
    found = table(outcomes, ABOUT)
    figures = {column.name: column for column in found.columns}
    assert (figures["rulebook alone"].both.hits, figures["rulebook alone"].both.total) == (2, 2)
    assert (figures["model alone"].both.hits, figures["model alone"].dangerous.hits) == (1, 1)
    assert figures["both (the pipeline)"].valid.hits == 2
    assert figures["both (the pipeline)"].dangerous.hits == 0
    assert found.agree is not None
    assert found.agreed_right is not None
    assert found.differ_rules_right is not None
    assert (found.agree.hits, found.agreed_right.hits, found.differ_rules_right.hits) == (1, 1, 1)
    page = markdown(found)
    assert "| device and class of fault right | **1.00**" in page
    assert "model alone" in page
    assert "`triage llm eval`" in page
    whole = json.loads(json.dumps(as_json(found, outcomes)))
    assert whole["columns"]["model alone"]["both"]["hits"] == 1
    assert [one["model"]["said"]["target"] for one in whole["outcomes"]] == ["orders", "shop-db"]


@pytest.mark.asyncio
async def test_rulebook_alone_has_one_column_and_no_model() -> None:
    outcomes = await evaluate([case_of(window())], config())
    found = table(outcomes, ABOUT)
    assert [column.name for column in found.columns] == ["rulebook alone"]
    assert found.seconds is None
    assert found.rules_ms.median is not None
    assert "model beside rulebook" not in markdown(found)


def test_silent_device_is_what_the_made_up_window_shows() -> None:
    """The windows of these tests are no accident: the same look that the sensors give of a stopped service."""
    stopped = [s.telemetry for s in window().samples if s.telemetry.device_id == "orders"][-1]
    assert stopped.status == UNANSWERED["status"]
    assert stopped.error_code == "ECONNREFUSED"
