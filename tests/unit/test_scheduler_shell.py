"""What stands around the machine: its configuration from settings, and the watch over used-up deliveries."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry
from structlog.testing import CapturingLogger

from broker.errors import BrokerDownError
from broker.memory import MemoryBroker, MemoryJournal, settle
from broker.runtime.settings import Settings
from broker.subjects import MAX_DELIVERIES
from scheduler_svc.__main__ import make_machine
from scheduler_svc.config import scheduler_config
from scheduler_svc.core.config import SchedulerConfig
from scheduler_svc.shell import watch
from tests.support.scheduler import INVENTORY

TASK = "triage.task.log.inc-1.v1-t1.a1"


def test_the_slack_of_a_task_covers_two_deliveries_after_the_first(tmp_path: Path) -> None:
    made = scheduler_config(Settings(home=tmp_path, role="scheduler"), INVENTORY)
    assert made.redelivery_slack_s == 11.0
    assert made.auto_approve == "risky"
    assert made.refuses_doubled


@pytest.mark.parametrize(
    ("mode", "model_s", "planning_s"),
    [("rulebook", 300.0, 45.0), ("auto", 10.0, 45.0), ("auto", 60.0, 75.0), ("auto", 1e6, 3_600.0)],
)
def test_planning_waits_longer_than_the_planner_waits_for_its_model(
    tmp_path: Path, mode: str, model_s: float, planning_s: float
) -> None:
    given = {"home": tmp_path, "role": "scheduler", "planner_mode": mode, "model_timeout_s": model_s}
    assert scheduler_config(Settings.model_validate(given), INVENTORY).planning_timeout_s == planning_s


def test_the_careful_setting_reaches_the_machine(tmp_path: Path) -> None:
    machine = make_machine(Settings(home=tmp_path, role="scheduler", auto_approve="safe"), INVENTORY)
    assert machine.config.auto_approve == "safe"
    assert (machine.name, machine.version) == ("scheduler", 1)


def test_a_configuration_survives_its_recorded_form(tmp_path: Path) -> None:
    made = scheduler_config(Settings(home=tmp_path, role="scheduler"), INVENTORY)
    assert SchedulerConfig.decode(made.encode()) == made


async def use_up(journal: MemoryJournal) -> int:
    """Publish a task and let an agent give it back as often as it is delivered."""
    scheduler = MemoryBroker(journal, "scheduler-1", "scheduler")
    agent = MemoryBroker(journal, "log-1", "log")
    seq = await scheduler.publish(TASK, b"hopeless")
    for _ in range(MAX_DELIVERIES):
        pulled = asyncio.ensure_future(agent.pull("w-log", 1.0))
        await journal.advance(0.5)
        delivery = await pulled
        assert delivery is not None
        await delivery.nak()
    pulled = asyncio.ensure_future(agent.pull("w-log", 1.0))
    await journal.advance(2.0)
    assert await pulled is None
    return seq


@pytest.mark.asyncio
async def test_an_order_given_back_by_every_worker_is_counted_and_logged_and_nothing_is_said() -> None:
    journal, registry, sink = MemoryJournal(), CollectorRegistry(), CapturingLogger()
    log = structlog.wrap_logger(sink, processors=[], wrapper_class=structlog.make_filtering_bound_logger(0))
    broker = MemoryBroker(journal, "scheduler-2", "scheduler")
    watching = asyncio.create_task(watch(broker, registry, log))
    seq = await use_up(journal)
    await settle()
    assert registry.get_sample_value("triage_deliveries_used_up_total", {"kind": "log"}) == 1.0
    assert [call.kwargs for call in sink.calls] == [{"event": "deliveries_used_up", "kind": "log", "task_seq": seq}]
    assert await broker.last_sequence() == seq
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


@pytest.mark.asyncio
async def test_a_connection_that_is_gone_ends_the_watch_with_its_name() -> None:
    journal, registry = MemoryJournal(), CollectorRegistry()
    broker = MemoryBroker(journal, "scheduler-1", "scheduler")
    await broker.close()
    with pytest.raises(BrokerDownError):
        await watch(broker, registry, structlog.get_logger())
