"""The injector's idle process: what is open, and whether the world still shows it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest
import structlog
from prometheus_client import generate_latest

from injector.fault import Spec, World
from injector.injector import Injector
from injector.journal import FaultJournal
from injector.watch import CHECK, WatchHealth, WatchMetrics, look, watch
from services.platform.port import PlatformDownError
from tests.support.waiting import eventually
from tests.support.world import FakeFaults, shop_inventory


def injector(folder: Path, world: FakeFaults) -> Injector:
    return Injector(World(world, shop_inventory(), "docker"), FaultJournal(folder), now=lambda: "2026-01-01T00:00:00Z")


async def watched_once(subject: Injector, health: WatchHealth, metrics: WatchMetrics) -> None:
    task = asyncio.create_task(watch(lambda: subject, health, metrics, structlog.get_logger(), poll_s=60.0))

    async def looked() -> bool:
        return CHECK in health.checks()

    await eventually(looked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.asyncio
async def test_a_fault_that_somebody_repaired_is_open_and_not_shown(tmp_path: Path) -> None:
    world = FakeFaults()
    subject = injector(tmp_path, world)
    await subject.inject(Spec("service_stopped", "orders"))
    await subject.inject(Spec("cpu_hog", "catalog"))
    await world.start("orders")
    health = WatchHealth("injector", "injector-1")
    metrics = WatchMetrics(health)
    await watched_once(subject, health, metrics)
    text = generate_latest(metrics.registry).decode()
    assert 'triage_faults_open{fault="service_stopped",target="orders"} 1.0' in text
    assert 'triage_faults_shown{fault="service_stopped",target="orders"} 0.0' in text
    assert 'triage_faults_shown{fault="cpu_hog",target="catalog"} 1.0' in text
    assert health.ready
    rows = cast("list[dict[str, object]]", health.report()["faults"])
    assert {str(row["id"]): row["shown"] for row in rows} == {
        "service_stopped-orders-1": False,
        "cpu_hog-catalog-1": True,
    }


class Away(FakeFaults):
    async def hogs(self, name: str) -> int:
        raise PlatformDownError("the platform proxy does not answer")


@pytest.mark.asyncio
async def test_a_world_that_cannot_be_looked_at_is_said_and_counted(tmp_path: Path) -> None:
    FaultJournal(tmp_path).begin(Spec("cpu_hog", "catalog"), "2026-01-01T00:00:00Z")
    subject = injector(tmp_path, Away())
    [seen] = await look(subject)
    assert (seen.shown, seen.detail) == (None, "cpu_hog on catalog: the platform proxy does not answer")
    health = WatchHealth("injector", "injector-1")
    metrics = WatchMetrics(health)
    await watched_once(subject, health, metrics)
    assert not health.ready
    assert "triage_fault_looks_failed_total 1.0" in generate_latest(metrics.registry).decode()


@pytest.mark.asyncio
async def test_an_inventory_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    calls: list[int] = []

    def opened() -> Injector:
        calls.append(1)
        if len(calls) == 1:
            raise FileNotFoundError("inventory.json")
        return injector(tmp_path, FakeFaults())

    health = WatchHealth("injector", "injector-1")
    task = asyncio.create_task(watch(opened, health, WatchMetrics(health), structlog.get_logger(), poll_s=0.01))

    async def ready() -> bool:
        return health.ready

    await eventually(ready)
    task.cancel()
    assert len(calls) >= 2
