"""The figures of a suite on examples worked by hand."""

from __future__ import annotations

from typing import Any

import pytest

from harness.figures import wilson
from harness.suite.result import RULEBOOK, RunResult
from harness.suite.tally import NAMES, Figure, figures
from tests.support.suites import failed, run, unmeasured
from tests.support.suites import figures as made

MODEL = "http://127.0.0.1:1234/v1"


def figure(name: str, *runs: RunResult) -> Figure:
    return next(one for one in figures(runs) if one.name == name)


def test_success_counts_every_run_also_the_one_that_could_not_be_measured() -> None:
    """Two of four: one failed, one was never measured. Wilson's interval of 2 of 4 is 0.150 to 0.850."""
    found = figure("SR", run(seed=1), run(seed=2), failed(seed=3), unmeasured(seed=4))
    assert (found.value, found.detail) == (0.5, "2 of 4")
    assert (found.low, found.high) == pytest.approx(wilson(2, 4))
    assert (found.low, found.high) == pytest.approx((0.150, 0.850), abs=5e-4)


def test_a_run_that_could_not_be_measured_found_no_cause_either() -> None:
    found = figure("LOCALISATION", run(seed=1), run(seed=2, located=False), unmeasured(seed=3))
    assert found.value == pytest.approx(1 / 3)
    assert found.count == 3


def test_the_cause_is_asked_for_only_where_something_was_broken() -> None:
    calm = run("no_fault", 1, faults=(), located=None)
    assert figure("LOCALISATION", run(seed=1), calm).count == 1
    assert figure("LOCALISATION", calm).value is None


def test_an_action_without_a_fault_is_a_false_alarm_and_one_on_a_healthy_device_is_a_false_action() -> None:
    """Of four runs two have a false action; of the two without a fault one has."""
    calm: dict[str, Any] = {"faults": (), "located": None}
    runs = (
        run(seed=1),
        run(seed=2, false_actions=("restart on catalog", "restart on orders")),
        run("no_fault", 1, **calm),
        run("no_fault", 2, **calm, false_actions=("restart on orders",)),
    )
    assert figure("FALSE_ACTIONS", *runs).value == 0.5
    assert (figure("FALSE_ALARMS", *runs).value, figure("FALSE_ALARMS", *runs).count) == (0.5, 2)


def test_mrl_is_weighted_by_tged_over_all_replans_of_all_runs() -> None:
    """(10 s * 0.5 + 2 s * 1.5 + 6 s * 2) / (0.5 + 1.5 + 2) = 20 / 4 = 5 s; the median of the distances is 1.5."""
    runs = (run(seed=1, figures=made((10.0, 0.5), (2.0, 1.5))), run(seed=2, figures=made((6.0, 2.0))), run(seed=3))
    mrl, tged = figure("MRL", *runs), figure("TGED", *runs)
    assert mrl.value == pytest.approx(5.0)
    assert mrl.count == 3
    assert (tged.value, tged.detail) == (1.5, "mean 1.33 over 3 replans")


def test_the_interval_of_mrl_lies_between_the_runs_own_and_is_the_same_every_time() -> None:
    """Each run alone has an MRL of (10*0.5+2*1.5)/2 = 4 s or 6 s: no resample of runs leaves that span."""
    runs = (run(seed=1, figures=made((10.0, 0.5), (2.0, 1.5))), run(seed=2, figures=made((6.0, 2.0))))
    mrl = figure("MRL", *runs)
    assert (mrl.low, mrl.high) == pytest.approx((4.0, 6.0))
    assert figure("MRL", *runs) == mrl


def test_no_replan_has_no_latency_and_that_is_good_unless_nothing_was_measured() -> None:
    assert (figure("MRL", run()).value, figure("MRL", run()).absent_is_good) == (None, True)
    assert (figure("MRL", unmeasured()).value, figure("MRL", unmeasured()).absent_is_good) == (None, False)


def test_recovery_is_split_into_model_and_platform_and_each_has_its_median() -> None:
    spans = ((9.0, 1.0), (12.0, 4.0), (30.0, 2.0))
    runs = [
        run(seed=n, planner=MODEL, planned_by="llm", figures=made(recover_s=whole, model_s=m, platform_s=whole - m))
        for n, (whole, m) in enumerate(spans)
    ]
    assert [figure(name, *runs).value for name in ("MTTR", "MTTR_MODEL", "MTTR_PLATFORM")] == [12.0, 2.0, 8.0]
    assert figure("MTTR", *runs).detail == "mean 17, at most 30"


def test_what_never_recovered_is_in_no_median() -> None:
    assert figure("MTTR", run(seed=1), failed(seed=2), unmeasured(seed=3)).count == 1


def test_tokens_are_those_of_prompt_and_answer() -> None:
    runs = [run(seed=n, figures=made(prompt_tokens=100 * n, completion_tokens=n)) for n in (1, 2, 3)]
    assert figure("TOKENS", *runs).value == 202.0


def test_the_rulebooks_plan_in_a_models_name_is_a_fallback() -> None:
    runs = (run(planner=MODEL, planned_by="rulebook"), run(planner=MODEL, seed=2, planned_by="llm"))
    assert figure("FALLBACKS", *runs).value == 0.5
    assert figure("FALLBACKS", run(planner=RULEBOOK)).absent_is_good


def test_of_no_run_there_is_no_figure_and_nothing_is_good() -> None:
    assert all(one.value is None and not one.absent_is_good for one in figures(()))


def test_every_figure_has_a_name_of_its_own_that_a_gate_can_use() -> None:
    assert sorted(one.name for one in figures((run(),))) == sorted(NAMES)
