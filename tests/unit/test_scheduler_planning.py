"""Planning attempts: requests, refusals, time-outs, the rulebook's turn, late and held proposals, flapping."""

from __future__ import annotations

from broker.contracts.incident import IncidentClosed
from broker.contracts.machine import CancelTimer, Publish, SetTimer
from broker.contracts.plan import PlanAccepted, PlanProposed, PlanRejected, PlanRequested
from broker.contracts.task import Task
from scheduler_svc.core import flap, tie
from scheduler_svc.core.state import Flap
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
)

NONSENSE = task("t1", "rm_rf")


def opened() -> Story:
    story = Story()
    story.tell(reported())
    return story


def codes(story: Story) -> list[str]:
    return [reason.code for refusal in story.messages(PlanRejected) for reason in refusal.reasons]


def test_a_report_asks_for_the_first_plan_and_sets_a_timer() -> None:
    story = opened()
    [timer] = story.timers()
    request = PlanRequested(incident=INCIDENT, version=1, attempt=1, text="orders fail")
    assert story.said == (Publish(request), SetTimer(timer))
    assert (timer.purpose, timer.due_us) == ("planning-timeout", START_US + 45_000_000)


def test_two_refusals_then_only_the_rulebook_is_asked() -> None:
    story = opened()
    story.tell(proposed(plan(NONSENSE), 1))
    assert [(one.attempt, one.rulebook_only) for one in story.messages(PlanRequested)] == [(2, False)]
    story.tell(proposed(plan(NONSENSE), 2))
    assert [(one.attempt, one.rulebook_only) for one in story.messages(PlanRequested)] == [(3, True)]
    story.tell(proposed(plan(*LOOK_ACT), 3))
    [accepted] = story.messages(PlanAccepted)
    assert (accepted.version, accepted.attempt) == (1, 3)


def test_two_time_outs_then_only_the_rulebook_is_asked() -> None:
    story = opened()
    story.fire(story.timers()[0])
    [second] = story.messages(PlanRequested)
    assert (second.attempt, second.rulebook_only) == (2, False)
    assert [reason.code for reason in second.rejected] == ["timed_out"]
    story.fire(story.timers()[0])
    [third] = story.messages(PlanRequested)
    assert (third.attempt, third.rulebook_only) == (3, True)


def test_a_refusal_and_a_time_out_count_together() -> None:
    story = opened()
    story.tell(proposed(plan(NONSENSE)))
    story.fire(story.timers()[0])
    assert [one.rulebook_only for one in story.messages(PlanRequested)] == [True]


def test_the_rulebook_refused_too_ends_the_incident_with_the_reason() -> None:
    story = opened()
    for attempt in (1, 2, 3):
        story.tell(proposed(plan(NONSENSE), attempt))
    [closed] = story.messages(IncidentClosed)
    assert (closed.verdict, closed.reason) == ("unresolved", "no plan: t1: the catalogue has no type 'rm_rf'")
    assert story.state.active is None


def test_the_rulebook_silent_too_ends_the_incident() -> None:
    story = opened()
    for _ in range(3):
        story.fire(story.timers()[0])
    [closed] = story.messages(IncidentClosed)
    assert closed.reason == "no plan: attempt 3 brought no plan within 45 s"


def test_a_refused_attempt_takes_its_timer_back() -> None:
    story = opened()
    [timer] = story.timers()
    story.tell(proposed(plan(NONSENSE)))
    assert CancelTimer("scheduler", timer.timer_id) in story.said
    assert story.fire(timer) == ()


def test_a_late_answer_to_a_timed_out_attempt_is_taken_if_it_is_the_first_sound_one() -> None:
    story = opened()
    story.fire(story.timers()[0])
    story.tell(proposed(plan(*LOOK_ACT, number=1), 1))
    [accepted] = story.messages(PlanAccepted)
    assert accepted.attempt == 1
    story.tell(proposed(plan(*LOOK_ACT, number=2), 2))
    assert codes(story) == ["superseded"]
    assert not story.messages(Task)


def test_a_late_unsound_answer_does_not_hurry_the_attempt_that_is_waited_for() -> None:
    story = opened()
    story.fire(story.timers()[0])
    story.tell(proposed(plan(NONSENSE), 1))
    assert codes(story) == ["unknown_type"]
    assert not story.messages(PlanRequested)
    story.tell(proposed(plan(*LOOK_ACT), 2))
    assert story.messages(PlanAccepted)


def test_the_same_attempt_answered_twice_counts_once() -> None:
    story = opened()
    story.tell(proposed(plan(*LOOK_ACT)))
    assert story.tell(proposed(plan(*LOOK_ACT, number=2))) == ()
    assert story.incident.ignored.proposals == 1


def test_an_attempt_that_was_never_asked_is_not_judged() -> None:
    story = opened()
    assert story.tell(proposed(plan(*LOOK_ACT), attempt=7)) == ()
    assert story.tell(proposed(plan(*LOOK_ACT, version=2))) == ()
    assert story.incident.ignored.proposals == 2


def test_an_answer_to_an_older_version_is_superseded() -> None:
    story = opened()
    story.fire(story.timers()[0])
    [look] = story.accept(plan(*LOOK_ACT), 2)
    story.tell(result(look, "FAIL", "refused"))
    story.tell(proposed(plan(*LOOK_ACT), 1))
    assert codes(story) == ["superseded"]


def test_while_halted_proposals_are_held_and_the_best_is_taken_on_resume() -> None:
    story = opened()
    story.fire(story.timers()[0])
    story.tell(HALT)
    assert story.tell(proposed(plan(*LOOK_ACT, number=9), 1)) == ()
    assert story.tell(proposed(plan(task("t1"), number=3), 2)) == ()
    story.tell(RESUME)
    [accepted], [refusal] = story.messages(PlanAccepted), story.messages(PlanRejected)
    assert (accepted.attempt, accepted.plan_id) == (2, plan(number=3).plan_id)
    assert (refusal.attempt, [reason.code for reason in refusal.reasons]) == (1, ["lost_tie"])
    assert [order.task_id for order in story.messages(Task)] == ["v1-t1"]


def test_a_held_plan_that_is_unsound_cannot_win_the_tie() -> None:
    story = opened()
    story.fire(story.timers()[0])
    story.tell(HALT)
    story.tell(proposed(plan(NONSENSE, number=1), 1))
    story.tell(proposed(plan(*LOOK_ACT, number=2), 2))
    story.tell(RESUME)
    [accepted] = story.messages(PlanAccepted)
    assert accepted.attempt == 2
    assert codes(story) == ["unknown_type"]


def test_with_a_plan_in_hand_a_time_out_during_the_halt_asks_nothing() -> None:
    story = opened()
    [timer] = story.timers()
    story.tell(HALT)
    story.tell(proposed(plan(*LOOK_ACT)))
    assert story.fire(timer) == ()
    story.tell(RESUME)
    assert story.messages(PlanAccepted)


def test_an_unsound_plan_held_past_its_time_out_is_asked_again_on_resume() -> None:
    story = opened()
    [timer] = story.timers()
    story.tell(HALT)
    story.tell(proposed(plan(NONSENSE)))
    story.fire(timer)
    story.tell(RESUME)
    assert codes(story) == ["unknown_type"]
    assert [one.attempt for one in story.messages(PlanRequested)] == [2]


def test_a_late_unsound_plan_held_past_the_newest_time_out_is_asked_again_on_resume() -> None:
    story = opened()
    story.fire(story.timers()[0])
    [timer] = story.timers()
    story.tell(HALT)
    story.tell(proposed(plan(NONSENSE), 1))
    story.fire(timer)
    story.tell(RESUME)
    [request] = story.messages(PlanRequested)
    assert (request.attempt, request.rulebook_only) == (3, True)


def fail_fast(story: Story) -> None:
    """Let the first task of the committed plan fail for good."""
    [order] = story.messages(Task)
    story.tell(result(order, "FAIL", "refused"))


def test_the_same_change_from_the_same_origin_within_five_seconds_is_flapping() -> None:
    story = opened()
    for version in (1, 2):
        story.accept(plan(*LOOK_ACT, version=version, number=version))
        fail_fast(story)
    story.tell(proposed(plan(*LOOK_ACT, version=3, number=3)), after_s=4.9)
    assert codes(story) == ["flapping"]
    assert not story.messages(PlanRequested), "asked again only when the window has gone by"
    [wait] = story.timers("replan-wait")
    story.fire(wait)
    [request] = story.messages(PlanRequested)
    assert (request.version, request.attempt) == (3, 2)
    story.tell(proposed(plan(*LOOK_ACT, version=3, number=4), 2))
    assert story.messages(PlanAccepted)


def test_the_same_change_from_another_origin_is_not_flapping() -> None:
    story = opened()
    for version in (1, 2):
        story.accept(plan(*LOOK_ACT, version=version))
        fail_fast(story)
    story.tell(proposed(plan(*LOOK_ACT, version=3), origin="llm"))
    assert story.messages(PlanAccepted)


def test_the_same_change_after_five_seconds_is_not_flapping() -> None:
    story = opened()
    for version in (1, 2):
        story.accept(plan(*LOOK_ACT, version=version))
        fail_fast(story)
    story.tell(proposed(plan(*LOOK_ACT, version=3)), after_s=5.0)
    assert story.messages(PlanAccepted)


def test_a_late_plan_during_the_wait_after_flapping_is_taken() -> None:
    story = Story(config(planning_timeout_s=1.0))
    story.tell(reported())
    for version in (1, 2):
        story.accept(plan(*LOOK_ACT, version=version))
        fail_fast(story)
    story.fire(story.timers("planning-timeout")[0])
    story.tell(proposed(plan(*LOOK_ACT, version=3), 2))
    [wait] = story.timers("replan-wait")
    story.tell(proposed(plan(task("t1"), version=3), 1), after_s=1.0)
    assert story.messages(PlanAccepted)
    assert story.said[-1] == CancelTimer("scheduler", wait.timer_id)


def test_a_rulebook_refused_only_for_flapping_is_asked_again_after_the_wait() -> None:
    story = opened()
    for version in (1, 2):
        story.accept(plan(*LOOK_ACT, version=version))
        fail_fast(story)
    for attempt in (1, 2):
        story.tell(proposed(plan(NONSENSE, version=3), attempt))
    story.tell(proposed(plan(*LOOK_ACT, version=3), 3))
    assert codes(story) == ["flapping"]
    story.fire(story.timers("replan-wait")[0])
    [request] = story.messages(PlanRequested)
    assert (request.attempt, request.rulebook_only) == (4, True)
    story.tell(proposed(plan(*LOOK_ACT, version=3), 4))
    assert story.messages(PlanAccepted)


def test_attempts_of_one_version_are_bounded_also_when_every_one_flaps() -> None:
    """Between two flaps lies the whole window, so only a clock that stands still can make a plan flap each time."""
    story = opened()
    for version in (1, 2):
        story.accept(plan(*LOOK_ACT, version=version))
        fail_fast(story)
    for attempt in range(1, 6):
        story.tell(proposed(plan(*LOOK_ACT, version=3), attempt))
        assert codes(story) == ["flapping"]
        for wait in story.timers("replan-wait"):
            story.tell(wait)
    [closed] = story.messages(IncidentClosed)
    assert closed.reason == "no plan: rulebook brought the same change of the plan less than 5 s ago"


def test_a_difference_ignores_names_and_costs() -> None:
    one = (task("a"), task("b", "restart", after=("a",)))
    two = (task("x").model_copy(update={"estimated_cost_ms": 9}), task("y", "restart", after=("x",)))
    assert flap.difference(one, two) == ()
    assert flap.fingerprint((), one) == flap.fingerprint((), two)


def test_a_difference_sees_arguments_edges_and_conditions() -> None:
    base = LOOK_ACT
    no_edge = (*base[:2], task("t3", "check_health"))
    other_argument = (*base[:2], task("t3", "check_health", after=("t2",), within_s=3.0))
    no_condition = (base[0], task("t2", "reconcile", after=("t1",)), base[2])
    marks = {flap.fingerprint(base, other) for other in (base, no_edge, other_argument, no_condition)}
    assert len(marks) == 4


def test_a_difference_has_both_directions() -> None:
    assert [edit[0] for edit in flap.difference((task("a"),), (task("a", "restart"),))] == ["+", "-"]
    assert [edit[0] for edit in flap.difference((task("a"), task("b")), (task("a"),))] == ["-"]


def test_old_differences_are_forgotten() -> None:
    old = Flap(fingerprint="a", origin="llm", time_us=0)
    new = Flap(fingerprint="b", origin="llm", time_us=5_000_000)
    assert flap.remember((old,), new, 5.0) == (new,)
    many = tuple(Flap(fingerprint=str(n), origin="llm", time_us=n) for n in range(40))
    assert len(flap.remember(many, new, 60.0)) == 16


def test_the_tie_goes_to_the_version_then_to_the_plan_id() -> None:
    def one(version: int, number: int, attempt: int) -> PlanProposed:
        return proposed(plan(*LOOK_ACT, version=version, number=number), attempt)

    shuffled = (one(1, 1, 1), one(2, 9, 1), one(2, 3, 2), one(2, 3, 1))
    best = [(p.version, p.plan.plan_id[-1], p.attempt) for p in tie.prefer(shuffled)]
    assert best == [(2, "3", 1), (2, "3", 2), (2, "9", 1), (1, "1", 1)]
