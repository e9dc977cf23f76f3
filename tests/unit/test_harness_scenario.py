"""Scenario files: what comes with the project can be run; what cannot is refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import BadScenarioError, NotFoundError
from harness.scenario import draw, load, names
from injector.fault import Spec
from injector.registry import check

GOOD = {"name": "mine", "summary": "s", "expect": {"verdict": "verified", "max_actions": 1}}


def write(tmp_path: Path, **changes: object) -> str:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(GOOD | changes))
    return str(path)


def test_the_required_scenarios_come_with_the_project() -> None:
    required = {
        "db_conn_drift",
        "cache_poison",
        "network_partition",
        "service_killed",
        "agent_killed_mid_task",
        "no_fault",
    }
    assert required <= set(names())


@pytest.mark.parametrize("name", names())
def test_every_choice_of_every_scenario_is_a_fault_that_exists(name: str) -> None:
    scenario = load(name)
    assert scenario.name == name
    for step in scenario.faults:
        for target in (step.target,) if isinstance(step.target, str) else step.target:
            check(Spec(step.fault, target, step.args))


def test_the_specs_own_form_finds_the_file() -> None:
    assert load("chaos1.json").name == "chaos1"


def test_the_same_seed_draws_the_same_run_and_seeds_differ() -> None:
    scenario = load("service_killed")
    assert draw(scenario, seed=7) == draw(scenario, seed=7)
    assert len({draw(scenario, seed=seed).faults[0].target for seed in range(20)}) > 1


def test_seed_and_noise_given_beat_the_file() -> None:
    drawn = draw(load("chaos1"), seed=3, noise=0.7)
    assert (drawn.seed, drawn.noise) == (3, 0.7)


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BadScenarioError, match="unknown key 'nois'; did you mean 'noise'"):
        load(write(tmp_path, nois=0.2))


def test_an_unknown_key_inside_a_fault_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BadScenarioError, match=r"unknown key 'faults\.0\.tarket'; did you mean 'target'"):
        load(write(tmp_path, faults=[{"fault": "service_killed", "tarket": "orders"}]))


@pytest.mark.parametrize(
    "changes",
    [
        {"faults": [{"at_s": -1, "fault": "service_killed", "target": "orders"}]},
        {"noise": 1.5},
        {"seed": -1},
        {"timeout_s": 0},
        {"report": {"at_s": 1, "text": ""}},
        {"report": {"at_s": 1, "text": "bell\u0007"}},
        {"expect": {"verdict": "great", "max_actions": 0}},
    ],
)
def test_values_out_of_bounds_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(BadScenarioError, match="cannot be run"):
        load(write(tmp_path, **changes))


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"\x00\xff{")
    with pytest.raises(BadScenarioError):
        load(str(path))


def test_an_unknown_scenario_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="did you mean no_fault"):
        load("nofault")
