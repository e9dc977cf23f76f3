"""Clarifying questions, plans that were mended, agreement, and plans that failed: what the scheduler makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from broker.contracts.control import ApprovalGranted, ApprovalRequested
from broker.contracts.incident import IncidentAnswered, IncidentAsked, IncidentClosed
from broker.contracts.machine import CancelTimer
from broker.contracts.plan import (
    ClarifyingTask,
    Condition,
    Exchange,
    PlanAccepted,
    PlanProposed,
    PlanRejected,
    PlanRequested,
    PlanTask,
    Reason,
)
from broker.contracts.task import Task
from scheduler_svc.core.state import SchedulerState
from tests.support.scheduler import (
    HALT,
    INCIDENT,
    LOOK_ACT,
    RESUME,
    Story,
    config,
    plan,
    proposed,
    reported,
    result,
    task,
    verified,
)


def story(**changes: Any) -> Story:
    """Return a story in which version 1 was asked for."""
    made = Story(config(**{"max_questions": 2, "question_timeout_s": 30.0, "remembers_failed": True, **changes}))
    made.tell(reported())
    return made


def asking(
    question: str = "Was anything deployed?", *tasks: PlanTask, attempt: int = 1, version: int = 1, number: int = 1
) -> PlanProposed:
    asks = ClarifyingTask(task_id="q1", question=question)
    given = plan(*tasks, version=version, number=number).model_copy(update={"clarifying_task": asks})
    return proposed(given, attempt, origin="llm")


def answer(text: str = "yes, orders", n: int = 1) -> IncidentAnswered:
    return IncidentAnswered(incident=INCIDENT, n=n, text=text)


def marked(given: PlanProposed, **changes: Any) -> PlanProposed:
    return given.model_copy(update=changes)


# asking


def test_plan_that_asks_is_put_to_the_operator_and_the_incident_waits() -> None:
    told = story()
    [planning] = told.timers("planning-timeout")
    told.tell(asking())
    [asked] = told.messages(IncidentAsked)
    assert (asked.n, asked.question, asked.version, asked.attempt) == (1, "Was anything deployed?", 1, 1)
    assert asked.wait_s == 30.0
    [timer] = told.timers("question-timeout")
    assert timer.due_us - told.now_us == 30_000_000
    assert CancelTimer("scheduler", planning.timer_id) in told.said
    assert not told.messages(PlanAccepted) + told.messages(PlanRejected)


def test_answer_leads_to_the_next_attempt_with_question_and_answer() -> None:
    told = story()
    told.tell(asking())
    told.tell(answer(), after_s=5.0)
    [request] = told.messages(PlanRequested)
    assert (request.version, request.attempt, request.rulebook_only) == (1, 2, False)
    assert request.dialogue == (Exchange(question="Was anything deployed?", answer="yes, orders"),)
    told.tell(proposed(plan(*LOOK_ACT), 2))
    assert told.messages(PlanAccepted)


def test_without_an_answer_in_time_the_rulebook_goes_on() -> None:
    told = story()
    told.tell(asking())
    told.fire(told.timers("question-timeout")[0])
    [request] = told.messages(PlanRequested)
    assert (request.attempt, request.rulebook_only) == (2, True)
    assert request.dialogue == (Exchange(question="Was anything deployed?", answer=None),)


def test_answer_that_comes_too_late_changes_nothing_and_is_counted() -> None:
    told = story()
    told.tell(asking())
    told.fire(told.timers("question-timeout")[0])
    told.tell(answer())
    assert told.said == ()
    assert told.incident.ignored.answers == 1


@pytest.mark.parametrize("n", [2, 7])
def test_answer_to_a_question_that_was_not_asked_changes_nothing(n: int) -> None:
    told = story()
    told.tell(asking())
    told.tell(answer(n=n))
    assert told.said == ()
    assert told.incident.open_question == 1


def test_answer_before_any_question_changes_nothing() -> None:
    told = story()
    told.tell(answer())
    assert told.said == ()


def test_so_many_questions_and_no_more() -> None:
    told = story()
    for n in (1, 2):
        told.tell(asking(f"Question {n}?", attempt=n, number=n))
        told.tell(answer(n=n))
    told.tell(asking("Question 3?", attempt=3, number=3))
    [rejected] = told.messages(PlanRejected)
    assert [reason.code for reason in rejected.reasons] == ["no_more_questions"]
    assert told.messages(PlanRequested)[0].rejected == rejected.reasons


def test_question_beyond_the_limit_does_not_spoil_a_plan_that_stands_without_it() -> None:
    told = story(max_questions=0)
    told.tell(asking("Really?", *LOOK_ACT))
    assert told.messages(PlanAccepted)
    assert not told.messages(IncidentAsked)


def test_same_question_is_not_asked_twice() -> None:
    told = story()
    told.tell(asking())
    told.tell(answer())
    told.tell(asking("was  anything DEPLOYED?", attempt=2, number=2))
    [rejected] = told.messages(PlanRejected)
    assert [reason.code for reason in rejected.reasons] == ["asked_before"]


def test_nobody_is_asked_again_in_an_incident_in_which_nobody_answered() -> None:
    told = story()
    told.tell(asking())
    told.fire(told.timers("question-timeout")[0])
    told.accept(plan(task("t1")), 2)
    told.tell(result(told.messages(Task)[0], "FAIL", "refused"))
    told.tell(asking("And now?", version=2, number=9))
    assert [reason.code for reason in told.messages(PlanRejected)[0].reasons] == ["no_more_questions"]


def test_question_of_a_plan_that_came_under_a_halt_is_asked_after_it() -> None:
    told = story()
    told.tell(HALT)
    told.tell(asking())
    assert told.said == ()
    told.tell(RESUME)
    assert told.messages(IncidentAsked)


def test_sound_plan_wins_over_one_that_asks() -> None:
    told = story()
    told.fire(told.timers("planning-timeout")[0])
    told.tell(HALT)
    told.tell(asking(attempt=1, number=1))
    told.tell(proposed(plan(*LOOK_ACT, number=2), 2))
    told.tell(RESUME)
    [accepted] = told.messages(PlanAccepted)
    assert accepted.attempt == 2
    assert [reason.code for reason in told.messages(PlanRejected)[0].reasons] == ["lost_tie"]


def test_older_attempts_plan_ends_the_waiting_for_an_answer() -> None:
    told = story()
    told.fire(told.timers("planning-timeout")[0])
    told.tell(asking(attempt=2, number=2))
    told.tell(proposed(plan(*LOOK_ACT), 1))
    assert told.messages(PlanAccepted)
    told.tell(answer())
    assert told.said == ()


def test_long_answer_is_cut_before_it_is_carried_from_request_to_request() -> None:
    told = story()
    told.tell(asking())
    told.tell(answer("x" * 8_000))
    [request] = told.messages(PlanRequested)
    assert request.dialogue[0].answer is not None
    assert len(request.dialogue[0].answer) == 1_000


def test_state_from_before_questions_is_still_understood() -> None:
    told = Story()
    told.tell(reported())
    text = told.state.encode().decode()
    for gone in ('"dialogue":[],', '"open_question":0,', '"unanswered":false,', '"failed":[],'):
        assert gone in text
        text = text.replace(gone, "")
    assert SchedulerState.decode(text.encode()) == told.state


def test_machine_without_questions_in_its_configuration_says_what_it_said_before() -> None:
    old = Story()
    old.tell(reported())
    assert b"dialogue" not in old.messages(PlanRequested)[0].encode()
    old.accept(plan(*LOOK_ACT))
    old.tell(result(old.messages(Task)[0], "FAIL", "refused"))
    assert b"showed" not in old.messages(PlanRequested)[0].encode()


# approvals


def wishes_of(given: PlanProposed, **changes: Any) -> tuple[list[ApprovalRequested], list[Task]]:
    told = story(**changes)
    told.tell(given)
    for order in told.messages(Task):
        told.tell(result(order, drifted=True, running=False))
    return told.messages(ApprovalRequested), told.messages(Task)


@pytest.mark.parametrize(
    ("setting", "agreed", "asks"),
    [("risky", False, False), ("safe", True, True), ("agreed", True, False), ("agreed", False, True)],
)
def test_risky_action_goes_by_itself_as_the_setting_says(setting: str, agreed: bool, asks: bool) -> None:
    given = marked(proposed(plan(*LOOK_ACT), origin="llm"), agreed=agreed)
    wishes, tasks = wishes_of(given, auto_approve=setting)
    assert (len(wishes), len(tasks)) == ((1, 0) if asks else (0, 1))


SAFE = (
    task("t1"),
    task("t2", "start", after=("t1",)),
)


@pytest.mark.parametrize("setting", ["safe", "agreed", "risky"])
def test_whatever_acts_in_a_mended_plan_waits_for_a_person_even_if_it_is_safe(setting: str) -> None:
    given = marked(proposed(plan(*SAFE)), mended=True, agreed=True, repairs=("type of t2 taken for start",))
    wishes, tasks = wishes_of(given, auto_approve=setting)
    assert [wish.action for wish in wishes] == ["start"]
    assert wishes[0].why.endswith("the plan was mended: type of t2 taken for start")
    assert not tasks


def test_safe_action_of_a_plan_that_was_not_mended_goes_by_itself() -> None:
    wishes, tasks = wishes_of(marked(proposed(plan(*SAFE)), repairs=("code fence removed",)), auto_approve="safe")
    assert (len(wishes), [one.type for one in tasks]) == (0, ["start"])


def test_approved_action_of_a_mended_plan_goes_out() -> None:
    told = story()
    told.tell(marked(proposed(plan(*SAFE)), mended=True))
    told.tell(result(told.messages(Task)[0]))
    [wish] = told.messages(ApprovalRequested)
    told.tell(ApprovalGranted(incident=INCIDENT, task_id=wish.task_id, binding=wish.binding))
    assert [one.type for one in told.messages(Task)] == ["start"]


# plans that are none, and plans that failed


def test_answer_that_is_no_plan_is_refused_with_the_planners_reasons_and_asked_again() -> None:
    told = story()
    why = (Reason(code="unknown_type", detail="t1: the catalogue has no type 'fix'"),)
    told.tell(marked(proposed(plan(), origin="llm"), unusable=why))
    [rejected] = told.messages(PlanRejected)
    assert rejected.reasons == why
    [request] = told.messages(PlanRequested)
    assert (request.attempt, request.rejected, request.rulebook_only) == (2, why, False)
    told.tell(marked(proposed(plan(number=2), 2, origin="llm"), unusable=why))
    assert told.messages(PlanRequested)[0].rulebook_only


def failed_once(told: Story, version: int = 1, number: int = 1, origin: str = "rulebook") -> None:
    """Let a plan be carried out whole, and its check fail."""
    told.tell(proposed(plan(*LOOK_ACT, version=version, number=number), origin=origin), after_s=10.0)
    while orders := told.messages(Task):
        told.tell(result(orders[0], changed=orders[0].risk != "read", drifted=True, healthy=True))
    told.tell(verified(version, ok=False, n=version))


def test_plan_that_failed_is_not_taken_again_whatever_its_ids_and_looks() -> None:
    told = story()
    failed_once(told)
    again = (task("x"), task("y", "check_health"), task("z", "reconcile", after=("x",)))
    told.tell(proposed(plan(*again, version=2, number=2)), after_s=10.0)
    [rejected] = told.messages(PlanRejected)
    assert [reason.code for reason in rejected.reasons] == ["failed_before"]
    assert told.messages(PlanRequested)


def test_other_action_for_the_same_hypothesis_and_same_action_for_another_are_other_plans() -> None:
    for given in (
        plan(task("t1", "restart"), version=2, number=2),
        plan(*LOOK_ACT, version=2, number=2, fault_class="bad_credentials"),
        plan(task("t1", "reconcile", "shop-db"), version=2, number=2),
    ):
        told = story()
        failed_once(told)
        told.tell(proposed(given), after_s=10.0)
        assert told.messages(PlanAccepted), given


@pytest.mark.parametrize("first", ["rulebook", "llm"])
def test_same_actions_are_not_taken_again_for_another_hypothesis_that_a_model_names(first: str) -> None:
    told = story()
    failed_once(told, origin=first)
    other = plan(*LOOK_ACT, version=2, number=2, fault_class="network_latency")
    told.tell(proposed(other, origin="llm"), after_s=10.0)
    [rejected] = told.messages(PlanRejected)
    assert [reason.code for reason in rejected.reasons] == ["failed_before"]


SKIPPED = Condition(task_id="t1", field="running", equals=False)


@pytest.mark.parametrize("origin", ["rulebook", "llm"])
def test_plan_whose_action_was_skipped_was_not_tried(origin: str) -> None:
    told = story()
    told.tell(proposed(plan(task("t1"), task("t2", "start", after=("t1",), when=SKIPPED)), origin=origin))
    told.tell(result(told.messages(Task)[0], running=True))
    told.tell(verified(1, ok=False))
    again = plan(task("t1"), task("t2", "start", after=("t1",), when=SKIPPED), version=2, number=2)
    told.tell(proposed(again, origin=origin), after_s=10.0)
    assert told.messages(PlanAccepted)


def test_what_of_a_failed_plan_was_done_is_not_taken_again_by_itself() -> None:
    told = story()
    both = (*LOOK_ACT, task("t4", "start", after=("t1",), when=SKIPPED))
    told.tell(proposed(plan(*both), origin="llm"))
    while orders := told.messages(Task):
        told.tell(result(orders[0], changed=orders[0].risk != "read", drifted=True, running=True, healthy=True))
    told.tell(verified(1, ok=False))
    told.tell(proposed(plan(*LOOK_ACT, version=2, number=2), origin="llm"), after_s=10.0)
    assert [reason.code for reason in told.messages(PlanRejected)[0].reasons] == ["failed_before"]


def test_looking_again_is_no_repetition() -> None:
    told = story()
    looks = (task("t1"), task("t2", "check_health"))
    for version in (1, 2):
        told.tell(proposed(plan(*looks, version=version, number=version)), after_s=10.0)
        assert told.messages(PlanAccepted)
        for order in told.messages(Task):
            told.tell(result(order))
        told.tell(verified(version, ok=False, n=version))


def test_replan_is_told_what_was_done_and_what_it_showed() -> None:
    told = story()
    failed_once(told)
    [request] = told.messages(PlanRequested)
    [tried] = request.tried
    assert tried.actions == ("reconcile orders: ok, changed",)
    assert "check_config orders drifted=true" in tried.showed
    assert "check_health orders healthy=true" in tried.showed


def test_incident_whose_every_plan_was_tried_is_given_up_and_not_looped() -> None:
    told = story()
    failed_once(told)
    for attempt in range(1, 9):
        if told.state.active is None:
            break
        request = told.all_messages(PlanRequested)[-1]
        told.tell(proposed(plan(*LOOK_ACT, version=2, number=attempt + 1), request.attempt), after_s=10.0)
    [closed] = told.all_messages(IncidentClosed)
    assert closed.verdict == "unresolved"
    assert "did not help" in closed.reason


def test_repair_after_which_its_device_was_well_may_be_taken_again_by_the_rulebook() -> None:
    """The same configuration went wrong again before the check had ended (docs/adr/0027)."""
    told = story(knows_relapses=True)
    failed_once(told)
    [request] = told.messages(PlanRequested)
    assert [one.well for one in request.tried] == [("orders",)]
    told.tell(proposed(plan(*LOOK_ACT, version=2, number=2)), after_s=10.0)
    assert told.messages(PlanAccepted)


def test_repair_after_which_its_device_was_well_is_not_taken_again_at_a_models_word() -> None:
    told = story(knows_relapses=True)
    failed_once(told)
    told.tell(proposed(plan(*LOOK_ACT, version=2, number=2), origin="llm"), after_s=10.0)
    assert [reason.code for reason in told.messages(PlanRejected)[0].reasons] == ["failed_before"]


def test_repair_that_changed_nothing_has_made_nothing_well() -> None:
    told = story(knows_relapses=True)
    told.tell(proposed(plan(*LOOK_ACT)))
    while orders := told.messages(Task):
        told.tell(result(orders[0], changed=False, drifted=True, running=True, healthy=True))
    told.tell(verified(1, ok=False))
    [request] = told.messages(PlanRequested)
    assert [one.well for one in request.tried] == [()]
