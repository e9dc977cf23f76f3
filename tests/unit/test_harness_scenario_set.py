"""What comes with the project covers everything that can be broken, and everything that a scenario can hold."""

from __future__ import annotations

import pytest

from harness.scenario import draw, load, names
from harness.scenario_checks import contradictions, platforms_of
from harness.validate import distinct
from injector.registry import FAULTS


def test_there_are_at_least_36_and_none_contradicts_itself() -> None:
    assert len(names()) >= 36
    for name in names():
        assert list(contradictions(load(name))) == []


def test_three_make_the_nightly_set() -> None:
    assert names("nightly") == ("cache_poison", "db_conn_drift", "network_partition")


@pytest.mark.parametrize("fault", FAULTS)
def test_every_kind_of_fault_has_a_scenario_that_runs_where_the_fault_can_be_made(fault: str) -> None:
    """Whoever adds a fault adds a scenario: its oracle is proved by `triage scenario validate --all`."""
    having = [scenario for scenario in map(load, names()) if fault in {step.fault for step in scenario.faults}]
    assert having, f"no scenario breaks anything by {fault}; add one (docs/scenarios.md)"
    covered = {platform for scenario in having for platform in platforms_of(scenario)}
    assert covered >= set(FAULTS[fault].platforms)


def test_there_is_one_of_everything_that_a_scenario_can_hold() -> None:
    everything = [load(name) for name in names()]
    assert any(len([f for f in s.faults if f.when is None and f.at_s == 0]) > 1 for s in everything)
    assert any(f.when for s in everything for f in s.faults)
    assert any(k.victim == "broker" for s in everything for k in s.kills)
    assert any(k.victim == "claimant" and k.kind == "action" for s in everything for k in s.kills)
    assert any(s.reports for s in everything)
    assert len([s for s in everything if s.expect.verdict == "no_fault"]) >= 3


def test_every_oracle_is_proved_once() -> None:
    drawn = [draw(load(name)) for name in names()]
    proofs = distinct(drawn)
    told = [name for first, also in proofs for name in (first.scenario.name, *also)]
    assert sorted(told) == sorted(names())
    assert len(proofs) < len(drawn)
