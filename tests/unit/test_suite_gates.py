"""Gates: what they take, what they refuse, and when they hold."""

from __future__ import annotations

import pytest

from harness.errors import BadScenarioError
from harness.gates import Gate
from harness.suite.gates import hold, parse
from harness.suite.report import tallies
from harness.suite.result import RunResult
from tests.support.suites import failed, run, unmeasured


def holds(text: str, *runs: RunResult) -> list[bool]:
    return [held.ok for held in hold(parse([text]), tallies(runs))]


def test_names_are_taken_in_any_case() -> None:
    assert parse(["sr=0.9", "false-actions=0"]) == (Gate("SR", 0.9), Gate("FALSE_ACTIONS", 0.0))


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["SRR=0.9"], "did you mean SR?"),
        (["beauty=1"], "known are SR"),
        (["=1"], "known are SR"),
        (["SR"], "NAME=NUMBER"),
        (["SR=high"], "NAME=NUMBER"),
        (["SR=nan"], "NAME=NUMBER"),
        (["MTTR=inf"], "NAME=NUMBER"),
        (["SR=0.9", "sr=0.8"], "given twice"),
    ],
)
def test_what_is_no_gate_is_refused_by_name(texts: list[str], words: str) -> None:
    with pytest.raises(BadScenarioError) as caught:
        parse(texts)
    assert words in str(caught.value)
    assert caught.value.exit_code == 2


def test_of_success_at_least_the_bound_is_asked_and_of_time_at_most() -> None:
    runs = (run(seed=1), failed(seed=2))
    assert holds("SR=0.5", *runs) == [True]
    assert holds("SR=0.51", *runs) == [False]
    assert holds("MTTR=10", *runs) == [True]
    assert holds("MTTR=9.9", *runs) == [False]
    assert holds("FALSE_ACTIONS=0", *runs) == [True]


def test_what_was_not_measured_passes_no_gate() -> None:
    assert holds("MTTR=1000", unmeasured()) == [False]
    assert holds("MRL=1000", unmeasured()) == [False]
    assert holds("FALSE_ALARMS=1", run()) == [False], "no run without a fault was made"


def test_without_a_replan_its_bound_holds() -> None:
    assert holds("MRL=1", run()) == [True]


def test_every_planner_is_held_against_every_gate() -> None:
    runs = (run(), failed(planner="http://a/v1"))
    assert [(held.planner, held.ok) for held in hold(parse(["SR=1"]), tallies(runs))] == [
        ("rulebook", True),
        ("http://a/v1", False),
    ]
