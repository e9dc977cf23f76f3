"""The fingerprint of a world: what counts as a difference, and what does not."""

from __future__ import annotations

from dataclasses import replace

from harness.suite.world import differences
from injector.collateral import Baseline, faults_of
from services.platform.port import Drift, Workload

ORDERS = Workload("orders", True, "running", 7, 1, 0, ())
CATALOG = replace(ORDERS, name="catalog", pid=8)
DRIFT = Drift("environment", "DB_HOST", "shop-db", "nowhere")


def world(*workloads: Workload) -> Baseline:
    return Baseline({workload.name: workload for workload in workloads})


BEFORE = world(ORDERS, CATALOG)


def test_a_restarted_service_leaves_the_world_as_it_was() -> None:
    assert differences(BEFORE, world(replace(ORDERS, pid=99, started_at_us=5, restarts=3), CATALOG)) == ()


def test_what_stopped_drifts_or_is_left_unmanaged_is_named() -> None:
    after = world(replace(ORDERS, state="stopped", pid=None), replace(CATALOG, managed=False, drift=(DRIFT,)))
    assert differences(BEFORE, after) == (
        "orders is stopped, it was running",
        "catalog is no longer managed",
        "catalog drifts: environment DB_HOST",
    )


def test_what_is_gone_and_what_came_is_named() -> None:
    assert differences(world(ORDERS), world(CATALOG)) == ("orders is gone", "catalog was not there before")


def test_a_drift_that_was_there_before_is_none_but_its_end_is() -> None:
    drifting = world(replace(ORDERS, drift=(DRIFT,)))
    assert differences(drifting, drifting) == ()
    assert differences(drifting, world(ORDERS)) == ("orders drifts no longer: environment DB_HOST",)


def test_a_world_is_as_declared_when_everything_runs_without_drift() -> None:
    assert faults_of(BEFORE) == ()
    assert faults_of(world(replace(ORDERS, state="failed"), replace(CATALOG, drift=(DRIFT,)))) == (
        "orders is failed",
        "catalog drifts: environment DB_HOST",
    )
