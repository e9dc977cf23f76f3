"""The verdict, over recorded observations: three parts, each of which fails on what it is there for, and on silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from broker.contracts.inventory import Objective
from harness.verdict import (
    SERVED,
    UNCHANGED,
    Before,
    Clause,
    FaultSeen,
    Missing,
    Observations,
    Traffic,
    allowed_starts,
    judge,
)
from injector.collateral import Baseline, faults_of
from injector.fault import Evidence, Spec
from injector.registry import FAULTS, check
from services.inventory.declared import TRAFFIC_RATE
from services.platform.port import Drift, Workload
from tests.support.world import running

OBJECTIVE = Objective()
LOAD: Mapping[str, object] = {"rate": TRAFFIC_RATE, "noise": 0.2, "seed": 42}
STATS: Mapping[str, object] = {"sent": 100, "success_ratio": 1.0, "p95_ms": 20.0}
DECLARED = {"inventory.json": "a" * 64, "world.json": "b" * 64}
NAMES = ("shop-db", "orders", "catalog", "loadgen")
DRIFT = Spec("db_conn_drift", "orders")


def world(*changed: Workload, without: str = "", declared: Mapping[str, str] = DECLARED) -> Baseline:
    """Return a world in which all is as declared but for what is given."""
    workloads = {name: running(name) for name in NAMES if name != without}
    return Baseline(workloads | {workload.name: workload for workload in changed}, declared)


def recorded(**changes: object) -> Observations:
    """Return what was measured after a right repair of a wrong database host: one start of orders by the injection, one
    by the repair."""
    fault = FaultSeen("db_conn_drift", "orders", Evidence(False, "orders runs without the injected ORDERS_DB_HOST"))
    after = world(replace(running("orders"), restarts=2))
    seen = Observations(
        Before(world(), LOAD), (fault,), Traffic(STATS, LOAD), after, allowed_starts([DRIFT], {"orders": 1})
    )
    return replace(seen, **changes)  # type: ignore[arg-type]


def failed(seen: Observations) -> list[Clause]:
    return list(judge(seen, OBJECTIVE).failed)


def only(seen: Observations) -> Clause:
    """Return the one clause that does not hold."""
    [clause] = failed(seen)
    return clause


class TestRightRepair:
    def test_three_parts_hold_and_each_says_what_was_seen(self) -> None:
        judged = judge(recorded(), OBJECTIVE)
        assert judged.ok
        gone, served, unchanged = judged.clauses
        assert gone.name == "db_conn_drift on orders is gone"
        assert gone.detail == "orders runs without the injected ORDERS_DB_HOST"
        assert served.detail == "100.0% of 100 requests good in 5 s, 95 % within 20 ms"
        assert world().fingerprint in unchanged.detail

    def test_a_repair_without_any_start_is_as_good(self) -> None:
        assert judge(recorded(after=world(replace(running("orders"), restarts=1))), OBJECTIVE).ok


class TestState:
    def test_a_fault_that_is_still_there_is_told_with_its_evidence(self) -> None:
        still = FaultSeen("db_conn_drift", "orders", Evidence(True, "orders runs with the injected ORDERS_DB_HOST"))
        assert only(recorded(faults=(still,))) == Clause(still.clause, False, still.found.detail)  # type: ignore[union-attr]

    def test_of_two_faults_the_one_that_is_left_is_named(self) -> None:
        gone = recorded().faults[0]
        left = FaultSeen("service_killed", "catalog", Evidence(True, "catalog does not run"))
        assert only(recorded(faults=(gone, left))).name == "service_killed on catalog is gone"

    def test_evidence_that_is_missing_fails(self) -> None:
        clause = only(recorded(faults=(FaultSeen("db_conn_drift", "orders", Missing("orders does not run")),)))
        assert clause.detail == "the measurement failed: orders does not run"

    @pytest.mark.parametrize("name", FAULTS)
    def test_every_kind_of_fault_has_a_clause_that_fails_while_it_is_there(self, name: str) -> None:
        spec = Spec(name, FAULTS[name].targets[0])
        here = FaultSeen(spec.fault, spec.target, Evidence(True, "there"))
        clause = only(recorded(faults=(here,), allowed=allowed_starts([spec, DRIFT], {"orders": 1})))
        assert clause.name == f"{name} on {spec.target} is gone"


class TestUsers:
    @pytest.mark.parametrize(
        ("stats", "words"),
        [
            ({"success_ratio": 0.98}, "98.0% of 100 requests good"),
            ({"p95_ms": 1_000.1}, "within 1000 ms are promised"),
            ({"sent": 49}, "only 49 requests in 5 s; 20/s are declared"),
            ({"sent": 0, "success_ratio": None, "p95_ms": None}, "only 0 requests"),
            ({"success_ratio": None}, "figures are incomplete"),
            ({"p95_ms": "soon"}, "figures are incomplete"),
            ({"sent": None}, "figures are incomplete"),
            ({"sent": "nan"}, "only nan requests"),
            ({"success_ratio": "nan"}, "nan% of 100"),
        ],
    )
    def test_a_window_that_misses_the_objective_fails_and_says_by_what(
        self, stats: Mapping[str, object], words: str
    ) -> None:
        clause = only(recorded(traffic=Traffic({**STATS, **stats}, LOAD)))
        assert clause.name == SERVED
        assert words in clause.detail

    @pytest.mark.parametrize("name", ["noise", "seed"])
    def test_another_load_than_before_proves_nothing(self, name: str) -> None:
        clause = only(recorded(traffic=Traffic(STATS, {**LOAD, name: 0.0})))
        assert clause.detail == f"it is another load: {name} {LOAD[name]} before, 0.0 now"

    @pytest.mark.parametrize("rate", [0.0, 19.9, None, "nan", True, "many"])
    def test_a_generator_that_is_set_lower_proves_nothing_however_much_it_sent(self, rate: object) -> None:
        assert "20/s are declared" in only(recorded(traffic=Traffic(STATS, {**LOAD, "rate": rate}))).detail

    def test_a_load_that_was_too_low_before_is_too_low_now(self) -> None:
        low = {**LOAD, "rate": 1.0}
        assert not judge(recorded(before=Before(world(), low), traffic=Traffic(STATS, low)), OBJECTIVE).ok

    def test_figures_that_are_missing_fail(self) -> None:
        assert only(recorded(traffic=Missing("no answer"))) == Clause(
            SERVED, False, "the measurement failed: no answer"
        )


class TestEverythingElse:
    @pytest.mark.parametrize(
        ("after", "words"),
        [
            (world(without="catalog"), "catalog does not exist any more"),
            (world(replace(running("catalog"), state="stopped")), "catalog is stopped"),
            (world(replace(running("catalog"), restarts=1)), "catalog was started 1 times, 0 would do"),
            (world(replace(running("orders"), restarts=3)), "orders was started 3 times, 2 would do"),
            (world(replace(running("loadgen"), restarts=1)), "loadgen was started 1 times"),
            (world(replace(running("catalog"), managed=False)), "catalog is no longer managed"),
            (
                world(running("catalog", drift=(Drift("limits", "memory", "256", "9999"),))),
                "catalog drifts: limits memory",
            ),
            (world(running("shadow")), "shadow did not exist before"),
            (world(declared={**DECLARED, "inventory.json": "c" * 64}), "inventory.json, which declares the world"),
            (world(declared={"inventory.json": "a" * 64}), "world.json, which declares the world"),
        ],
    )
    def test_what_a_right_repair_does_not_do_is_told(self, after: Baseline, words: str) -> None:
        clause = only(recorded(after=after))
        assert clause.name == UNCHANGED
        assert words in clause.detail
        assert len(clause.items) == 1

    def test_starts_that_count_from_the_beginning_again_are_a_workload_made_anew(self) -> None:
        before = Before(world(replace(running("catalog"), restarts=5)), LOAD)
        assert "catalog was made anew" in only(recorded(before=before)).detail

    def test_every_difference_is_listed_and_not_the_first_one_only(self) -> None:
        stopped = [replace(running(name), state="stopped") for name in ("shop-db", "catalog")]
        assert len(only(recorded(after=world(*stopped))).items) == 2

    def test_a_world_that_cannot_be_looked_at_has_not_stayed_the_same(self) -> None:
        assert only(recorded(after=Missing("silence"))).detail == "the measurement failed: silence"

    def test_nothing_that_was_measured_holds_when_nothing_could_be(self) -> None:
        silent = FaultSeen("db_conn_drift", "orders", Missing("x"))
        seen = recorded(faults=(silent,), traffic=Missing("x"), after=Missing("x"))
        assert len(failed(seen)) == 3


class TestAllowedStarts:
    def test_only_where_a_fault_lies_and_what_the_injection_itself_did(self) -> None:
        assert allowed_starts([DRIFT], {"orders": 1, "catalog": 0}) == {"orders": 2}

    def test_two_faults_in_one_workload_may_take_two(self) -> None:
        assert allowed_starts([DRIFT, Spec("service_killed", "orders")], {}) == {"orders": 2}

    def test_a_link_is_repaired_at_its_source(self) -> None:
        assert allowed_starts([Spec("network_partition", "gateway--orders")], {}) == {"gateway": 1}

    def test_a_repair_of_several_actions_may_start_so_often_and_no_other_workload(self) -> None:
        assert allowed_starts([DRIFT], {}, actions=2) == {"orders": 2}

    def test_where_nothing_is_broken_nothing_may_be_started(self) -> None:
        assert not allowed_starts([], {})


class TestFingerprint:
    def test_it_is_the_same_for_the_same_world_whatever_runs_in_it(self) -> None:
        assert world().fingerprint == world(replace(running("orders"), restarts=9, pid=1)).fingerprint

    @pytest.mark.parametrize(
        "other",
        [world(without="orders"), world(declared={}), world(replace(running("orders"), managed=False))],
    )
    def test_another_declaration_is_another_fingerprint(self, other: Baseline) -> None:
        assert world().fingerprint != other.fingerprint

    def test_a_world_that_is_not_fit_to_be_broken_says_why(self) -> None:
        assert faults_of(world()) == ()
        assert faults_of(world(replace(running("orders"), state="failed"))) == ("orders is failed",)


def test_every_fault_can_be_told_apart_from_its_truth() -> None:
    for fault in FAULTS.values():
        for target in fault.targets:
            spec = Spec(fault.name, target)
            assert check(spec).truth(spec)[1] != "none"
