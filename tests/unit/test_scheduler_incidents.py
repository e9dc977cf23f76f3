"""Verification, replans, merges, verdicts, the kill switch and approvals."""

from __future__ import annotations

from hashlib import sha256

import pytest

from broker.contracts.control import ApprovalDenied, ApprovalGranted, ApprovalRequested
from broker.contracts.incident import IncidentClosed
from broker.contracts.machine import CancelTimer, Event
from broker.contracts.monitor import Deviation
from broker.contracts.plan import PlanAccepted, PlanExecuted, PlanRequested
from broker.contracts.task import Task
from scheduler_svc.core.execution import binding
from scheduler_svc.core.state import MAX_CLOSED, MAX_DEVIATIONS
from tests.support.scheduler import (
    HALT,
    INCIDENT,
    LOOK_ACT,
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


def carried_out(version: int = 1, story: Story | None = None, fault_class: str = "config_drift") -> Story:
    """Return a story whose plan has been carried out with one restart; the check runs."""
    if story is None:
        story = Story()
        story.tell(reported())
    act = task("t1", "restart" if fault_class != "none" else "check_config")
    [order] = story.accept(plan(act, version=version, number=version, fault_class=fault_class))
    story.tell(result(order, changed=fault_class != "none"))
    assert story.messages(PlanExecuted)
    return story


def test_a_good_check_closes_as_verified_and_takes_the_timer_back() -> None:
    story = carried_out()
    [timer] = story.timers("verify-timeout")
    story.tell(verified(1, ok=True))
    [closed] = story.messages(IncidentClosed)
    assert closed.verdict == "verified"
    assert story.said[1:] == (CancelTimer("scheduler", timer.timer_id),)


def test_no_fault_believed_nothing_done_and_a_good_check_is_no_fault() -> None:
    story = carried_out(fault_class="none")
    story.tell(verified(1, ok=True))
    [closed] = story.messages(IncidentClosed)
    assert (closed.verdict, closed.actions) == ("no_fault", 0)


def test_after_an_action_in_an_earlier_plan_it_is_not_no_fault() -> None:
    story = carried_out()
    story.tell(verified(1, ok=False))
    carried_out(2, story, fault_class="none")
    story.tell(verified(2, ok=True, n=2))
    [closed] = story.messages(IncidentClosed)
    assert (closed.verdict, closed.actions, closed.plan_version) == ("verified", 1, 2)


def test_a_bad_check_asks_for_the_next_version_with_what_was_tried() -> None:
    story = carried_out()
    story.tell(verified(1, ok=False))
    [request] = story.messages(PlanRequested)
    assert (request.version, request.attempt) == (2, 1)
    assert request.failures == ("check of plan version 1 failed: orders still fails",)
    assert [(one.hypothesis.target, one.outcome) for one in request.tried] == [("orders", request.failures[0])]


def test_no_verdict_in_time_is_a_bad_check() -> None:
    story = carried_out()
    story.fire(story.timers("verify-timeout")[0])
    [request] = story.messages(PlanRequested)
    assert request.failures == ("check of plan version 1 failed: no verdict within 40 s",)


def test_a_verdict_on_another_version_is_not_taken() -> None:
    story = carried_out()
    story.tell(verified(1, ok=False))
    carried_out(2, story)
    assert story.tell(verified(1, ok=True, n=2)) == ()
    assert story.state.active is not None


def test_a_verdict_before_the_plan_has_ended_is_not_taken() -> None:
    story = Story()
    story.tell(reported())
    story.accept(plan(*LOOK_ACT))
    assert story.tell(verified(1, ok=True)) == ()


def test_after_four_plans_the_incident_is_given_up() -> None:
    story: Story | None = None
    for version in (1, 2, 3, 4):
        story = carried_out(version, story)
        story.now_us += 6_000_000
        story.tell(verified(version, ok=False, n=version))
    assert story is not None
    [closed] = story.messages(IncidentClosed)
    assert (closed.verdict, closed.plan_version, closed.actions) == ("unresolved", 4, 4)
    assert closed.reason == "4 plans did not help; last: check of plan version 4 failed: orders still fails"
    assert not story.messages(PlanRequested)


def test_a_report_while_another_is_open_is_merged() -> None:
    story = carried_out()
    said = story.tell(reported("inc-2"))
    [closed] = story.messages(IncidentClosed)
    assert len(said) == 1
    assert (closed.incident, closed.verdict, closed.merged_into, closed.actions) == ("inc-2", "merged", INCIDENT, 0)
    assert story.incident.incident == INCIDENT
    assert story.tell(reported("inc-2")) == (), "merged is closed"


def test_after_the_end_the_next_report_opens_a_new_incident() -> None:
    story = carried_out()
    story.tell(verified(1, ok=True))
    story.tell(reported("inc-2"))
    assert [(one.incident, one.version) for one in story.messages(PlanRequested)] == [("inc-2", 1)]


def test_a_closed_incident_never_opens_again() -> None:
    story = carried_out()
    story.tell(verified(1, ok=True))
    assert story.tell(reported()) == ()
    assert story.tell(proposed(plan(*LOOK_ACT, version=2))) == ()
    assert story.state.active is None


def test_only_the_last_closed_incidents_are_remembered() -> None:
    story = Story()
    story.tell(reported())
    for number in range(MAX_CLOSED + 10):
        story.tell(reported(f"other-{number}"))
    assert len(story.state.closed) == MAX_CLOSED
    assert story.state.closed[-1].incident == f"other-{MAX_CLOSED + 9}"


def deviation(n: int, kind: str = "service_down") -> Deviation:
    return Deviation.model_validate(
        {
            "incident": INCIDENT,
            "n": n,
            "kind": kind,
            "device": "orders",
            "t_trigger_us": START_US,
            "detail": f"no answer {n}" + "!" * 5_000,
        }
    )


def test_deviations_are_kept_for_the_replan_bounded_and_without_what_is_known_already() -> None:
    story = Story()
    story.tell(reported())
    [order] = story.accept(plan(*LOOK_ACT))
    story.tell(deviation(1, "task_failed"))
    for n in range(2, 30):
        story.tell(deviation(n))
        story.tell(deviation(n))
    story.tell(result(order, "FAIL", "refused"))
    [request] = story.messages(PlanRequested)
    assert len(request.failures) == 1 + MAX_DEVIATIONS
    assert request.failures[-1].startswith("service_down on orders: no answer 29!")
    assert all(len(sentence) <= 300 for sentence in request.failures)


def test_a_report_of_the_longest_text_is_asked_with_all_of_it() -> None:
    story = Story()
    story.tell(reported(text="é" * 8_192))
    [request] = story.messages(PlanRequested)
    assert len(request.text) == 8_192


def test_while_halted_nothing_goes_out_and_on_resume_what_is_ready_does() -> None:
    story = Story()
    story.tell(reported())
    [look] = story.accept(plan(*LOOK_ACT))
    story.tell(HALT)
    story.tell(result(look, drifted=True))
    assert not story.messages(Task)
    story.tell(RESUME)
    assert [order.task_id for order in story.messages(Task)] == ["v1-t2"]


def test_a_time_out_during_the_halt_fails_nothing_and_the_resume_sets_it_anew() -> None:
    story = Story()
    story.tell(reported())
    story.accept(plan(*LOOK_ACT))
    [timer] = story.timers()
    story.tell(HALT)
    assert story.fire(timer) == ()
    story.tell(RESUME, after_s=100)
    [again] = story.timers("task-timeout")
    assert again.timer_id != timer.timer_id
    assert again.due_us == story.now_us + 21_000_000
    story.fire(again)
    assert story.timers("retry"), "after the resume a time-out counts again"


def test_the_resume_gives_what_runs_its_full_time_again() -> None:
    story = Story()
    story.tell(reported())
    story.accept(plan(*LOOK_ACT))
    [timer] = story.timers()
    story.tell(HALT, after_s=5)
    story.tell(RESUME, after_s=10)
    assert story.said[-1] == CancelTimer("scheduler", timer.timer_id)
    [again] = story.timers()
    assert again.due_us == story.now_us + 21_000_000
    assert story.fire(timer) == ()
    [order] = story.all_messages(Task)
    said = story.tell(result(order, drifted=True))
    assert said[-1] == CancelTimer("scheduler", again.timer_id), "the result takes back only the timer its order names"


def test_a_retry_that_is_due_while_halted_goes_out_on_resume() -> None:
    story = Story()
    story.tell(reported())
    [look] = story.accept(plan(*LOOK_ACT))
    story.tell(result(look, "FAIL", "boom"))
    [wait] = story.timers("retry")
    story.tell(HALT)
    assert story.fire(wait) == ()
    story.tell(RESUME)
    assert [order.attempt for order in story.messages(Task)] == [2]


def test_a_plan_that_ended_while_halted_is_executed_on_resume() -> None:
    story = Story()
    story.tell(reported())
    [order] = story.accept(plan(task("t1")))
    story.tell(HALT)
    story.tell(result(order))
    assert not story.messages(PlanExecuted)
    story.tell(RESUME)
    assert story.messages(PlanExecuted)


def test_a_failure_for_good_while_halted_is_replanned_on_resume() -> None:
    story = Story()
    story.tell(reported())
    [order] = story.accept(plan(task("t1")))
    story.tell(HALT)
    story.tell(result(order, "FAIL", "refused"))
    assert not story.messages(PlanRequested)
    story.tell(RESUME)
    assert [one.version for one in story.messages(PlanRequested)] == [2]


def test_halt_and_resume_twice_or_without_each_other_change_nothing() -> None:
    story = Story()
    assert story.tell(RESUME) == ()
    story.tell(reported())
    story.accept(plan(*LOOK_ACT))
    assert story.tell(RESUME) == ()
    assert story.tell(HALT) == ()
    assert story.tell(HALT) == ()
    assert story.state.halted


def test_a_report_while_halted_is_planned_but_not_carried_out() -> None:
    story = Story()
    story.tell(HALT)
    story.tell(reported())
    assert story.messages(PlanRequested)
    story.tell(proposed(plan(*LOOK_ACT)))
    assert not story.messages(PlanAccepted)


def careful(*tasks: str) -> Story:
    """Return a story in which risky tasks wait for a person, with a plan of these types proposed."""
    story = Story(config(auto_approve="safe"))
    story.tell(reported())
    story.accept(plan(*(task(f"t{n}", type_) for n, type_ in enumerate(tasks))))
    return story


def granted(task_id: str, bound: str) -> ApprovalGranted:
    return ApprovalGranted(incident=INCIDENT, task_id=task_id, binding=bound)


def test_a_risky_task_waits_for_a_person_and_a_safe_one_does_not() -> None:
    story = careful("restart", "start")
    assert [order.type for order in story.messages(Task)] == ["start"]
    assert story.messages(ApprovalRequested) == [
        ApprovalRequested(
            incident=INCIDENT,
            task_id="v1-t0",
            binding=binding("restart", "orders", {}),
            action="restart",
            target="orders",
            why="config_drift of orders is believed, confidence 0.80",
        )
    ]


def test_a_binding_is_the_sha256_of_canonical_json() -> None:
    assert binding("restart", "orders", {"b": 1, "a": True}) == binding("restart", "orders", {"a": True, "b": 1})
    canonical = b'{"action":"restart","args":{},"target":"orders"}'
    assert binding("restart", "orders", {}) == sha256(canonical).hexdigest()


def test_a_granted_task_goes_out_also_for_its_retries() -> None:
    story = careful("restart")
    story.tell(granted("v1-t0", binding("restart", "orders", {})))
    [order] = story.messages(Task)
    story.tell(result(order, "FAIL", "boom"))
    story.fire(story.timers("retry")[0])
    assert [one.attempt for one in story.messages(Task)] == [2]
    assert len(story.all_messages(ApprovalRequested)) == 1


@pytest.mark.parametrize(
    ("task_id", "bound"),
    [
        ("v1-t0", binding("restart", "shop-db", {})),
        ("v1-t9", binding("restart", "orders", {})),
    ],
    ids=["of another target", "of another task"],
)
def test_an_approval_of_something_else_is_counted_and_nothing_more(task_id: str, bound: str) -> None:
    story = careful("restart")
    assert story.tell(granted(task_id, bound)) == ()
    assert story.incident.ignored.approvals == 1


def test_an_approval_while_halted_goes_out_on_resume() -> None:
    story = careful("restart")
    story.tell(HALT)
    assert story.tell(granted("v1-t0", binding("restart", "orders", {}))) == ()
    story.tell(RESUME)
    assert story.messages(Task)


def test_a_denied_task_is_replanned_with_the_persons_reason() -> None:
    story = careful("restart")
    word = ApprovalDenied(
        incident=INCIDENT, task_id="v1-t0", binding=binding("restart", "orders", {}), reason="peak hours"
    )
    story.tell(word)
    [request] = story.messages(PlanRequested)
    assert request.failures == ("v1-t0, restart on orders, was denied: peak hours",)
    assert len(request.tried) == 1


def test_denied_in_the_last_version_closes_unresolved() -> None:
    story = Story(config(auto_approve="safe", max_plan_versions=1))
    story.tell(reported())
    story.accept(plan(task("t0", "restart")))
    story.tell(
        ApprovalDenied(incident=INCIDENT, task_id="v1-t0", binding=binding("restart", "orders", {}), reason="no")
    )
    [closed] = story.messages(IncidentClosed)
    assert closed.verdict == "unresolved"


@pytest.mark.parametrize(
    ("subject", "read"),
    [
        ("triage.incident.x.reported", True),
        ("triage.incident.x.answered.1", True),
        ("triage.incident.x.closed", False),
        ("triage.telemetry.orders", False),
        ("triage.plan.x.v1.a1.proposed", True),
        ("triage.plan.x.v1.a1.requested", False),
        ("triage.result.log.x.v1-t1.a1", True),
        ("triage.claim.log.x.v1-t1.a1", False),
        ("triage.verified.x.1", True),
        ("triage.deviation.x.1", True),
        ("triage.approval.x.t.granted", True),
        ("triage.approval.x.t.denied", True),
        ("triage.approval.x.t.requested", False),
        ("triage.control.halt", True),
        ("triage.control.resume", True),
        ("triage.control.rotate", False),
        ("triage.due.scheduler.x", True),
        ("triage.due.monitor.x", False),
        ("triage.timer.scheduler.x", False),
        ("triage", False),
        ("", False),
    ],
)
def test_only_what_it_needs_is_read(subject: str, read: bool) -> None:
    assert Story().machine.reads(subject) is read


def test_a_timer_that_still_waits_is_no_event() -> None:
    story = Story()
    story.tell(reported())
    [timer] = story.timers()
    waiting = Event(9, START_US, timer.subject(), timer, "scheduler-1")
    assert story.machine.step(story.state, waiting) == (story.state, ())
