"""When a repair counts as proved, and what speaks against it otherwise."""

from __future__ import annotations

import pytest

from broker.contracts.base import Contract
from broker.contracts.control import Timer
from broker.contracts.inventory import Inventory
from broker.contracts.machine import CancelTimer, Publish, SetTimer
from broker.contracts.monitor import AgentLost, Verified
from broker.contracts.task import DeadLetter
from monitor_svc.core.config import MonitorConfig
from tests.support.monitor_world import DEAD, SECOND, SILENT, Reading, World, shop, users


def world_with_incident() -> World:
    world = World()
    world.seconds(10)
    world.report()
    return world


def verdict_of(world: World, limit: int = 30) -> tuple[Verified, float]:
    """Let time pass until the verdict; return it and how long it took."""
    took = world.until(lambda: bool(world.verdicts()), limit)
    return world.verdicts()[-1], took


def test_a_check_begins_with_a_deadline() -> None:
    world = world_with_incident()
    commands = world.executed()
    timer_id = f"verify-{world.seq}"
    assert commands == [
        SetTimer(
            Timer(
                machine="monitor",
                timer_id=timer_id,
                due_us=world.now_us + 20 * SECOND,
                purpose="verify",
                incident="h1",
                number=1,
            )
        )
    ]


def test_a_healthy_shop_is_verified_after_one_whole_window_and_the_timer_is_taken_back() -> None:
    world = world_with_incident()
    (timer,) = world.executed()
    assert isinstance(timer, SetTimer)
    took = world.until(lambda: bool(world.verdicts()))
    assert 5.0 <= took <= 7.0
    verdict = Verified(
        incident="h1", n=1, plan_version=1, ok=True, reasons=(), window_s=5.0, samples=6, success_ratio=1.0
    )
    decided = [command for _, command in world.commands]
    assert decided == [timer, Publish(verdict), CancelTimer("monitor", timer.timer.timer_id)]
    assert world.timers == {}
    world.seconds(40)
    assert len(world.verdicts()) == 1


def test_samples_that_still_contain_the_outage_do_not_fail_a_good_repair() -> None:
    world = world_with_incident()
    world.readings["loadgen"] = users(0.4)
    world.seconds(3)
    world.executed()
    world.seconds(4)
    assert world.verdicts() == []
    world.readings["loadgen"] = users(1.0)
    verdict, took = verdict_of(world)
    assert verdict.ok
    assert took <= 3.0


def test_good_samples_before_the_window_lies_after_the_repair_prove_nothing() -> None:
    world = world_with_incident()
    world.executed()
    world.seconds(5)
    assert world.verdicts() == []
    world.readings["loadgen"] = users(0.5)
    verdict, took = verdict_of(world)
    assert not verdict.ok
    assert took >= 14.0


@pytest.mark.parametrize(
    ("situation", "device", "reading", "reason"),
    [
        ("users still fail", "loadgen", users(0.9), "loadgen: success ratio 0.900 below 0.990"),
        ("users still wait", "loadgen", users(1.0, 2_500.0), "95th percentile 2500 ms above 1000 ms"),
        ("nobody comes", "loadgen", users(None, None, 0.0), "loadgen: 0 user requests in the window, 5 are needed"),
        ("too few come", "loadgen", users(1.0, 5.0, 0.4), "loadgen: 2 user requests in the window"),
        ("latency unknown", "loadgen", users(1.0, None), "latency of the users' requests was not measured"),
        ("load generator stopped", "loadgen", DEAD, "loadgen: 0 user requests in the window"),
        ("measurement silent", "loadgen", SILENT, "loadgen: the measurement of the users' traffic fell silent"),
        ("a device is down", "shop-cache", DEAD, "shop-cache: is in ERROR (ECONNREFUSED)"),
        (
            "a device reports ERROR",
            "orders",
            Reading("ERROR", 3.0, note="shop-db=x"),
            "orders: is in ERROR (shop-db=x)",
        ),
        ("a device stays degraded", "catalog", Reading("WARN", note="shop-cache=x"), "catalog: is still degraded"),
        ("a device is silent", "catalog", SILENT, "catalog: was not heard since the repair"),
    ],
)
def test_what_speaks_against_a_repair(situation: str, device: str, reading: Reading, reason: str) -> None:
    world = world_with_incident()
    world.readings[device] = reading
    world.seconds(2)
    world.executed()
    verdict, took = verdict_of(world)
    assert not verdict.ok, situation
    assert 19.0 <= took < 20.5
    assert len(verdict.reasons) == 1
    assert reason in verdict.reasons[0]
    failed = world.deviations()[-1]
    assert (failed.kind, failed.device) == ("verification_failed", device)
    assert failed.detail == verdict.reasons[0]
    assert world.timers == {}


def test_all_sensors_silent_is_not_a_pass() -> None:
    world = world_with_incident()
    world.executed()
    world.readings |= dict.fromkeys(world.config.inventory.names(), SILENT)
    verdict, took = verdict_of(world)
    assert not verdict.ok
    assert took >= 19.0
    assert len(verdict.reasons) == len(world.config.inventory.devices)


def test_sensors_that_fell_silent_after_a_good_sample_are_not_a_pass() -> None:
    world = world_with_incident()
    world.readings["orders"] = DEAD
    world.executed()
    world.seconds(10)
    world.readings |= dict.fromkeys(world.config.inventory.names(), SILENT)
    verdict, _ = verdict_of(world)
    assert "loadgen: the measurement of the users' traffic fell silent" in verdict.reasons
    assert any(reason.startswith("orders: silent for") for reason in verdict.reasons)


def test_an_inventory_without_traffic_never_verifies() -> None:
    devices = tuple(device for device in shop().devices if device.kind != "traffic")
    world = World(MonitorConfig(inventory=Inventory(devices=devices)))
    world.seconds(2)
    world.report()
    world.executed()
    verdict, _ = verdict_of(world)
    assert verdict.reasons == ("traffic: no device of the inventory measures the users' traffic",)
    assert verdict.success_ratio is None


def test_one_degraded_sample_is_no_symptom() -> None:
    world = world_with_incident()
    world.executed()
    world.seconds(4)
    world.readings["orders"] = Reading("WARN", note="slow:shop-db=150ms")
    world.seconds(1)
    verdict, _ = verdict_of(world)
    assert verdict.ok


def test_a_repair_that_only_helps_late_is_still_verified_before_the_deadline() -> None:
    world = world_with_incident()
    world.readings["loadgen"] = users(0.5)
    world.executed()
    world.seconds(12)
    world.readings["loadgen"] = users(1.0)
    verdict, _ = verdict_of(world)
    assert verdict.ok


def test_every_executed_plan_version_gets_a_round_of_its_own() -> None:
    world = world_with_incident()
    world.readings["loadgen"] = users(0.5)
    world.executed(version=1)
    world.until(lambda: len(world.verdicts()) == 1)
    world.executed(version=2)
    del world.readings["loadgen"]
    world.until(lambda: len(world.verdicts()) == 2)
    assert [(item.n, item.plan_version, item.ok) for item in world.verdicts()] == [(1, 1, False), (2, 2, True)]


def test_a_newer_plan_version_ends_the_running_round_as_not_ok() -> None:
    world = world_with_incident()
    world.executed(version=1)
    world.seconds(1)
    world.executed(version=2)
    world.executed(version=1)
    world.until(lambda: len(world.verdicts()) == 2)
    world.seconds(40)
    assert [(item.n, item.plan_version, item.ok) for item in world.verdicts()] == [(1, 1, False), (2, 2, True)]
    assert world.verdicts()[0].reasons == ("plan: version 2 was executed before the check of 1 ended",)


def test_an_incident_that_closes_ends_its_check_without_a_verdict() -> None:
    world = world_with_incident()
    (timer,) = world.executed()
    assert isinstance(timer, SetTimer)
    assert world.close(verdict="unresolved") == [CancelTimer("monitor", timer.timer.timer_id)]
    world.seconds(30)
    assert world.verdicts() == []


def test_a_deadline_that_comes_after_the_verdict_is_ignored() -> None:
    world = world_with_incident()
    (command,) = world.executed()
    assert isinstance(command, SetTimer)
    world.until(lambda: bool(world.verdicts()))
    assert world.hear(command.timer, command.timer.due_subject()) == []


def test_a_plan_of_an_incident_that_is_not_open_starts_nothing() -> None:
    world = World()
    assert world.executed("stranger") == []


@pytest.mark.parametrize(
    ("message", "kind", "device"),
    [
        (
            AgentLost(
                instance="log-agent-1",
                role="log",
                connection=7,
                reason="Stale Connection",
                handed_on=("triage.task.x",),
            ),
            "agent_lost",
            "log-agent-1",
        ),
        (
            AgentLost(instance="log-agent-1", role="log", connection=7, reason="Stale Connection", handed_on=()),
            "agent_lost",
            "log-agent-1",
        ),
        (AgentLost(instance="log-agent-1", role="log", connection=7, reason="Client Closed", handed_on=()), None, ""),
        (DeadLetter(incident="h1", task_id="v1-t1", attempt=3, reason="no agent finished it"), "task_failed", "v1-t1"),
    ],
)
def test_agents_and_tasks_that_are_given_up(message: Contract, kind: str | None, device: str) -> None:
    world = world_with_incident()
    world.hear(message)
    assert [(item.kind, item.device) for item in world.deviations()] == ([] if kind is None else [(kind, device)])


def test_a_lost_agent_without_an_incident_is_no_deviation() -> None:
    world = World()
    lost = AgentLost(instance="log-agent-1", role="log", connection=7, reason="Stale Connection", handed_on=())
    assert world.hear(lost) == []


@pytest.mark.parametrize(
    ("subject", "read"),
    [
        ("triage.telemetry.orders", True),
        ("triage.incident.h1.reported", True),
        ("triage.incident.h1.closed", True),
        ("triage.incident.h1.answered.1", False),
        ("triage.plan.h1.v1.executed", True),
        ("triage.plan.h1.v1.a1.proposed", False),
        ("triage.task.log.h1.v1-t1.a1", True),
        ("triage.claim.log.h1.v1-t1.a1", False),
        ("triage.result.log.h1.v1-t1.a1", True),
        ("triage.dead.h1.v1-t1.a1", True),
        ("triage.agent.log-agent-1.lost", True),
        ("triage.agent.log-agent-1.up", False),
        ("triage.due.monitor.verify-1", True),
        ("triage.due.scheduler.t1", False),
        ("triage.timer.monitor.verify-1", False),
        ("triage.deviation.h1.1", False),
        ("other.telemetry.orders", False),
    ],
)
def test_what_the_monitor_reads(subject: str, read: bool) -> None:
    assert World().machine.reads(subject) is read
