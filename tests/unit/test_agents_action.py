"""ActionAgent: looks before it acts, acts once, refuses what is not in the catalogue."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.action.agent import ActionAgent
from broker.contracts.base import Scalar
from broker.contracts.task import Result, Task
from broker.runtime.worker_host import Work
from services.platform.port import Drift, Workload
from tests.support.world import FakePlatform, running, shop_inventory

DRIFT = (Drift("environment", "ORDERS_DB_HOST", "127.0.0.1", "shop-db-old.invalid"),)


def work(type_: str, target: str, args: dict[str, Scalar] | None = None, attempt: int = 1) -> Work:
    task = Task(
        incident="inc-1",
        task_id="v1-t1",
        attempt=attempt,
        kind="action",
        type=type_,
        target=target,
        args=args or {},
        plan_version=1,
        risk="risky",
        timeout_s=30.0,
        timer_id="task-inc-1-v1-t1-a1",
    )
    return Work(order=task, seq=10, time_us=500_000, deliveries=1, tag="DETERMINISTIC", subject=task.subject())


async def result(platform: FakePlatform, *order: object, **more: object) -> Result:
    agent = ActionAgent("action-agent-1", shop_inventory(), platform)
    answer = await agent.handle(work(*order, **more))  # type: ignore[arg-type]
    assert isinstance(answer, Result)
    return answer


@pytest.mark.asyncio
async def test_reconcile_removes_the_drift_and_keeps_it_as_evidence() -> None:
    platform = FakePlatform({"orders": running("orders", drift=DRIFT)})
    answer = await result(platform, "reconcile", "orders")
    assert (answer.status, answer.changed) == ("OK", True)
    assert answer.evidence == ("environment ORDERS_DB_HOST: declared 127.0.0.1, is shop-db-old.invalid",)
    assert platform.workloads["orders"].drift == ()


@pytest.mark.asyncio
async def test_the_same_order_delivered_twice_has_one_effect_and_both_say_it_changed_the_world() -> None:
    platform = FakePlatform({"orders": running("orders", drift=DRIFT)})
    first = await result(platform, "restart", "orders")
    second = await result(platform, "restart", "orders")
    assert (first.status, second.status) == ("OK", "OK")
    assert second.changed
    assert "already" in second.out
    assert platform.ledger == [("inc-1/v1-t1/a1", "orders", "restart")]


@pytest.mark.asyncio
async def test_nothing_to_reconcile_changes_nothing() -> None:
    platform = FakePlatform({"orders": running("orders")})
    answer = await result(platform, "reconcile", "orders")
    assert (answer.status, answer.changed, platform.ledger) == ("OK", False, [])


@pytest.mark.asyncio
async def test_what_was_given_a_wrong_command_is_not_started_but_left_to_reconcile() -> None:
    wrong = Drift("command", "orders", "python -m services.shop.orders", "python -m nothing")
    platform = FakePlatform({"orders": replace(running("orders", drift=(wrong, *DRIFT)), state="failed")})
    answer = await result(platform, "start", "orders")
    assert (answer.status, answer.changed) == ("OK", False)
    assert "orders was given another command and environment: reconcile starts it as declared" in answer.out
    assert platform.ledger == []


@pytest.mark.asyncio
async def test_starting_a_frozen_workload_is_refused_by_its_precondition() -> None:
    platform = FakePlatform({"orders": Workload("orders", True, "paused", 1, 1, 0, ())})
    answer = await result(platform, "start", "orders")
    assert (answer.status, answer.error_code) == ("FAIL", "precondition")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("type_", "target", "args"),
    [
        ("rm_rf", "orders", {}),
        ("check_logs", "orders", {"pattern": "x"}),
        ("restart", "payments", {}),
        ("restart", "loadgen", {}),
        ("flush_cache", "shop-cache", {"prefix": "*"}),
        ("restart", "orders", {"command": "sh"}),
    ],
)
async def test_an_order_outside_the_catalogue_is_refused_by_name(
    type_: str, target: str, args: dict[str, Scalar]
) -> None:
    platform = FakePlatform({"orders": running("orders"), "loadgen": running("loadgen")})
    answer = await result(platform, type_, target, args)
    assert (answer.status, answer.error_code, platform.ledger) == ("FAIL", "refused", [])


@pytest.mark.asyncio
async def test_check_config_says_what_conditions_ask_for() -> None:
    answer = await result(FakePlatform({"orders": running("orders", drift=DRIFT)}), "check_config", "orders")
    assert {key: answer.meta[key] for key in ("drifted", "running", "paused", "sound")} == {
        "drifted": True,
        "running": True,
        "paused": False,
        "sound": False,
    }


@pytest.mark.asyncio
async def test_a_health_check_waits_until_healthy() -> None:
    platform = FakePlatform({"orders": running("orders")}, healthy={"orders": [False, False, True]})
    answer = await result(platform, "check_health", "orders", {"within_s": 5.0})
    assert (answer.status, answer.meta["healthy"]) == ("OK", True)


@pytest.mark.asyncio
async def test_a_workload_that_stays_sick_fails_a_verifying_check_for_good() -> None:
    platform = FakePlatform({"orders": running("orders")}, healthy={"orders": [False]})
    answer = await result(platform, "check_health", "orders", {"within_s": 0.3})
    assert (answer.status, answer.error_code) == ("FAIL", "unhealthy")


@pytest.mark.asyncio
async def test_without_a_span_a_health_check_only_looks() -> None:
    platform = FakePlatform({"orders": running("orders")}, healthy={"orders": [False]})
    answer = await result(platform, "check_health", "orders")
    assert (answer.status, answer.meta["healthy"]) == ("OK", False)


@pytest.mark.asyncio
async def test_a_flush_says_how_much_it_deleted() -> None:
    platform = FakePlatform({"shop-cache": running("shop-cache")})
    answer = await result(platform, "flush_cache", "shop-cache", {"prefix": "catalog:"})
    assert (answer.status, answer.changed) == ("OK", True)
    assert "3 entries under catalog: deleted" in answer.out
