"""From the accepted plan to its last result: dispatch, conditions, retries, time-outs, dead letters."""

from __future__ import annotations

import pytest

from broker.contracts.incident import IncidentClosed
from broker.contracts.machine import CancelTimer, Publish, SetTimer
from broker.contracts.plan import Condition, PlanAccepted, PlanExecuted, PlanRequested, PlanTask
from broker.contracts.task import DeadLetter, Result, Task
from tests.support.scheduler import (
    INCIDENT,
    LOOK_ACT,
    START_US,
    Story,
    plan,
    proposed,
    reported,
    result,
    task,
    verified,
)


def story_with(*tasks: PlanTask) -> tuple[Story, list[Task]]:
    """Return a story whose plan was just accepted, and the tasks that went out."""
    story = Story()
    story.tell(reported())
    return story, story.accept(plan(*tasks))


def test_accepting_says_the_order_then_sends_what_is_ready_each_with_its_timer() -> None:
    story = Story()
    story.tell(reported())
    said = story.tell(proposed(plan(*LOOK_ACT)), after_s=1.0)
    assert isinstance(said[-1], CancelTimer)
    assert said[0] == Publish(
        PlanAccepted(
            incident=INCIDENT,
            version=1,
            attempt=1,
            plan_id="00000000-0000-0000-0000-000000000001",
            order=(("t1",), ("t2",), ("t3",)),
        )
    )
    [timer] = story.timers()
    assert said[1:-1] == (
        Publish(
            Task(
                incident=INCIDENT,
                task_id="v1-t1",
                attempt=1,
                kind="action",
                type="check_config",
                target="orders",
                args={},
                plan_version=1,
                risk="read",
                timeout_s=10.0,
                timer_id=timer.timer_id,
            )
        ),
        SetTimer(timer),
    )
    assert (timer.purpose, timer.task_id, timer.number) == ("task-timeout", "v1-t1", 1)
    assert timer.due_us == START_US + 1_000_000 + 21_000_000


def test_a_plan_runs_to_its_end_in_order_and_the_check_begins() -> None:
    story, [look] = story_with(*LOOK_ACT)
    story.tell(result(look, drifted=True))
    [act] = story.messages(Task)
    assert (act.task_id, act.type, act.risk) == ("v1-t2", "reconcile", "risky")
    story.tell(result(act, changed=True))
    [check] = story.messages(Task)
    story.tell(result(check, healthy=True))
    assert story.messages(PlanExecuted) == [
        PlanExecuted(
            incident=INCIDENT,
            version=1,
            completed=("v1-t1", "v1-t2", "v1-t3"),
            skipped=(),
            failed=(),
            actions=1,
        )
    ]
    assert [timer.purpose for timer in story.timers()] == ["verify-timeout"]
    story.tell(verified(1, ok=True))
    [closed] = story.messages(IncidentClosed)
    assert (closed.verdict, closed.plan_version, closed.actions) == ("verified", 1, 1)
    assert story.state.active is None


def test_tasks_that_wait_for_nothing_go_out_together() -> None:
    _, out = story_with(task("a"), task("b", "check_logs", pattern="x"), task("c", after=("a", "b")))
    assert [order.task_id for order in out] == ["v1-a", "v1-b"]
    assert [order.kind for order in out] == ["action", "log"]


def test_a_task_waits_for_all_its_dependencies() -> None:
    story, [first, second] = story_with(task("a"), task("b"), task("c", after=("a", "b")))
    story.tell(result(second))
    assert not story.messages(Task)
    story.tell(result(first))
    assert [order.task_id for order in story.messages(Task)] == ["v1-c"]


def test_a_false_condition_skips_the_task_and_lets_its_dependents_go() -> None:
    story, [look] = story_with(*LOOK_ACT)
    story.tell(result(look, drifted=False))
    [check] = story.messages(Task)
    assert check.task_id == "v1-t3"
    story.tell(result(check))
    [executed] = story.messages(PlanExecuted)
    assert (executed.completed, executed.skipped, executed.actions) == (("v1-t1", "v1-t3"), ("v1-t2",), 0)


@pytest.mark.parametrize(
    ("given", "wanted", "runs"),
    [
        (True, True, True),
        (1, True, False),
        (True, 1, False),
        (2, 2.0, True),
        ("up", "up", True),
        ("up", "down", False),
        ("y" * 300, "y" * 300, False),
        (None, True, False),
    ],
    ids=["same", "one is not true", "true is not one", "2 is 2.0", "text", "other text", "text too long", "not told"],
)
def test_a_condition_compares_what_the_result_told(given: object, wanted: object, runs: bool) -> None:
    when = Condition.model_validate({"task_id": "t1", "field": "drifted", "equals": wanted})
    story, [look] = story_with(task("t1"), task("t2", "restart", after=("t1",), when=when))
    story.tell(Result.model_validate(dict(result(look)) | {"meta": {} if given is None else {"drifted": given}}))
    assert bool(story.messages(Task)) is runs
    assert bool(story.messages(PlanExecuted)) is not runs


def test_a_condition_on_a_skipped_task_is_false() -> None:
    story, [look] = story_with(
        task("t1"),
        task("t2", after=("t1",), when=Condition(task_id="t1", field="drifted", equals=True)),
        task("t3", "restart", after=("t2",), when=Condition(task_id="t2", field="running", equals=True)),
    )
    story.tell(result(look, drifted=False))
    [executed] = story.messages(PlanExecuted)
    assert executed.skipped == ("v1-t2", "v1-t3")


def test_a_failed_attempt_is_retried_after_one_and_then_two_seconds() -> None:
    story, [first] = story_with(*LOOK_ACT)
    story.tell(result(first, "FAIL", "boom"))
    [wait] = story.timers("retry")
    assert wait.due_us - story.now_us == 1_000_000
    assert not story.messages(Task)
    story.fire(wait)
    [second] = story.messages(Task)
    assert (second.attempt, second.task_id) == (2, "v1-t1")
    story.tell(result(second, "FAIL", "boom"))
    [wait] = story.timers("retry")
    assert wait.due_us - story.now_us == 2_000_000
    story.fire(wait)
    [third] = story.messages(Task)
    story.tell(result(third, drifted=True))
    assert [order.task_id for order in story.messages(Task)] == ["v1-t2"]


def use_up(story: Story, order: Task) -> None:
    """Let an order and both its retries fail."""
    for _ in range(2):
        story.tell(result(order, "FAIL", "boom"))
        [wait] = story.timers("retry")
        story.fire(wait)
        [order] = story.messages(Task)
    story.tell(result(order, "FAIL", "boom"))


def test_three_failed_attempts_make_a_dead_letter_and_a_replan_with_the_failure() -> None:
    story, [look] = story_with(*LOOK_ACT)
    use_up(story, look)
    assert story.messages(DeadLetter) == [
        DeadLetter(incident=INCIDENT, task_id="v1-t1", attempt=3, reason="failed: broken (boom)")
    ]
    [request] = story.messages(PlanRequested)
    assert (request.version, request.attempt, request.rulebook_only) == (2, 1, False)
    assert request.failures == ("v1-t1, check_config on orders, failed: broken (boom)",)
    assert request.tried == (), "a look that failed says nothing about the hypothesis"


@pytest.mark.parametrize("code", ["refused", "precondition", "unhealthy"])
def test_a_definite_failure_is_not_retried(code: str) -> None:
    story, [look] = story_with(*LOOK_ACT)
    story.tell(result(look, "FAIL", code))
    assert not story.timers("retry")
    assert not story.messages(DeadLetter), "an agent did finish it"
    [request] = story.messages(PlanRequested)
    assert request.version == 2


def test_an_action_that_failed_for_good_counts_against_the_hypothesis() -> None:
    story, [act] = story_with(task("t1", "restart"))
    story.tell(result(act, "FAIL", "precondition"))
    [request] = story.messages(PlanRequested)
    [tried] = request.tried
    assert tried.hypothesis.fault_class == "config_drift"
    assert tried.outcome == "v1-t1, restart on orders, failed: broken (precondition)"


def test_an_action_that_was_done_counts_when_a_later_look_fails_for_good() -> None:
    story, [act] = story_with(task("t1", "restart"), task("t2", "check_health", after=("t1",)))
    story.tell(result(act, changed=True))
    [look] = story.messages(Task)
    story.tell(result(look, "FAIL", "unhealthy"))
    [request] = story.messages(PlanRequested)
    assert len(request.tried) == 1
    assert story.incident.actions == 1


def test_what_runs_ends_before_the_replan_and_nothing_new_starts() -> None:
    story, [first, second] = story_with(task("a"), task("b"), task("c", after=("b",)))
    story.tell(result(first, "FAIL", "refused"))
    assert story.said == (), "b still runs"
    story.tell(result(second))
    assert not story.messages(Task), "c depends on a plan that failed"
    [request] = story.messages(PlanRequested)
    assert request.version == 2


def test_while_winding_up_a_failed_attempt_is_not_retried() -> None:
    story, [first, second] = story_with(task("a"), task("b"))
    story.tell(result(first, "FAIL", "refused"))
    story.tell(result(second, "FAIL", "boom"))
    assert not story.timers("retry")
    [request] = story.messages(PlanRequested)
    assert len(request.failures) == 2


def test_a_wait_for_a_retry_is_called_off_when_the_plan_is_wound_up() -> None:
    story, [first, second] = story_with(task("a"), task("b"))
    story.tell(result(first, "FAIL", "boom"))
    [wait] = story.timers("retry")
    story.tell(result(second, "FAIL", "refused"))
    assert CancelTimer("scheduler", wait.timer_id) in story.said
    assert story.messages(PlanRequested)
    story.fire(wait)
    assert story.said == ()


def test_a_time_out_is_a_failed_attempt() -> None:
    story, _ = story_with(*LOOK_ACT)
    [timer] = story.timers("task-timeout")
    story.fire(timer)
    [wait] = story.timers("retry")
    story.fire(wait)
    assert [order.attempt for order in story.messages(Task)] == [2]


def test_three_time_outs_make_a_dead_letter() -> None:
    story, _ = story_with(*LOOK_ACT)
    for _ in range(2):
        story.fire(story.timers("task-timeout")[0])
        story.fire(story.timers("retry")[0])
    story.fire(story.timers("task-timeout")[0])
    [letter] = story.messages(DeadLetter)
    assert (letter.task_id, letter.attempt, letter.reason) == ("v1-t1", 3, "no agent finished it in time")
    assert [request.version for request in story.messages(PlanRequested)] == [2]


def test_a_time_out_leaves_time_for_the_tasks_of_the_same_agents_before_it() -> None:
    story, _ = story_with(task("a"), task("b", "restart"), task("c", "check_logs", pattern="x"))
    waits = {timer.task_id: (timer.due_us - story.now_us) / 1_000_000 for timer in story.timers()}
    assert waits == {"v1-a": 10 + 11, "v1-b": 30 + 10 + 11, "v1-c": 10 + 11}


def test_a_time_out_that_comes_after_the_result_changes_nothing() -> None:
    story, [look] = story_with(*LOOK_ACT)
    [timer] = story.timers()
    story.tell(result(look, drifted=True))
    assert not any(isinstance(one, CancelTimer) for one in story.said), "the result's own publish takes it back"
    before = story.state
    assert story.fire(timer) == ()
    assert story.state == before


def test_a_late_result_of_an_attempt_given_up_decides_nothing() -> None:
    story, [first] = story_with(*LOOK_ACT)
    story.fire(story.timers()[0])
    assert story.tell(result(first, drifted=True)) == ()
    assert story.incident.ignored.results == 1
    [wait] = [one.timer for one in story.history if isinstance(one, SetTimer) and one.timer.purpose == "retry"]
    story.fire(wait)
    [second] = story.messages(Task)
    assert story.tell(result(first, drifted=True)) == ()
    story.tell(result(second, drifted=False))
    assert [order.task_id for order in story.messages(Task)] == ["v1-t3"]


def test_a_change_by_an_attempt_given_up_is_still_an_action() -> None:
    story, [first] = story_with(task("t1", "restart"))
    story.fire(story.timers()[0])
    story.tell(result(first, changed=True))
    story.fire(next(one.timer for one in story.history if isinstance(one, SetTimer) and one.timer.purpose == "retry"))
    [second] = story.messages(Task)
    story.tell(result(second, changed=False))
    [executed] = story.messages(PlanExecuted)
    assert executed.actions == 1


def test_an_action_that_found_nothing_to_do_is_no_action() -> None:
    story, [act] = story_with(task("t1", "restart"))
    story.tell(result(act, changed=False))
    [executed] = story.messages(PlanExecuted)
    assert (executed.completed, executed.actions) == (("v1-t1",), 0)


def test_a_replan_starts_counting_refusals_anew() -> None:
    story = Story()
    story.tell(reported())
    for attempt in (1, 2):
        story.tell(proposed(plan(task("t1", "rm_rf")), attempt))
    [order] = story.accept(plan(*LOOK_ACT), 3)
    story.tell(result(order, "FAIL", "refused"))
    [request] = story.messages(PlanRequested)
    assert (request.version, request.rulebook_only, request.rejected) == (2, False, ())


def test_a_result_of_another_kind_of_agent_is_not_believed() -> None:
    story, [look] = story_with(*LOOK_ACT)
    forged = result(look, drifted=True).model_copy(update={"kind": "log"})
    assert story.tell(forged) == ()
    assert story.incident.ignored.results == 1


def test_a_result_of_no_known_task_is_counted() -> None:
    story, [look] = story_with(*LOOK_ACT)
    assert story.tell(result(look).model_copy(update={"task_id": "v1-t9"})) == ()
    assert story.incident.ignored.results == 1


def test_a_second_result_of_an_ended_task_changes_nothing() -> None:
    story, [look] = story_with(*LOOK_ACT)
    story.tell(result(look, drifted=True))
    assert story.tell(result(look, "FAIL", "refused")) == ()


def test_only_facts_that_conditions_may_ask_for_are_kept() -> None:
    story, [look] = story_with(*LOOK_ACT)
    story.tell(result(look, drifted=True, secret="x", running=True))
    commitment = story.incident.commitment
    assert commitment is not None
    assert commitment.tasks[0].meta == {"drifted": True, "running": True}


def test_tasks_of_a_models_plan_carry_its_tag() -> None:
    story = Story()
    story.tell(reported())
    story.tell(proposed(plan(*LOOK_ACT), origin="llm"))
    tags = {type(one.message).__name__: one.tag for one in story.said if isinstance(one, Publish)}
    assert tags == {"PlanAccepted": "DETERMINISTIC", "Task": "LLM_DECISION"}
