"""From a run to what is kept of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.contracts.machine import Event
from harness.oracle import UNCHANGED, Clause, Judgement
from harness.run import Outcome
from harness.scenario import draw, load
from harness.score import score
from harness.suite.measure import Run, collateral, endpoints, result, run_figures
from tests.support.suites import CLEAN, key
from tests.unit.test_harness_score import asked, happy_story

GOOD = Clause(UNCHANGED, True, "every workload runs as declared")
BAD = Clause(UNCHANGED, False, "a; b", ("catalog is stopped", "gateway drifts: command x"))


def outcome(*clauses: Clause, events: list[Event] | None = None) -> Outcome:
    found = score("inc-1", events or happy_story(), injected_at=100.0)
    judged = Judgement(clauses or (GOOD,))
    return Outcome(
        "db_conn_drift", 1, 0.0, "inc-1", 99.0, 100.0, "verified", "served", judged, found, True, refused=0, signed=14
    )


def made(came: Outcome | None, *, events: list[Event] | None = None, error: str | None = None) -> Run:
    story = events or happy_story()
    return Run(key(), draw(load("db_conn_drift")), "configuration", 99.0, 20.0, CLEAN, came, error, story)


def test_a_measured_run_is_kept_with_figures_timeline_and_who_planned() -> None:
    found = result(made(outcome()))
    assert (found.ok, found.verdict, found.planned_by) == (True, "verified", "rulebook")
    assert found.figures is not None
    assert found.figures.success
    assert (found.figures.recover_s, found.figures.platform_s) == pytest.approx((10.2, 10.2))
    assert found.faults == ("db_conn_drift on orders",)
    assert found.marks


def test_a_kept_run_is_the_same_after_its_way_through_json() -> None:
    found = result(made(outcome()))
    assert type(found).decode(found.encode()) == found


def test_the_triages_own_verdict_is_no_success_unless_the_oracle_agrees() -> None:
    mine = score("inc-1", happy_story(), injected_at=100.0)
    assert mine.success
    assert not run_figures(mine, recovered=False).success
    assert not run_figures(replace(mine, root_verified=False), recovered=True).success


def test_an_action_on_another_device_than_the_broken_one_is_kept_as_false() -> None:
    scenario = load("db_conn_drift")
    step = scenario.faults[0]
    assert step.target == "orders"
    assert result(made(outcome())).false_actions == (), "the fault is on orders, and orders was restarted"
    calm = replace(made(outcome()), draw=draw(load("no_fault")))
    assert result(calm).false_actions == ("restart on orders",)


def test_what_changed_besides_is_counted_one_by_one_and_an_unlisted_one_as_one() -> None:
    assert collateral([GOOD]) == ()
    assert collateral([BAD]) == ("catalog is stopped", "gateway drifts: command x")
    assert collateral([Clause(UNCHANGED, False, "the measurement failed")]) == ("the measurement failed",)


def test_a_run_that_failed_to_be_measured_keeps_why() -> None:
    found = result(made(None, error="the incident was not closed in time"))
    assert (found.ok, found.figures, found.error) == (False, None, "the incident was not closed in time")


def test_the_endpoints_that_were_asked_are_those_that_the_answers_name() -> None:
    events = asked(prompted=102.0, answered=103.0)
    answer = events[1].payload
    named = events[1]._replace(payload=answer.model_copy(update={"settings": {"endpoint": "http://h/v1"}}))
    assert endpoints([events[0], named], "inc-1") == {"http://h/v1"}
    assert endpoints([named], "inc-2") == frozenset()
