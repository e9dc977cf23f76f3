"""SR, MRL and TGED: the spec's formulas on examples worked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from broker.contracts.base import Contract
from broker.contracts.incident import IncidentClosed, IncidentReported
from broker.contracts.machine import Event
from broker.contracts.monitor import Deviation, Verified
from broker.contracts.plan import PlanAccepted, PlanAnswered, PlanExecuted, PlanPrompted, PlanProposed, PlanRequested
from broker.contracts.task import Claim, Result, Task
from harness.score import Replan, Score, false_actions, is_success, mean_replan_latency, score, success_rate
from harness.tged import edit_weight, tged
from tests.support.plans import plan, task

CHAIN = plan(task("t1"), task("t2", "t1", type_="restart"), task("t3", "t2", type_="check_health"))


def test_edit_weight_doubles_with_depth_and_is_capped_at_16() -> None:
    assert [edit_weight(depth) for depth in range(7)] == [1, 2, 4, 8, 16, 16, 16]


def test_equal_plans_have_distance_zero_whatever_their_ids() -> None:
    renamed = plan(
        task("a"), task("b", "a", type_="restart"), task("c", "b", type_="check_health"), version=2, number=9
    )
    assert tged(CHAIN, renamed) == 0.0


def test_one_task_appended_at_depth_3() -> None:
    """Insert a node at depth 3 (weight 8) and its edge (weight 8); the original has 3 nodes and 2 edges: 16 / 5."""
    longer = plan(*CHAIN.tasks, task("t4", "t3", type_="check_metrics"))
    assert tged(CHAIN, longer) == pytest.approx(16 / 5)


def test_a_changed_argument_at_the_root_weighs_one() -> None:
    changed = plan(task("t1", pattern="other"), *CHAIN.tasks[1:])
    assert tged(CHAIN, changed) == pytest.approx(1 / 5)


def test_another_target_in_the_middle_is_a_deletion_and_an_insertion_with_their_edges() -> None:
    """Node out (2) and in (2) at depth 1; edges t1->t2 out (2), in (2); t2->t3 out (4), in (4): 16 / 5."""
    middle = task("t2", "t1", type_="restart", target="catalog")
    assert tged(CHAIN, plan(CHAIN.tasks[0], middle, CHAIN.tasks[2])) == pytest.approx(16 / 5)


def test_mrl_is_weighted_by_tged() -> None:
    """(10 s * 0.5 + 2 s * 1.5) / (0.5 + 1.5) = 4 s."""
    assert mean_replan_latency([Replan(100, 110, 0.5), Replan(200, 202, 1.5)]) == pytest.approx(4.0)


def test_mrl_of_no_replan_is_not_zero_but_absent() -> None:
    assert mean_replan_latency([]) is None
    assert mean_replan_latency([Replan(0, 5, 0.0)]) is None


@pytest.mark.parametrize(
    ("verified", "completed", "leaf_fail", "success"),
    [
        (True, 8, 0.0, True),
        (True, 8, 0.2, True),
        (False, 10, 0.0, False),
        (True, 7, 0.0, False),
        (True, 9, 0.25, False),
    ],
)
def test_sr_counts_verified_runs_with_enough_tasks_and_few_failed_leaves(
    verified: bool, completed: int, leaf_fail: float, success: bool
) -> None:
    assert is_success(verified=verified, completed=completed, total=10, leaf_fail=leaf_fail) is success


def test_sr_is_the_share_of_successful_runs() -> None:
    good = score("inc-1", happy_story(), injected_at=100.0)
    assert success_rate([good, replace(good, success=False)]) == 0.5


def test_sr_of_nothing_is_absent() -> None:
    assert success_rate([]) is None


def result(name: str, kind: str, *, failed: bool, changed: bool = False) -> Result:
    head = {"incident": "inc-1", "task_id": f"v1-{name}", "attempt": 1, "kind": kind, "instance": "a"}
    return Result.model_validate(head | {"status": "FAIL" if failed else "OK", "out": "done", "changed": changed})


def happy_story(*, failed: tuple[str, ...] = (), verified: bool = True) -> list[Event]:
    """Injected at 100.0: seen 101, reported 102, plan 102.02, repair done 104, executed 104.2, verified 110.2."""
    head: dict[str, Any] = {"incident": "inc-1", "version": 1, "attempt": 1}
    work = {"incident": "inc-1", "task_id": "v1-t2", "attempt": 1, "kind": "action"}
    order = {"type": "restart", "target": "orders", "args": {}, "plan_version": 1, "risk": "risky"}
    seen = {"incident": "inc-1", "n": 1, "kind": "service_down", "device": "orders", "t_trigger_us": 101_000_000}
    ran = {"incident": "inc-1", "version": 1, "completed": (), "skipped": (), "failed": (), "actions": 1}
    check = {"incident": "inc-1", "n": 1, "plan_version": 1, "ok": verified, "reasons": (), "window_s": 5.0}
    end = {"incident": "inc-1", "verdict": "verified" if verified else "unresolved", "reason": "", "plan_version": 1}
    messages: list[tuple[float, Contract]] = [
        (101.0, Deviation.model_validate(seen | {"incident": "inc-0", "t_trigger_us": 1, "detail": "another one"})),
        (102.0, IncidentReported(incident="inc-1", text="down", source="harness")),
        (102.005, Deviation.model_validate(seen | {"detail": "ECONNREFUSED"})),
        (102.01, PlanRequested(**head, text="down")),
        (102.015, PlanProposed(**head, plan=CHAIN, origin="rulebook", decision_tag="DETERMINISTIC")),
        (102.02, PlanAccepted(**head, plan_id=CHAIN.plan_id, order=(("t1",), ("t2",), ("t3",)))),
        (102.025, result("t1", "log", failed="t1" in failed)),
        (102.03, Task.model_validate(work | order | {"timeout_s": 30.0, "timer_id": "x"})),
        (102.04, Claim.model_validate(work | {"instance": "action-agent-1", "task_seq": 7, "delivery": "r"})),
        (104.0, result("t2", "action", failed="t2" in failed, changed=True)),
        (104.1, result("t3", "action", failed="t3" in failed)),
        (104.2, PlanExecuted.model_validate(ran)),
        (110.2, Verified.model_validate(check | {"samples": 5, "success_ratio": 1.0})),
        (110.21, IncidentClosed.model_validate(end | {"actions": 1})),
    ]
    return [Event(n, int(at * 1e6), m.subject(), m, "x/y") for n, (at, m) in enumerate(messages, 1)]


def test_the_times_of_a_repaired_incident() -> None:
    found = score("inc-1", happy_story(), injected_at=100.0)
    assert found.root_verified
    assert found.success
    assert (found.tasks_total, found.tasks_completed, found.leaf_fail_pct, found.actions) == (3, 3, 0.0, 1)
    assert found.time_to_detect_s == pytest.approx(1.0)
    assert found.time_to_plan_s == pytest.approx(0.02)
    assert found.time_to_repair_s == pytest.approx(4.0)
    assert found.time_to_verify_s == pytest.approx(6.0)
    assert found.time_to_recover_s == pytest.approx(10.2)
    assert found.planning_s == pytest.approx(0.005)


def test_the_control_planes_own_time_leaves_out_work_waiting_and_watching() -> None:
    """Own hops: reported->requested 10 ms, proposed->accepted 5, result->task 5, task->claim 10, result->executed 100,
    verified->closed 10."""
    assert score("inc-1", happy_story(), injected_at=100.0).control_plane_s == pytest.approx(0.140)


def test_a_failed_leaf_spoils_the_run_even_if_it_is_verified() -> None:
    found = score("inc-1", happy_story(failed=("t3",)), injected_at=100.0)
    assert (found.leaf_fail_pct, found.tasks_completed, found.success) == (1.0, 2, False)


def test_an_unverified_run_is_no_success() -> None:
    found: Score = score("inc-1", happy_story(verified=False), injected_at=100.0)
    assert (found.root_verified, found.success, found.time_to_recover_s) == (False, False, None)


def asked(*, prompted: float, answered: float, attempt: int = 1, elapsed_ms: float = 0.0) -> list[Event]:
    """A model is asked and answers with 300 + 20 tokens."""
    head: dict[str, Any] = {"incident": "inc-1", "version": 1, "attempt": attempt, "prompt_hash": "p"}
    said = {"outcome": "ok", "response": "{}", "response_hash": "r", "model": "m", "settings": {}}
    answer = head | said | {"prompt_tokens": 300, "completion_tokens": 20, "elapsed_ms": elapsed_ms}
    spoken: list[tuple[float, Contract]] = [
        (prompted, PlanPrompted.model_validate(head | {"messages": ()})),
        (answered, PlanAnswered.model_validate(answer)),
    ]
    return [Event(n, int(at * 1e6), m.subject(), m, "x/y") for n, (at, m) in enumerate(spoken, 50)]


def test_recovery_is_split_into_the_models_time_and_all_the_rest() -> None:
    """Injected 100, verified 110.2: 10.2 s, of which the model was asked from 102.01 to 103.51: 1.5 s and 8.7 s."""
    found = score("inc-1", happy_story() + asked(prompted=102.01, answered=103.51, elapsed_ms=1_480), injected_at=100.0)
    assert (found.time_to_recover_s, found.model_s, found.platform_s) == pytest.approx((10.2, 1.5, 8.7))
    assert found.model_seconds == pytest.approx(1.48)
    assert (found.prompt_tokens, found.completion_tokens) == (300, 20)


def test_two_attempts_add_up_and_what_was_asked_after_the_verification_is_no_part_of_the_recovery() -> None:
    """1 s and, of 109.2..112.2, the second before 110.2: 2 s of 10.2 s; tokens and seconds count all of it."""
    story = happy_story() + asked(prompted=102.0, answered=103.0, elapsed_ms=1_000)
    story += asked(prompted=109.2, answered=112.2, attempt=2, elapsed_ms=3_000)
    found = score("inc-1", story, injected_at=100.0)
    assert (found.model_s, found.platform_s) == pytest.approx((2.0, 8.2))
    assert found.model_seconds == pytest.approx(4.0)
    assert (found.prompt_tokens, found.completion_tokens) == (600, 40)


def test_the_rulebook_takes_no_models_time_and_without_a_fault_there_is_nothing_to_split() -> None:
    found = score("inc-1", happy_story(), injected_at=100.0)
    assert (found.model_s, found.platform_s) == pytest.approx((0.0, 10.2))
    calm = score("inc-1", happy_story(), injected_at=None)
    assert (calm.time_to_recover_s, calm.model_s, calm.platform_s) == (None, None, None)


def test_an_action_is_false_unless_it_is_on_a_device_that_was_broken() -> None:
    assert false_actions("inc-1", happy_story(), {"orders"}) == ()
    assert false_actions("inc-1", happy_story(), {"catalog"}) == ("restart on orders",)
    assert false_actions("inc-1", happy_story(), ()) == ("restart on orders",), "nothing was broken"
    assert false_actions("inc-2", happy_story(), ()) == (), "of another incident"


def test_a_look_is_no_action_and_a_change_counts_although_it_failed() -> None:
    """Of the three tasks only t2 changed the world; it counts whether or not it was reported as done."""
    assert false_actions("inc-1", happy_story(failed=("t2",)), ()) == ("restart on orders",)
