"""Approvals as the operator meets them: listed with the time left, given, too late, and in the story."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from broker.contracts.base import Contract
from broker.contracts.control import ApprovalDenied, ApprovalExpired, ApprovalGranted, ApprovalRequested, Halt, Resume
from broker.contracts.incident import IncidentClosed
from broker.contracts.machine import Event
from broker.contracts.plan import PlanRequested
from broker.subjects import Role
from harness.approvals import wishes
from harness.cli.live import lines
from harness.story import Story
from tests.support.cli import Cli, cli_of
from tests.support.stage import Stage, staged

BOUND = "a" * 64
SECOND_US = 1_000_000


def asked(task_id: str = "v1-t2", wait_s: float = 300.0) -> ApprovalRequested:
    return ApprovalRequested(
        incident="inc-1",
        task_id=task_id,
        binding=BOUND,
        action="restart",
        target="orders",
        why="hang of orders is believed",
        wait_s=wait_s,
    )


def expired(task_id: str = "v1-t2") -> ApprovalExpired:
    return ApprovalExpired(
        incident="inc-1", task_id=task_id, binding=BOUND, action="restart", target="orders", wait_s=300.0
    )


GRANTED = ApprovalGranted(incident="inc-1", task_id="v1-t2", binding=BOUND)
DENIED = ApprovalDenied(incident="inc-1", task_id="v1-t2", binding=BOUND, reason="peak hours")
CLOSED = IncidentClosed(incident="inc-1", verdict="unresolved", reason="gave up", plan_version=1, actions=0)
REPLANNED = PlanRequested(incident="inc-1", version=2, attempt=1, text="x")


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return staged(monkeypatch)


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return cli_of(tmp_path / "home", capsys, monkeypatch)


def test_waiting_task_is_listed_with_the_time_left_and_how_it_is_decided_on(cli: Cli, stage: Stage) -> None:
    stage.say("scheduler", asked())
    said = cli("approvals").out
    assert "inc-1 v1-t2: restart of orders; hang of orders is believed" in said
    assert "triage approve inc-1 v1-t2" in said
    assert "left, then it counts as not approved" in said
    [row] = json.loads(cli("approvals", "--json").out)
    assert (row["task_id"], row["wait_s"]) == ("v1-t2", 300.0)
    assert 200.0 < row["left_s"] <= 300.0


def test_request_of_a_scheduler_that_waits_for_ever_has_no_limit(cli: Cli, stage: Stage) -> None:
    stage.say("scheduler", asked(wait_s=0.0))
    assert "no limit now" in cli("approvals").out
    [row] = json.loads(cli("approvals", "--json").out)
    assert row["left_s"] is None


def test_word_is_bound_to_what_is_asked_for(cli: Cli, stage: Stage) -> None:
    stage.say("scheduler", asked())
    assert cli("approve", "inc-1", "v1-t2").code == 0
    assert stage.said("triage.approval.inc-1.v1-t2.granted", ApprovalGranted) == [GRANTED]
    assert "nothing waits for approval" in cli("approvals").out


@pytest.mark.parametrize("word", ["approve", "deny"])
@pytest.mark.parametrize(
    ("role", "end", "why"),
    [
        ("scheduler", expired(), "was not approved in time"),
        ("operator", DENIED, "was denied already"),
        ("operator", GRANTED, "was approved already"),
        ("scheduler", CLOSED, "went on without it"),
        ("scheduler", REPLANNED, "went on without it"),
    ],
    ids=["expired", "denied", "approved", "closed", "replanned"],
)
def test_word_that_comes_too_late_is_refused_and_not_said(
    cli: Cli, stage: Stage, word: str, role: Role, end: Contract, why: str
) -> None:
    stage.say("scheduler", asked())
    stage.say(role, end)
    before = len(stage.journal.log)
    cli(word, "inc-1", "v1-t2").refused(4, "v1-t2 of inc-1", why)
    assert len(stage.journal.log) == before


def test_word_on_a_task_that_asks_nothing_is_refused(cli: Cli, stage: Stage) -> None:
    stage.say("scheduler", asked())
    cli("approve", "inc-1", "v1-t9").refused(3, "no task v1-t9 of inc-1 waits for approval", "triage approvals")
    cli("approve", "inc-2", "v1-t2").refused(3, "no task v1-t2 of inc-2 waits for approval")


# the projection


def standing(*said: tuple[float, Contract]) -> tuple[str, int | None]:
    """Return what became of the only request, and when it expires in seconds; messages come with their seconds."""
    events = [
        Event(n, round(at * SECOND_US), one.subject(), one, "test-1") for n, (at, one) in enumerate(said, start=1)
    ]
    [wish] = wishes(events)
    return wish.standing, None if wish.due_us is None else wish.due_us // SECOND_US


def test_request_waits_until_its_time_is_over() -> None:
    assert standing((10, asked())) == ("waiting", 310)


def test_time_stands_still_under_a_halt_and_the_resume_gives_the_whole_of_it_again() -> None:
    halt, resume = Halt(reason="look"), Resume(reason="go")
    assert standing((10, asked()), (20, halt)) == ("waiting", None)
    assert standing((10, asked()), (20, halt), (900, resume)) == ("waiting", 1_200)
    assert standing((10, asked()), (20, resume)) == ("waiting", 310), "nothing was halted"


def test_word_for_something_else_decides_nothing() -> None:
    other = GRANTED.model_copy(update={"binding": "b" * 64})
    assert standing((10, asked()), (20, other)) == ("waiting", 310)


def test_first_end_counts() -> None:
    assert standing((10, asked()), (310, expired()), (311, GRANTED)) == ("expired", None)


# the story


def told(*messages: Contract) -> Story:
    story = Story("inc-1")
    for n, message in enumerate(messages, start=1):
        story.see(Event(n, n * SECOND_US, message.subject(), message, "test-1"))
    return story


def test_waiting_task_stands_in_the_view_with_how_it_is_decided_on() -> None:
    shown = lines(told(asked()))
    assert any("v1-t2 waits: restart of orders" in line for line in shown)
    assert any("triage approve inc-1 v1-t2" in line and "5 min" in line for line in shown)
    endless = lines(told(asked(wait_s=0.0)))
    assert not any("not approved" in line for line in endless)


@pytest.mark.parametrize(
    ("end", "note"),
    [
        (expired(), "nobody decided on v1-t2 (restart of orders) within 300 s: not approved"),
        (DENIED, "v1-t2 (restart of orders) was denied: peak hours"),
        (GRANTED, "v1-t2 (restart of orders) was approved"),
    ],
)
def test_what_became_of_it_is_noted(end: Contract, note: str) -> None:
    story = told(asked(), end)
    assert (story.approvals, story.notes) == ({}, [note])


@pytest.mark.parametrize("end", [REPLANNED, CLOSED])
def test_request_of_a_plan_that_is_over_is_shown_no_more(end: Contract) -> None:
    assert told(asked(), end).approvals == {}
