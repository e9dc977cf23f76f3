"""What a suite runs: sets, seeds, planners, families; and how long it may still take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import BadScenarioError, NotFoundError
from harness.scenario import draw, load, names
from harness.suite.plan import plan, planners, remaining
from harness.suite.sets import NO_FAULT, OTHER, chosen, family, read
from injector.registry import FAULTS

SUITES = read()


def picked(wish: str) -> list[str]:
    return [scenario.name for scenario in chosen(wish, SUITES)]


def test_the_nightly_set_is_the_three_scenarios_that_the_spec_requires() -> None:
    assert picked("nightly") == ["db_conn_drift", "cache_poison", "network_partition"]


def test_the_full_set_is_every_scenario_of_the_project() -> None:
    assert picked("full") == list(names())


def test_names_and_sets_may_be_mixed_and_nothing_is_run_twice() -> None:
    assert picked("no_fault, nightly,db_conn_drift") == ["no_fault", *picked("nightly")]


def test_a_scenario_file_of_ones_own_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(json.loads(load("no_fault").encode()) | {"name": "mine"}))
    assert picked(f"no_fault,{path}") == ["no_fault", "mine"]


@pytest.mark.parametrize(("wish", "words"), [("nihgtly", "did you mean nightly?"), ("zzzz", "known are")])
def test_an_unknown_set_is_refused_with_the_nearest(wish: str, words: str) -> None:
    with pytest.raises(NotFoundError, match="no set or scenario") as caught:
        chosen(wish, SUITES)
    assert words in str(caught.value)


def test_an_empty_wish_is_refused() -> None:
    with pytest.raises(BadScenarioError, match="no scenarios"):
        chosen(" , ", SUITES)


def test_every_fault_has_a_family() -> None:
    listed = {fault for faults in SUITES.families.values() for fault in faults}
    own = {name for name, fault in FAULTS.items() if getattr(fault, "family", None)}
    assert set(FAULTS) - listed - own == set()


@pytest.mark.parametrize(
    ("name", "found"), [("db_conn_drift", "configuration"), ("no_fault", NO_FAULT), ("network_partition", "network")]
)
def test_a_scenario_belongs_to_the_family_of_its_fault(name: str, found: str) -> None:
    assert family(draw(load(name)), SUITES) == found


def test_faults_of_two_families_are_several_and_an_unknown_one_is_other() -> None:
    drift, poison = draw(load("db_conn_drift")), draw(load("cache_poison"))
    both = drift.model_copy(update={"faults": drift.faults + poison.faults})
    assert family(both, SUITES) == "several"
    strange = drift.faults[0].model_copy(update={"fault": "gremlins"})
    assert family(drift.model_copy(update={"faults": (strange,)}), SUITES) == OTHER


def test_planners_are_shown_without_their_password() -> None:
    found = planners(["rulebook,http://user:secret@host:1234/v1?key=x", "https://other/v1"])
    assert [planner.name for planner in found] == ["rulebook", "http://host:1234/v1", "https://other/v1"]
    assert found[1].url == "http://user:secret@host:1234/v1?key=x"


def test_another_model_or_another_way_to_ask_is_another_planner() -> None:
    assert planners(["http://h/v1"], mode="full", model="m1")[0].name == "http://h/v1 (m1, full)"
    assert planners(["http://h/v1"], mode="rulebook")[0].mode == "auto", "a model that is named is to be asked"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rulebok"], "URL of a model's endpoint"),
        (["ftp://host/v1"], "URL of a model's endpoint"),
        (["http://"], "URL of a model's endpoint"),
        (["http://[half/v1"], "URL of a model's endpoint"),
        ([" "], "no planner"),
        (["rulebook", "rulebook"], "given twice"),
    ],
)
def test_what_is_no_planner_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(BadScenarioError, match=said):
        planners(words)


def test_every_scenario_runs_with_every_seed_under_every_planner_one_planner_after_the_other() -> None:
    who = planners(["rulebook", "http://h/v1"])
    made = plan(chosen("nightly", SUITES), 2, who, platform="embedded", commit="abc")
    assert len(made.items) == 12
    assert [item.key.planner for item in made.items] == ["rulebook"] * 6 + ["http://h/v1"] * 6
    assert [item.key.seed for item in made.items[:3]] == [1, 2, 1]
    assert all(item.draw.seed == item.key.seed for item in made.items)
    assert len({item.key for item in made.items}) == 12


def test_a_changed_scenario_is_another_run() -> None:
    scenario = load("no_fault")
    other = scenario.model_copy(update={"noise": 0.9})
    one, two = (plan([s], 1, planners(["rulebook"]), platform="embedded", commit="abc") for s in (scenario, other))
    assert one.items[0].key != two.items[0].key


def test_what_cannot_be_made_on_the_platform_is_left_out_and_named() -> None:
    only_docker = next(name for name, fault in FAULTS.items() if "embedded" not in fault.platforms)
    drift = load("db_conn_drift")
    step = drift.faults[0].model_copy(update={"fault": only_docker, "target": FAULTS[only_docker].targets[0]})
    elsewhere = drift.model_copy(update={"name": "elsewhere", "faults": (step,)})
    made = plan([drift, elsewhere], 1, planners(["rulebook"]), platform="embedded", commit="abc")
    assert ([item.key.scenario for item in made.items], made.skipped) == (["db_conn_drift"], ("elsewhere",))


def test_the_rest_is_estimated_by_the_median_run() -> None:
    assert remaining([20.0, 22.0, 120.0], 4) == 88.0
    assert remaining([], 4) is None
