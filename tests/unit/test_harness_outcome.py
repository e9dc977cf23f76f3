"""A scenario's own clauses say what was seen, and what was wanted where that is something else."""

from __future__ import annotations

from broker.contracts.incident import IncidentClosed, IncidentVerdict
from broker.contracts.plan import FaultClass, Hypothesis
from harness.outcome import expected, located
from harness.scenario import Draw, draw, load
from harness.score import score
from harness.verdict import Clause

NOTHING_SEEN = score("inc-1", (), injected_at=None)


def clauses(
    drawn: Draw, verdict: IncidentVerdict = "verified", *, done: int = 1, missing: tuple[str, ...] = ()
) -> dict[str, Clause]:
    closed = IncidentClosed(incident="inc-1", verdict=verdict, reason="as it came", plan_version=1, actions=done)
    return {clause.name: clause for clause in expected(drawn, closed, NOTHING_SEEN, done=done, missing=missing)}


def believed(target: str, fault_class: FaultClass) -> Hypothesis:
    return Hypothesis(target=target, fault_class=fault_class, confidence=0.9)


def test_a_verdict_as_expected_is_said_with_its_reason() -> None:
    clause = clauses(draw(load("db_conn_drift")))["verdict as expected"]
    assert clause == Clause("verdict as expected", True, "verified: as it came")


def test_another_verdict_is_said_beside_the_expected_one() -> None:
    clause = clauses(draw(load("db_conn_drift")), "unresolved")["verdict as expected"]
    assert clause == Clause("verdict as expected", False, "unresolved, not verified: as it came")


def test_more_actions_than_called_for_are_counted() -> None:
    clause = clauses(draw(load("db_conn_drift")), done=2)["no more actions than called for"]
    assert (clause.ok, clause.detail) == (False, "2 done, at most 1")


def test_a_kill_that_never_came_is_named() -> None:
    missing = ("the cue result for the kill of the scheduler never came",)
    clause = clauses(draw(load("scheduler_killed_mid_repair")), missing=missing)["the scenario happened"]
    assert clause == Clause("the scenario happened", False, missing[0], missing)


def test_what_never_recovered_did_not_do_so_in_time() -> None:
    drawn = draw(load("db_conn_drift"))
    expect = drawn.scenario.expect.model_copy(update={"within_s": 60.0})
    hurried = drawn.model_copy(update={"scenario": drawn.scenario.model_copy(update={"expect": expect})})
    clause = clauses(hurried)["recovered in time"]
    assert (clause.ok, clause.detail) == (False, "never recovered, at most 60 s")


def test_a_fault_is_located_by_device_and_class() -> None:
    drawn = draw(load("db_conn_drift"))
    assert located(drawn, believed("orders", "config_drift")) is True
    assert located(drawn, believed("orders", "process_down")) is False
    assert located(drawn, None) is False


def test_where_nothing_is_broken_nothing_is_to_be_located() -> None:
    assert located(draw(load("no_fault")), believed("orders", "none")) is None
