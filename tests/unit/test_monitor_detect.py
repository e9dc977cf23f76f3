"""When a deviation is one, and when the monitor opens an incident by itself."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from broker.contracts.machine import Event, Publish
from broker.contracts.monitor import Deviation
from broker.contracts.task import Result, Task
from monitor_svc.core.config import MonitorConfig
from monitor_svc.core.detect import problem_of
from tests.support.monitor_world import DEAD, HEALTHY, SECOND, SILENT, START_US, Reading, World, shop, users

INVENTORY = shop()


def healthy_world() -> World:
    """Return a world that has been healthy for ten seconds."""
    world = World()
    assert world.seconds(10) == []
    return world


@pytest.mark.parametrize(
    ("situation", "device", "reading", "expected"),
    [
        ("users are content", "loadgen", users(), None),
        ("exactly at the objective", "loadgen", users(0.99, 1_000.0), None),
        ("users get errors", "loadgen", users(0.5), "objective_missed"),
        ("users wait", "loadgen", users(1.0, 1_500.0), "objective_missed"),
        ("all requests fail, so there is no latency", "loadgen", users(0.0, None), "objective_missed"),
        ("nobody came", "loadgen", users(None, None, 0.0), None),
        ("the load generator does not answer", "loadgen", DEAD, "service_down"),
        ("sensor calls failing users ERROR", "loadgen", Reading("ERROR", 40.0, 0.5), "objective_missed"),
        ("a service is fine", "orders", HEALTHY, None),
        ("a service is degraded", "orders", Reading("WARN"), None),
        ("a service does not answer", "orders", DEAD, "service_down"),
        ("a service answers that it cannot work", "orders", Reading("ERROR", 3.0), "service_down"),
        ("a service's own bad ratio alone", "orders", Reading(success_ratio=0.1), None),
    ],
)
def test_what_one_sample_shows(situation: str, device: str, reading: Reading, expected: str | None) -> None:
    item = INVENTORY.get(device)
    assert item is not None
    problem = problem_of(item, reading.telemetry(device, START_US), INVENTORY.objective)
    assert (problem and problem[0]) == expected, situation


def test_a_single_bad_sample_is_no_deviation() -> None:
    world = healthy_world()
    world.report()
    world.readings["loadgen"] = users(0.9)
    world.second()
    del world.readings["loadgen"]
    assert world.seconds(20) == []


def test_two_bad_samples_in_a_row_are_a_deviation_dated_by_the_first() -> None:
    world = healthy_world()
    world.report()
    world.readings["orders"] = DEAD
    world.second()
    first_us = [event.time_us for event in world.events if event.subject == "triage.telemetry.orders"][-1]
    assert world.deviations() == []
    commands = world.second()
    assert commands == [
        Publish(
            Deviation(
                incident="h1",
                n=1,
                kind="service_down",
                device="orders",
                t_trigger_us=first_us,
                detail="does not answer (ECONNREFUSED)",
            )
        )
    ]


def test_a_deviation_is_said_once_per_incident_however_long_it_lasts_and_flaps() -> None:
    world = healthy_world()
    world.report()
    for _ in range(5):
        world.readings["orders"] = DEAD
        world.seconds(4)
        del world.readings["orders"]
        world.seconds(4)
    assert [(item.n, item.device) for item in world.deviations()] == [(1, "orders")]


def test_several_devices_are_said_users_first() -> None:
    world = healthy_world()
    world.readings |= {"orders": DEAD, "loadgen": users(0.2), "shop-db": DEAD}
    world.seconds(3)
    commands = world.report()
    assert [c.message.device for c in commands if isinstance(c, Publish) and isinstance(c.message, Deviation)] == [
        "loadgen",
        "shop-db",
        "orders",
    ]
    assert [item.n for item in world.deviations()] == [1, 2, 3]


def test_a_human_report_within_the_grace_gets_the_deviation_at_once_and_nothing_is_opened() -> None:
    world = healthy_world()
    world.readings["loadgen"] = users(0.2)
    world.seconds(4)
    assert world.said() == []
    world.report()
    assert [item.incident for item in world.deviations()] == ["h1"]
    assert world.deviations()[0].t_trigger_us < world.now_us - 3 * SECOND
    world.seconds(30)
    assert world.opened() == []


def test_nobody_reports_so_the_monitor_opens_after_the_grace_with_facts() -> None:
    world = healthy_world()
    world.readings |= {"loadgen": users(0.2), "orders": Reading("ERROR", 3.0, error_code="gaierror", note="shop-db=x")}
    took = world.until(lambda: bool(world.opened()))
    assert 5.0 <= took <= 7.0
    (report,) = world.opened()
    assert report.source == "monitor"
    assert report.incident == f"m{next(seq for seq, command in world.commands if isinstance(command, Publish))}"
    assert "loadgen: success ratio 0.200 below 0.990 over 5 s" in report.text
    assert "orders: reports ERROR (gaierror, shop-db=x)" in report.text
    assert [(item.incident, item.n, item.device) for item in world.deviations()] == [
        (report.incident, 1, "loadgen"),
        (report.incident, 2, "orders"),
    ]


def test_it_opens_only_one_incident_while_that_is_open() -> None:
    world = healthy_world()
    world.readings["loadgen"] = users(0.2)
    world.seconds(20)
    world.readings["shop-db"] = DEAD
    world.seconds(100)
    assert len(world.opened()) == 1


def test_a_person_who_reports_in_the_same_moment_gets_the_deviations() -> None:
    """The person's report stands before the monitor's own in the journal: the scheduler will merge the latter."""
    world = healthy_world()
    world.readings["loadgen"] = users(0.2)
    world.seconds(5)
    state = world.state
    while not (commands := _step_alone(world)):
        state = world.state
    assert state.opening is None
    (opened,) = commands
    world.report("h1")
    world.hear(opened.message)
    world.close(opened.message.subject().split(".")[2], "merged")
    world.seconds(3)
    assert [item.incident for item in world.deviations()] == ["h1"]
    assert [item.incident for item in world.state.open] == ["h1"]


def _step_alone(world: World) -> list[Publish]:
    """Feed one traffic sample without reading the machine's own messages back."""
    world.seq += 1
    world.now_us += SECOND // 4
    sample = users(0.2).telemetry("loadgen", world.now_us)
    event = Event(world.seq, world.now_us, sample.subject(), sample, "test/1")
    world.state, commands = world.machine.step(world.state, event)
    return [command for command in commands if isinstance(command, Publish)]


def test_a_blip_that_is_gone_before_the_grace_ends_opens_nothing() -> None:
    world = healthy_world()
    world.readings["loadgen"] = users(0.95)
    world.seconds(4)
    del world.readings["loadgen"]
    world.seconds(60)
    assert world.said() == []


def test_a_silent_device_is_down_while_others_speak() -> None:
    world = healthy_world()
    world.report()
    world.readings["shop-cache"] = SILENT
    world.seconds(5)
    (deviation,) = world.deviations()
    assert (deviation.device, deviation.kind) == ("shop-cache", "service_down")
    assert deviation.detail == "said nothing for more than 3 s"


def test_a_device_that_never_spoke_is_down_too() -> None:
    world = World()
    world.readings["shop-cache"] = SILENT
    world.seconds(2)
    world.report()
    world.seconds(5)
    assert [item.device for item in world.deviations()] == ["shop-cache"]


def test_sensors_that_were_away_make_nobody_silent() -> None:
    world = healthy_world()
    world.report()
    world.now_us += 6 * SECOND
    assert world.seconds(10) == []


def test_a_stack_that_is_starting_is_no_incident() -> None:
    world = World()
    world.readings |= dict.fromkeys(("orders", "gateway", "catalog"), DEAD) | {"loadgen": users(0.0)}
    world.seconds(20)
    world.readings.clear()
    world.seconds(20)
    assert world.said() == []


def test_a_device_that_never_becomes_healthy_is_an_incident_after_the_start_up_allowance() -> None:
    world = World()
    world.readings["orders"] = DEAD
    assert 30.0 <= world.until(lambda: bool(world.opened())) <= 33.0


def test_a_measuring_device_that_is_gone_opens_nothing_and_is_said_where_an_incident_is_open() -> None:
    world = healthy_world()
    world.readings["loadgen"] = DEAD
    world.seconds(60)
    assert world.opened() == []
    world.report()
    assert [item.device for item in world.deviations()] == ["loadgen"]


def test_after_a_repair_the_window_of_the_outage_does_not_reopen_it() -> None:
    world = healthy_world()
    world.readings["loadgen"] = users(0.2)
    world.seconds(2)
    world.report()
    world.close(verdict="verified")
    world.seconds(6)
    del world.readings["loadgen"]
    world.seconds(60)
    assert world.opened() == []


def test_a_fault_that_comes_back_after_a_repair_is_reported_again() -> None:
    world = healthy_world()
    world.report()
    world.close(verdict="verified")
    world.seconds(20)
    world.readings["loadgen"] = users(0.2)
    assert world.until(lambda: bool(world.opened())) <= 7.0


def test_an_unresolved_incident_is_not_reopened_in_a_loop() -> None:
    world = healthy_world()
    world.readings["loadgen"] = users(0.2)
    waits = []
    for round_ in range(3):
        waits.append(world.until(lambda wanted=round_ + 1: len(world.opened()) == wanted, 400))  # type: ignore[misc]
        world.close(world.opened()[-1].incident, "unresolved")
    assert waits[0] <= 7.0
    assert 60.0 <= waits[1] <= 62.0
    assert 120.0 <= waits[2] <= 122.0


def test_after_an_unresolved_incident_calm_ends_the_back_off() -> None:
    world = healthy_world()
    world.readings["loadgen"] = users(0.2)
    world.until(lambda: bool(world.opened()))
    world.close(world.opened()[-1].incident, "unresolved")
    del world.readings["loadgen"]
    world.seconds(12)
    world.readings["loadgen"] = users(0.2)
    assert world.until(lambda: len(world.opened()) == 2) <= 7.0


def test_flapping_does_not_end_the_back_off() -> None:
    world = healthy_world()
    world.readings["loadgen"] = users(0.2)
    world.until(lambda: bool(world.opened()))
    world.close(world.opened()[-1].incident, "unresolved")
    for _ in range(4):
        del world.readings["loadgen"]
        world.seconds(4)
        world.readings["loadgen"] = users(0.2)
        world.seconds(8)
    assert len(world.opened()) == 1


def test_a_merged_report_changes_nothing() -> None:
    world = healthy_world()
    world.report("h1")
    world.report("h2")
    world.close("h2", "merged")
    world.readings["orders"] = DEAD
    world.seconds(3)
    assert [item.incident for item in world.deviations()] == ["h1"]


def test_an_id_that_is_reported_again_after_its_end_is_not_begun_anew() -> None:
    world = healthy_world()
    world.report("h1")
    world.readings["orders"] = DEAD
    world.seconds(3)
    world.close("h1")
    world.report("h1")
    world.seconds(3)
    assert [item.n for item in world.deviations()] == [1]
    assert world.state.open == ()


def test_an_unknown_device_changes_nothing() -> None:
    world = healthy_world()
    world.report()
    before = world.state
    for _ in range(5):
        assert world.hear(DEAD.telemetry("intruder", world.now_us)) == []
    assert world.state == before


def test_a_sensor_whose_own_clock_runs_backwards_is_judged_by_the_broker_s() -> None:
    world = healthy_world()
    world.report()
    for second in range(4):
        world.now_us += SECOND
        sample = DEAD.telemetry("orders", world.now_us).model_copy(
            update={"timestamp": datetime(2001, 1, 4 - second, tzinfo=UTC)}
        )
        world.hear(sample)
    assert [item.device for item in world.deviations()][:1] == ["orders"]
    assert world.deviations()[0].t_trigger_us > START_US


def task(task_id: str = "v1-t1") -> Task:
    return Task(
        incident="h1",
        task_id=task_id,
        attempt=1,
        kind="action",
        type="restart",
        target="orders",
        args={},
        plan_version=1,
        risk="risky",
        timeout_s=30.0,
        timer_id="t",
    )


def result(status: str, task_id: str = "v1-t1") -> Result:
    return Result.model_validate(
        {
            "incident": "h1",
            "task_id": task_id,
            "attempt": 1,
            "kind": "action",
            "instance": "action-agent-1",
            "status": status,
            "out": "it would not start",
            "error_code": "VerbFailedError",
        }
    )


def test_a_failed_task_is_a_deviation_of_its_target() -> None:
    world = healthy_world()
    world.report()
    world.hear(task())
    world.hear(result("FAIL"))
    (deviation,) = world.deviations()
    assert (deviation.kind, deviation.device) == ("task_failed", "orders")
    assert deviation.t_trigger_us == world.events[-2].time_us
    assert "v1-t1: attempt 1 failed (VerbFailedError): it would not start" in deviation.detail


def test_a_task_that_went_well_is_none() -> None:
    world = healthy_world()
    world.report()
    world.hear(task())
    assert world.hear(result("OK")) == []


def test_a_failed_task_of_no_open_incident_is_none() -> None:
    world = healthy_world()
    world.hear(task())
    assert world.hear(result("FAIL")) == []


def test_deviations_of_one_incident_are_bounded() -> None:
    world = World(MonitorConfig(inventory=INVENTORY, max_deviations=3))
    world.report()
    for number in range(10):
        world.hear(result("FAIL", f"v1-t{number}"))
    assert len(world.deviations()) == 3
