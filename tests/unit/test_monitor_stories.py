"""One story per scenario, on a virtual clock: what the monitor says from the first failing request to the verdict."""

from __future__ import annotations

import random

from broker.contracts.incident import IncidentReported
from broker.contracts.monitor import AgentLost
from tests.support.monitor_world import DEAD, HEALTHY, SECOND, Reading, World, users


def healthy_world() -> World:
    world = World()
    world.seconds(10)
    return world


def sliding(failing_share: float, second: int, window: int = 5) -> Reading:
    """Return the users' sample `second` seconds into an outage: the window fills with failures."""
    share = failing_share * min(second, window) / window
    return users(round(1.0 - share, 3))


def repaired(failing_share: float, second: int, window: int = 5) -> Reading:
    """Return the users' sample `second` seconds after a repair: the window empties."""
    return users(round(1.0 - failing_share * max(0, window - second) / window, 3))


def test_db_conn_drift_reported_by_a_person() -> None:
    world = healthy_world()
    injected_us = world.now_us
    world.report("h1", "checkout is dead, customers are angry")
    broken = Reading("ERROR", 4.0, success_ratio=0.0, error_code="gaierror", note="shop-db=gaierror")
    world.readings["orders"] = broken
    for second in range(1, 9):
        world.readings["loadgen"] = sliding(0.4, second)
        world.second()
    assert [(item.incident, item.device, item.kind) for item in world.deviations()] == [
        ("h1", "orders", "service_down"),
        ("h1", "loadgen", "objective_missed"),
    ]
    assert all(injected_us <= item.t_trigger_us <= injected_us + 2 * SECOND for item in world.deviations())
    assert "shop-db=gaierror" in world.deviations()[0].detail

    del world.readings["orders"]
    executed_us = world.now_us
    world.executed()
    for second in range(1, 8):
        world.readings["loadgen"] = repaired(0.4, second)
        world.second()
    (verdict,) = world.verdicts()
    assert verdict.ok
    assert verdict.success_ratio == 1.0
    assert world.now_us - executed_us <= 7 * SECOND
    world.close()
    world.seconds(60)
    assert world.opened() == []


def test_db_conn_drift_reported_by_nobody() -> None:
    world = healthy_world()
    world.readings["orders"] = Reading("ERROR", 4.0, error_code="gaierror", note="shop-db=gaierror")
    for second in range(1, 9):
        world.readings["loadgen"] = sliding(0.4, second)
        world.second()
    (report,) = world.opened()
    assert "orders: reports ERROR (gaierror, shop-db=gaierror)" in report.text
    assert [item.incident for item in world.deviations()] == [report.incident] * 2
    world.readings.clear()
    world.executed(report.incident)
    world.seconds(7)
    assert [item.ok for item in world.verdicts()] == [True]
    world.close(report.incident)
    world.seconds(60)
    assert len(world.opened()) == 1


def test_cache_poison_with_a_first_repair_that_did_not_help() -> None:
    world = healthy_world()
    world.report("h1")
    poisoned = {"catalog": Reading("WARN", 3.0, 0.8, error_code="JSONDecodeError"), "loadgen": users(0.85)}
    world.readings |= poisoned
    world.seconds(5)
    world.executed(version=1)
    world.seconds(25)
    (first,) = world.verdicts()
    assert not first.ok
    assert first.reasons == (
        "loadgen: success ratio 0.850 below 0.990",
        "catalog: is still degraded (JSONDecodeError)",
    )
    assert [item.kind for item in world.deviations()] == ["objective_missed", "verification_failed"]
    world.readings.clear()
    world.executed(version=2)
    world.seconds(7)
    assert [(item.n, item.plan_version, item.ok) for item in world.verdicts()] == [(1, 1, False), (2, 2, True)]


def test_network_partition_shows_as_users_who_wait_and_a_service_that_reports_its_dependency() -> None:
    world = healthy_world()
    world.report("h1")
    world.readings |= {
        "loadgen": users(0.6, 1_500.0),
        "orders": Reading("ERROR", 3.0, 0.0, error_code="TimeoutError", note="shop-db=TimeoutError"),
        "gateway": Reading("ERROR", 3.0, 0.5, error_code="ReadTimeout"),
    }
    world.seconds(3)
    assert {item.device for item in world.deviations()} == {"loadgen", "orders", "gateway"}
    world.readings = {"loadgen": users(1.0, 1_500.0)}
    world.executed()
    world.seconds(6)
    assert world.verdicts() == []
    world.readings.clear()
    world.seconds(2)
    assert [item.ok for item in world.verdicts()] == [True]


def test_service_killed_and_started_again() -> None:
    world = healthy_world()
    world.report("h1")
    world.readings |= {"orders": DEAD, "loadgen": users(0.6)}
    world.seconds(4)
    assert [item.device for item in world.deviations()] == ["orders", "loadgen"]
    world.readings = {"loadgen": users(0.8)}
    world.executed()
    world.seconds(3)
    world.readings.clear()
    world.seconds(4)
    assert [item.ok for item in world.verdicts()] == [True]


def test_agent_killed_in_mid_task_is_said_and_the_incident_goes_on() -> None:
    world = healthy_world()
    world.report("h1")
    world.hear(
        AgentLost(
            instance="action-agent-1",
            role="action",
            connection=9,
            reason="Client Closed",
            handed_on=("triage.task.action.h1.v1-t3.a1",),
        )
    )
    world.executed()
    world.seconds(7)
    assert [(item.kind, item.device) for item in world.deviations()] == [("agent_lost", "action-agent-1")]
    assert [item.ok for item in world.verdicts()] == [True]


def test_no_fault_with_noise_opens_nothing_and_says_nothing() -> None:
    """Noise 0.2 for ten minutes: single bad samples of the users and of services, never two of one device in a row."""
    for seed in range(5):
        draw = random.Random(seed)
        world = healthy_world()
        noisy: set[str] = set()
        for _ in range(600):
            noisy = {name for name in ("loadgen", "orders", "catalog") if name not in noisy and draw.random() < 0.2}
            world.readings = {name: users(0.97) if name == "loadgen" else Reading("WARN") for name in noisy}
            world.second()
        assert world.said() == []


def test_a_person_who_reports_although_nothing_is_broken() -> None:
    world = healthy_world()
    world.report("h1", "I think something is slow?")
    draw = random.Random(42)
    world.executed()
    for _ in range(10):
        world.readings = {"orders": Reading("WARN") if draw.random() < 0.2 else HEALTHY}
        world.second()
    assert [item.ok for item in world.verdicts()] == [True]
    assert world.deviations() == []
    world.close("h1", "no_fault")
    world.seconds(120)
    assert [message for message in world.said() if isinstance(message, IncidentReported)] == []


def test_a_stack_that_goes_down_for_the_night_and_comes_up_again() -> None:
    world = healthy_world()
    world.now_us += 8 * 3_600 * SECOND
    world.readings |= dict.fromkeys(world.config.inventory.names(), DEAD)
    world.seconds(12)
    world.readings.clear()
    world.seconds(30)
    assert world.said() == []
