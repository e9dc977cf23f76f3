"""Clarifying questions as the operator meets them: listed, answered, refused where nothing is asked, in the story."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from broker.contracts.base import Contract
from broker.contracts.incident import IncidentAnswered, IncidentAsked, IncidentClosed, IncidentReported
from broker.contracts.machine import Event
from broker.contracts.plan import Plan, PlanAccepted, PlanProposed, PlanRequested
from broker.memory import MemoryBroker
from harness.cli.live import lines
from harness.story import Story
from tests.support.cli import Cli, cli_of
from tests.support.plans import plan, task
from tests.support.signing import signer
from tests.support.stage import Stage, staged

PLAN: Plan = plan(task("t1"))


def asked(incident: str = "inc-1", n: int = 1, wait_s: float = 60.0) -> IncidentAsked:
    return IncidentAsked(
        incident=incident,
        n=n,
        question=f"Was anything deployed ({n})?",
        version=1,
        attempt=n,
        plan_id=PLAN.plan_id,
        wait_s=wait_s,
    )


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return staged(monkeypatch)


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return cli_of(tmp_path / "home", capsys, monkeypatch)


def test_question_is_listed_with_how_it_is_answered(cli: Cli, stage: Stage) -> None:
    stage.say("scheduler", asked())
    said = cli("questions")
    assert "inc-1 asks: Was anything deployed (1)?" in said.out
    assert "triage answer inc-1" in said.out
    [row] = json.loads(cli("questions", "--json").out)
    assert (row["incident"], row["n"], row["wait_s"]) == ("inc-1", 1, 60.0)


def test_answer_goes_to_the_newest_open_question(cli: Cli, stage: Stage) -> None:
    for n in (1, 2):
        stage.say("scheduler", asked(n=n))
    stage.say("operator", IncidentAnswered(incident="inc-1", n=1, text="no"))
    assert cli("answer", "inc-1", "yes, orders").code == 0
    said = stage.said("triage.incident.inc-1.answered.2", IncidentAnswered)
    assert [one.text for one in said] == ["yes, orders"]
    assert "nobody asks anything" in cli("questions").out


def test_answer_says_in_json_what_it_answered(cli: Cli, stage: Stage) -> None:
    stage.say("scheduler", asked())
    value = json.loads(cli("answer", "inc-1", "yes", "--json").out)
    assert value == {"incident": "inc-1", "n": 1, "question": "Was anything deployed (1)?", "answer": "yes"}


def test_answer_where_nothing_is_asked_is_refused(cli: Cli, stage: Stage) -> None:
    cli("answer", "inc-1", "yes").refused(3, "inc-1 asks nothing", "triage questions")


def test_question_whose_time_is_over_or_whose_incident_has_ended_is_not_open(cli: Cli, stage: Stage) -> None:
    stage.say("scheduler", asked(wait_s=0.001))
    stage.say("scheduler", asked("inc-2"))
    closed = IncidentClosed(incident="inc-2", verdict="verified", reason="good", plan_version=1, actions=1)
    stage.say("scheduler", closed)
    time.sleep(0.002)
    assert json.loads(cli("questions", "--json").out) == []
    cli("answer", "inc-2", "yes").refused(3, "asks nothing")


def test_question_that_another_role_has_forged_is_none(cli: Cli, stage: Stage) -> None:
    async def forge() -> None:
        broker = MemoryBroker(stage.journal, "scheduler-1", "scheduler")
        frame = signer("log", journal=stage.journal)
        report = IncidentReported(incident="inc-1", text="x", source="monitor")
        with pytest.raises(Exception, match="log"):
            frame.seal(asked())
        forged = signer("monitor", journal=stage.journal).seal(report)
        await broker.publish(asked().subject(), forged)

    asyncio.run(forge())
    cli("answer", "inc-1", "yes").refused(3, "asks nothing")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("answer", "INC 1", "yes"), "incident"),
        (("answer", "inc-1", " "), "empty"),
        (("answer", "inc-1", "a\x1bb"), "U+001B"),
    ],
)
def test_words_that_cannot_be_taken_are_refused_before_anything_is_connected_to(
    cli: Cli, arguments: tuple[str, ...], word: str
) -> None:
    cli(*arguments).refused(4, "the answer was refused", word)


def test_too_long_an_answer_is_refused(cli: Cli) -> None:
    cli("answer", "inc-1", "x" * 9_000).refused(4, "the answer was refused", "8192")


# the story


def told(*messages: Contract) -> Story:
    story = Story("inc-1")
    for n, message in enumerate(messages, start=1):
        story.see(Event(n, n * 1_000_000, message.subject(), message, "test-1"))
    return story


def test_open_question_stands_in_the_view_with_how_it_is_answered_until_it_is() -> None:
    story = told(asked())
    shown = lines(story)
    assert any("Was anything deployed (1)?" in line for line in shown)
    assert any("triage answer inc-1" in line and "60.0 s" in line for line in shown)
    after = told(asked(), IncidentAnswered(incident="inc-1", n=1, text="yes"))
    assert after.question is None
    assert after.notes == ["asked: Was anything deployed (1)?", "answered: yes"]


def test_question_that_nobody_answered_is_noted() -> None:
    story = told(asked(), PlanRequested(incident="inc-1", version=1, attempt=2, text="x", rulebook_only=True))
    assert story.question is None
    assert story.notes == ["asked, and not answered in time: Was anything deployed (1)?"]


def test_plan_that_was_mended_is_noted_with_what_the_operator_can_do() -> None:
    head = {"incident": "inc-1", "version": 1, "attempt": 1}
    proposal = PlanProposed.model_validate(
        {**head, "plan": PLAN, "origin": "llm", "decision_tag": "LLM_DECISION", "mended": True}
    )
    story = told(proposal, PlanAccepted.model_validate({**head, "plan_id": PLAN.plan_id, "order": (("t1",),)}))
    assert any("triage approve" in note for note in story.notes)
