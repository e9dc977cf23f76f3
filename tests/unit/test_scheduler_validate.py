"""Plans that must be refused, and by which name."""

from __future__ import annotations

import pytest

from broker.contracts.plan import Condition, Plan, PlanAccepted, PlanRejected, PlanRequested, PlanTask
from broker.contracts.task import Task
from scheduler_svc.core import validate
from tests.support.scheduler import INVENTORY, LOOK_ACT, Story, config, plan, proposed, reported, task


def codes(given: Plan, version: int = 1) -> list[str]:
    return [reason.code for reason in validate.faults(given, INVENTORY, version)]


NINE = tuple(task(f"t{n}") for n in range(9))
CYCLE = (task("t0"), task("t1", after=("t3",)), task("t2", after=("t1",)), task("t3", after=("t2", "t0")))

BAD: dict[str, tuple[tuple[PlanTask, ...], list[str], str]] = {
    "nine tasks": (NINE, ["too_many_tasks"], "the plan has 9 tasks, at most 8 are allowed"),
    "no task": ((), ["no_tasks"], "the plan has no task"),
    "a cycle": (CYCLE, ["cycle"], "the plan has a cycle: t1 -> t2 -> t3 -> t1"),
    "a task that waits for itself": ((task("t1", after=("t1",)),), ["cycle"], "the plan has a cycle: t1 -> t1"),
    "two tasks of one name": ((task("t1"), task("t1")), ["duplicate_task"], "2 tasks have the id t1"),
    "a name too long for a subject": (
        (task("t" * 60),),
        ["bad_task_id"],
        f"the task id {'t' * 60} is longer than 56 characters",
    ),
    "a dependency that is no task": (
        (task("t1", after=("t0",)),),
        ["unknown_dependency"],
        "t1 depends on 't0', which is no task",
    ),
    "an unknown action": (
        (task("t1", "rm_rf"),),
        ["unknown_type"],
        "t1: the catalogue has no type 'rm_rf'",
    ),
    "another agent's action": (
        (task("t1", "restart", agent="LogAgent"),),
        ["wrong_agent"],
        "t1: restart is for ActionAgent, not for 'LogAgent'",
    ),
    "an unknown target": (
        (task("t1", target="billing"),),
        ["unknown_target"],
        "t1: the inventory has no device 'billing'",
    ),
    "text where a number belongs": (
        (task("t1", "check_metrics", metric="cpu_load", above="high"),),
        ["bad_argument"],
        "t1: argument above must be float, not str",
    ),
    "a truth value where a whole number belongs": (
        (task("t1", "check_logs", pattern="x", top_k=True),),
        ["bad_argument"],
        "t1: argument top_k must be int, not bool",
    ),
    "an argument out of its bounds": (
        (task("t1", "check_health", within_s=900.0),),
        ["bad_argument"],
        "t1: argument within_s must lie in 0..15, not 900.0",
    ),
    "an argument nobody knows": (
        (task("t1", "restart", force=True),),
        ["bad_argument"],
        "t1: restart takes no argument force",
    ),
    "an argument that is missing": (
        (task("t1", "check_logs"),),
        ["bad_argument"],
        "t1: check_logs needs the argument pattern",
    ),
    "a change of what is not managed": (
        (task("t1", "restart", "loadgen"),),
        ["bad_argument", "bad_argument"],
        "t1: restart does not apply to loadgen, a traffic",
    ),
    "a condition on no task": (
        (task("t1", when=Condition(task_id="t9", field="drifted", equals=True)),),
        ["bad_condition"],
        "t1 asks t9, which is no task",
    ),
    "a condition on a task that need not have ended": (
        (task("t1"), task("t2", when=Condition(task_id="t1", field="drifted", equals=True))),
        ["bad_condition"],
        "t2 asks t1, which it does not depend on",
    ),
    "a condition on a fact the type does not give": (
        (task("t1"), task("t2", after=("t1",), when=Condition(task_id="t1", field="healthy", equals=True))),
        ["bad_condition"],
        "t2 asks for healthy; check_config tells drifted, running, paused, sound",
    ),
}


@pytest.mark.parametrize("situation", BAD)
def test_refused_with_code_and_sentence(situation: str) -> None:
    tasks, expected, sentence = BAD[situation]
    found = validate.faults(plan(*tasks), INVENTORY, 1)
    assert [reason.code for reason in found] == expected
    assert found[0].detail == sentence


@pytest.mark.parametrize("situation", BAD)
def test_a_refused_plan_starts_nothing_and_is_asked_again_with_the_reasons(situation: str) -> None:
    tasks, expected, _ = BAD[situation]
    story = Story()
    story.tell(reported())
    story.tell(proposed(plan(*tasks)))
    [refusal], [request] = story.messages(PlanRejected), story.messages(PlanRequested)
    assert [reason.code for reason in refusal.reasons] == expected
    assert (request.version, request.attempt, request.rejected) == (1, 2, refusal.reasons)
    assert not story.messages(Task)
    assert story.incident.version == 0


def test_a_sound_plan_has_no_fault() -> None:
    assert codes(plan(*LOOK_ACT)) == []


def test_eight_tasks_are_allowed() -> None:
    assert codes(plan(*NINE[:8])) == []


def test_a_plan_made_for_another_version_is_refused() -> None:
    assert codes(plan(*LOOK_ACT, version=3), version=2) == ["wrong_version"]


def test_a_condition_may_ask_a_task_further_up() -> None:
    further = (*LOOK_ACT[:2], task("t3", after=("t2",), when=Condition(task_id="t1", field="running", equals=False)))
    assert codes(plan(*further)) == []


def test_every_fault_is_named_at_once_and_the_list_is_bounded() -> None:
    many = tuple(task(f"t{n}", "nonsense", "nowhere", after=tuple(f"x{k}" for k in range(9))) for n in range(8))
    found = validate.faults(plan(*many), INVENTORY, 1)
    assert len(found) == validate.MAX_REASONS


def test_a_number_too_large_for_any_argument_is_refused() -> None:
    huge = task("t1", "check_metrics", metric="cpu_load", above=10**400)
    assert codes(plan(huge)) == ["bad_argument"]


def test_a_long_value_does_not_make_a_long_sentence() -> None:
    [only] = validate.faults(plan(task("t1", "check_logs", pattern="y" * 9_000)), INVENTORY, 1)
    assert only.code == "bad_argument"
    assert len(only.detail) <= 300


def test_the_order_of_an_accepted_plan_is_in_generations() -> None:
    story = Story()
    story.tell(reported())
    story.tell(proposed(plan(task("b", after=("c", "a")), task("c"), task("a"), task("d", after=("b",)))))
    [accepted] = story.messages(PlanAccepted)
    assert accepted.order == (("c", "a"), ("b",), ("d",))


# a model's plan that does the same twice


TWICE = (task("t1"), task("t2", "restart", after=("t1",)), task("t3", "restart", after=("t2",)))


@pytest.mark.parametrize(
    ("origin", "refuses", "refused"),
    [("llm", True, ["duplicate_action"]), ("llm", False, []), ("rulebook", True, [])],
)
def test_doubled_action_is_refused_of_a_model_and_only_by_a_machine_of_today(
    origin: str, refuses: bool, refused: list[str]
) -> None:
    told = Story(config(refuses_doubled=refuses))
    told.tell(reported())
    told.tell(proposed(plan(*TWICE), origin=origin))
    assert [one.code for said in told.messages(PlanRejected) for one in said.reasons] == refused
    assert bool(told.messages(PlanAccepted)) is not bool(refused)


def test_looks_may_stand_twice_and_an_action_on_two_devices_too() -> None:
    given = plan(task("t1"), task("t2"), task("t3", "restart"), task("t4", "restart", "shop-db"))
    assert validate.doubled(given) == ()
