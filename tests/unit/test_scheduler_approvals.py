"""An approval that nobody gives: the task ends as not approved, and the incident goes on (docs/adr/0018)."""

from __future__ import annotations

from typing import Any

import pytest

from broker.contracts.control import ApprovalDenied, ApprovalExpired, ApprovalGranted, ApprovalRequested, Timer
from broker.contracts.incident import IncidentClosed
from broker.contracts.machine import CancelTimer
from broker.contracts.plan import PlanAccepted, PlanRejected, PlanRequested
from broker.contracts.task import Task
from scheduler_svc.core.config import SchedulerConfig
from scheduler_svc.core.execution import binding
from scheduler_svc.core.machine import SchedulerMachine
from scheduler_svc.core.state import SchedulerState
from tests.support.scheduler import (
    HALT,
    INCIDENT,
    RESUME,
    START_US,
    Story,
    config,
    plan,
    proposed,
    reported,
    result,
    task,
    verified,
)

BOUND = binding("restart", "orders", {})
GRANTED = ApprovalGranted(incident=INCIDENT, task_id="v1-t0", binding=BOUND)
DENIED = ApprovalDenied(incident=INCIDENT, task_id="v1-t0", binding=BOUND, reason="peak hours")


def waiting(*types: str, **changes: Any) -> tuple[Story, list[Timer]]:
    """Return a story whose tasks wait for a person, `restart` unless said otherwise, and the timers of that."""
    story = Story(config(**{"auto_approve": "safe", "approval_timeout_s": 60.0, "remembers_failed": True, **changes}))
    story.tell(reported())
    story.accept(plan(*(task(f"t{n}", type_) for n, type_ in enumerate(types or ("restart",)))))
    return story, story.timers("approval-timeout")


def test_request_says_how_long_it_waits_and_a_timer_stands_beside_it() -> None:
    story, [timer] = waiting()
    [asked] = story.messages(ApprovalRequested)
    assert asked.wait_s == 60.0
    assert timer.due_us - story.now_us == 60_000_000
    assert timer.task_id == "v1-t0"


def test_nobody_decides_and_the_task_is_not_carried_out_but_planned_anew_with_the_reason() -> None:
    story, [timer] = waiting()
    story.fire(timer)
    [expired] = story.messages(ApprovalExpired)
    assert (expired.task_id, expired.binding, expired.action, expired.wait_s) == ("v1-t0", BOUND, "restart", 60.0)
    [request] = story.messages(PlanRequested)
    assert request.version == 2
    assert request.failures == ("v1-t0, restart on orders, was not approved: nobody decided within 60 s",)
    assert not story.all_messages(Task)


def test_same_plan_is_not_put_to_an_empty_room_again() -> None:
    story, [timer] = waiting()
    story.fire(timer)
    story.tell(proposed(plan(task("t0", "restart"), version=2, number=2)), after_s=10.0)
    [rejected] = story.messages(PlanRejected)
    assert [reason.code for reason in rejected.reasons] == ["failed_before"]


@pytest.mark.parametrize("word", [GRANTED, DENIED])
def test_word_in_time_takes_the_timer_back(word: ApprovalGranted | ApprovalDenied) -> None:
    story, [timer] = waiting()
    story.tell(word, after_s=59.0)
    assert CancelTimer("scheduler", timer.timer_id) in story.said
    assert story.fire(timer) == ()
    assert not story.all_messages(ApprovalExpired)


@pytest.mark.parametrize("word", [GRANTED, DENIED])
def test_word_that_comes_too_late_is_counted_and_changes_nothing(word: ApprovalGranted | ApprovalDenied) -> None:
    story, [timer] = waiting()
    story.fire(timer)
    assert story.tell(word) == ()
    assert story.incident.ignored.approvals == 1
    assert not story.all_messages(Task)


def test_granted_task_that_fails_is_tried_again_without_another_wait() -> None:
    story, _ = waiting()
    story.tell(GRANTED)
    [order] = story.messages(Task)
    story.tell(result(order, "FAIL", "boom"))
    story.fire(story.timers("retry")[0])
    assert [one.attempt for one in story.messages(Task)] == [2]
    assert len(story.all_messages(ApprovalRequested)) == 1


def test_first_expiry_drops_the_others_that_wait_and_takes_their_timers_back() -> None:
    story, [first, second] = waiting("restart", "reconcile")
    story.fire(first)
    assert CancelTimer("scheduler", second.timer_id) in story.said
    assert [one.task_id for one in story.all_messages(ApprovalExpired)] == ["v1-t0"]
    assert story.incident.unapproved == ("v1-t0",)


def test_what_runs_beside_it_ends_first_and_then_the_replan_follows() -> None:
    story, [timer] = waiting("restart", "start")
    [start] = story.messages(Task)
    story.fire(timer)
    assert story.messages(ApprovalExpired)
    assert not story.messages(PlanRequested)
    story.tell(result(start, changed=True))
    assert story.messages(PlanRequested)


def test_under_a_halt_nothing_expires_and_the_resume_gives_the_whole_time_again() -> None:
    story, [timer] = waiting()
    story.tell(HALT)
    assert story.fire(timer) == ()
    story.tell(RESUME, after_s=500.0)
    [again] = story.timers("approval-timeout")
    assert again.timer_id != timer.timer_id
    assert again.due_us - story.now_us == 60_000_000
    story.fire(again)
    assert story.messages(ApprovalExpired)


def test_halt_that_ends_in_time_takes_the_old_timer_back() -> None:
    story, [timer] = waiting()
    story.tell(HALT)
    story.tell(RESUME, after_s=5.0)
    assert CancelTimer("scheduler", timer.timer_id) in story.said
    assert story.fire(timer) == ()
    story.tell(GRANTED)
    assert story.messages(Task)


def test_denied_under_a_halt_the_other_waiting_task_is_given_no_new_time() -> None:
    story, _ = waiting("restart", "reconcile")
    story.tell(HALT)
    story.tell(DENIED)
    story.tell(RESUME)
    assert not story.timers("approval-timeout")
    assert story.messages(PlanRequested)


def test_verdict_of_an_incident_given_up_says_first_what_nobody_decided_on() -> None:
    story, [timer] = waiting(max_plan_versions=1)
    story.fire(timer)
    [closed] = story.messages(IncidentClosed)
    assert (closed.verdict, closed.unapproved) == ("unresolved", ("v1-t0",))
    assert closed.reason.startswith("nobody decided in time on v1-t0; ")


def test_incident_that_another_plan_repairs_is_verified_and_names_what_was_not_approved() -> None:
    story, [timer] = waiting()
    story.fire(timer)
    story.tell(proposed(plan(task("t0", "start"), version=2, number=2)), after_s=10.0)
    [order] = story.messages(Task)
    story.tell(result(order, changed=True))
    story.tell(verified(2, ok=True))
    [closed] = story.messages(IncidentClosed)
    assert (closed.verdict, closed.unapproved) == ("verified", ("v1-t0",))
    assert not closed.reason.startswith("nobody")


def test_incident_ends_though_nobody_ever_comes() -> None:
    story, [timer] = waiting()
    others = (("reconcile", "orders"), ("reconcile", "shop-db"), ("restart", "shop-db"))
    for version, (action, target) in enumerate(others, start=2):
        story.fire(timer)
        story.tell(proposed(plan(task("t0", action, target), version=version, number=version)), after_s=10.0)
        assert story.messages(PlanAccepted)
        [timer] = story.timers("approval-timeout")
    story.fire(timer)
    [closed] = story.all_messages(IncidentClosed)
    assert closed.unapproved == ("v1-t0", "v2-t0", "v3-t0", "v4-t0")
    assert story.now_us - START_US == (4 * 60 + 3 * 10) * 1_000_000


def test_machine_without_the_limit_in_its_configuration_says_what_it_said_before() -> None:
    story, timers = waiting(approval_timeout_s=0.0)
    assert timers == []
    [asked] = story.messages(ApprovalRequested)
    assert b"wait_s" not in asked.encode()
    story.tell(DENIED)
    story.fire(story.timers("planning-timeout")[0])
    assert not story.all_messages(ApprovalExpired)


def test_configuration_of_an_old_recording_has_no_limit() -> None:
    text = config().encode().decode()
    assert '"approval_timeout_s":0.0,' in text
    old = SchedulerConfig.decode(text.replace('"approval_timeout_s":0.0,', "").encode())
    assert old.approval_timeout_s == 0.0


def test_state_from_before_the_limit_is_still_understood_and_goes_on() -> None:
    story, _ = waiting(approval_timeout_s=0.0)
    text = story.state.encode().decode()
    assert '"unapproved":[],' in text
    old = SchedulerState.decode(text.replace('"unapproved":[],', "").encode())
    assert old == story.state


def test_task_that_waited_before_the_limit_came_has_one_after_the_next_resume() -> None:
    story, _ = waiting(approval_timeout_s=0.0)
    story.machine = SchedulerMachine(config(auto_approve="safe", approval_timeout_s=60.0))
    story.state = SchedulerState.decode(story.state.encode())
    story.tell(HALT)
    story.tell(RESUME)
    assert len(story.timers("approval-timeout")) == 1
