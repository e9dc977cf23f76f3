"""A run as a timeline, from its journal."""

from __future__ import annotations

from broker.contracts.machine import Event
from broker.contracts.monitor import AgentLost
from harness.suite.timeline import MAX_LABEL, MAX_MARKS, timeline
from tests.unit.test_harness_score import asked, happy_story


def told(events: list[Event]) -> list[tuple[float, float | None, str, str, bool]]:
    marks = timeline("inc-1", events, started_at=99.0, injected_at=100.0, faults=["db_conn_drift on orders"])
    return [(mark.at_s, mark.until_s, mark.lane, mark.label, mark.ok) for mark in marks]


def test_a_repaired_incident_as_marks_and_bars() -> None:
    found = told(happy_story())
    assert (1.0, None, "world", "injected: db_conn_drift on orders", False) in found
    assert (2.0, None, "monitor", "service_down on orders: ECONNREFUSED", False) in found
    assert (3.0, None, "world", "reported by harness", True) in found
    plan = "plan v1 by the rulebook: config_drift on orders (90% sure)"
    assert (3.01, 3.02, "planner", plan, True) in found
    assert (3.03, 5.0, "agents", "restart on orders: OK, changed", True) in found
    assert (5.2, 11.2, "monitor", "check 1: holds", True) in found
    assert found[-1][2:4] == ("verdict", "verified: ")
    assert [mark[0] for mark in found] == sorted(mark[0] for mark in found)


def test_a_models_answer_is_a_bar_of_its_own_lane() -> None:
    assert (3.01, 4.51, "model", "m: ok", True) in told(happy_story() + asked(prompted=102.01, answered=103.51))


def test_other_incidents_are_left_out_and_a_lost_agent_is_not() -> None:
    lost = AgentLost(
        instance="log-agent-1", role="log", connection=1, reason="closed", handed_on=("triage.task.log.inc-1.v1-t1.a1",)
    )
    story = [*happy_story(), Event(99, 103_000_000, lost.subject(), lost, "x/y")]
    labels = [mark[3] for mark in told(story)]
    assert "log-agent-1 lost, its work handed on" in labels
    assert not any("another one" in label for label in labels)


def test_a_label_is_one_line_of_bounded_length_whatever_was_said() -> None:
    faults = ["a\nb\x1b[31m" + "x" * 500]
    mark = timeline("inc-1", [], started_at=0.0, injected_at=1.0, faults=faults)[0]
    assert len(mark.label) == MAX_LABEL
    assert mark.label.isprintable()


def test_a_run_in_a_loop_has_a_bounded_timeline() -> None:
    assert len(timeline("inc-1", happy_story() * 100, started_at=0.0, injected_at=None, faults=[])) == MAX_MARKS
