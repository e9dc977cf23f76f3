"""Two reports side by side, and reports as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BadRecordingError, NotFoundError
from harness.suite.compare import compare, why_failed
from harness.suite.report import Report, markdown, read, report, scores
from harness.suite.result import ClauseSaid, RunResult
from tests.support.suites import about, failed, figures, run, unmeasured

MODEL = "http://127.0.0.1:1234/v1"


def of(*runs: RunResult) -> Report:
    return report(about(), runs)


def moved(name: str, first: Report, second: Report) -> str:
    return next(figure.moved for figure in compare(first, second).figures if figure.name == name)


def test_a_mended_and_a_broken_run_are_named_with_the_failed_ones_reason() -> None:
    clause = ClauseSaid(name="users are served", ok=False, detail="80.0% of 100 requests good")
    first = of(run(seed=1), failed(seed=2, clauses=(clause,)), run(seed=3))
    second = of(unmeasured(seed=1), run(seed=2), run(seed=3))
    found = compare(first, second)
    assert [(one.seed, one.change, one.why) for one in found.changed] == [
        (1, "broken", "not measured: the incident was not closed in time"),
        (2, "mended", "users are served: 80.0% of 100 requests good"),
    ]
    assert found.same == 1


def test_runs_that_one_side_does_not_have_are_named_and_not_counted() -> None:
    found = compare(of(run(seed=1), run(seed=2)), of(run(seed=2), run("no_fault", 1)))
    assert (found.only_first, found.only_second) == (
        ("db_conn_drift seed 1, rulebook",),
        ("no_fault seed 1, rulebook",),
    )
    assert (found.same, found.changed) == (1, ())


def test_one_planner_each_is_compared_although_they_differ() -> None:
    found = compare(of(run()), of(failed(planner=MODEL)))
    assert [one.change for one in found.changed] == ["broken"]
    assert found.figures[0].planner == f"rulebook | {MODEL}"


def test_with_several_planners_only_the_same_ones_are_compared() -> None:
    found = compare(of(run(), run(planner=MODEL)), of(run(), run(planner="http://other/v1")))
    assert {figure.planner for figure in found.figures} == {"rulebook"}
    assert found.only_first == (f"db_conn_drift seed 1, {MODEL}",)


def test_a_difference_counts_only_where_the_intervals_do_not_meet() -> None:
    """20 of 20 is 0.839 to 1; 0 of 20 is 0 to 0.161; 15 of 20 is 0.531 to 0.888, which meets 20 of 20."""
    good = of(*(run(seed=n) for n in range(20)))
    bad = of(*(failed(seed=n) for n in range(20)))
    some = of(*((run if n < 15 else failed)(seed=n) for n in range(20)))
    assert (moved("SR", good, bad), moved("SR", bad, good)) == ("worse", "better")
    assert moved("SR", good, some) == "within chance"


def test_of_times_less_is_better() -> None:
    slow = of(*(run(seed=n, figures=figures(recover_s=30.0 + n)) for n in range(8)))
    fast = of(*(run(seed=n, figures=figures(recover_s=10.0 + n)) for n in range(8)))
    assert moved("MTTR", slow, fast) == "better"


def test_of_few_values_nothing_is_said() -> None:
    slow, fast = (of(run(figures=figures(recover_s=span))) for span in (30.0, 10.0))
    assert moved("MTTR", slow, fast) == "too few"
    assert moved("MRL", slow, fast) == "too few"


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (failed(), "closed as unresolved: users are served"),
        (failed(figures=figures(success=False, root_verified=True, tasks_completed=2)), "2 of 4 tasks completed"),
        (run(), ""),
    ],
)
def test_why_a_run_failed_is_one_sentence(one: RunResult, words: str) -> None:
    assert why_failed(one).startswith(words)
    assert bool(why_failed(one)) is bool(words)


def test_a_report_is_the_same_after_its_way_through_its_file(tmp_path: Path) -> None:
    found = of(run(), failed(seed=2), unmeasured(seed=3))
    (tmp_path / "report.json").write_text(found.model_dump_json(indent=1))
    assert read(tmp_path) == read(tmp_path / "report.json") == found


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="cannot be read"):
        read(tmp_path)
    (tmp_path / "report.json").write_text('{"format": "triage suite report", "version": 2}')
    with pytest.raises(BadRecordingError, match="no report of a suite"):
        read(tmp_path)


def test_the_summary_holds_the_specs_three_figures_and_the_gates() -> None:
    text = markdown(of(run(figures=figures((4.0, 0.5))), failed(seed=2)))
    assert "| SR: success rate (spec 10) | **0.50** | 0.09 .. 0.91 | 1 of 2 |" in text
    assert "| MRL: mean replan latency (spec 10) | **4.00 s** |" in text
    assert "TGED" in text


def test_the_scores_are_the_specs_three_figures_of_each_planner() -> None:
    found = scores(of(run(), run(planner=MODEL)))
    assert {planner: sorted(said) for planner, said in found.items()} == {
        "rulebook": ["MRL", "SR", "TGED"],
        MODEL: ["MRL", "SR", "TGED"],
    }


def test_success_is_told_by_family() -> None:
    found = of(run(), failed(seed=2), run("no_fault", family="no fault")).families["rulebook"]
    assert [(one.family, one.hits, one.total) for one in found] == [("configuration", 1, 2), ("no fault", 1, 1)]
