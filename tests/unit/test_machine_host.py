"""The host of machines: restarts, rivals, outages, snapshots, and what it does when two truths meet."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from broker.contracts.base import Contract
from broker.contracts.plan import PlanRequested
from broker.envelope import open_frame
from broker.errors import DivergenceError
from broker.memory import MemoryBroker, MemoryJournal
from broker.runtime.machine_host import SNAPSHOT_EVENTS, MachineHost
from broker.runtime.metrics import Health, Metrics
from tests.support.machines import DeskConfig, DeskMachine, DeskState, answer, report, result, task
from tests.support.signing import gate, signer

pytestmark = pytest.mark.asyncio
Host = MachineHost[DeskState]


class Scene:
    """A journal, and whoever speaks in it."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self._operator = MemoryBroker(self.journal, "op-1", "operator")
        self._agent = MemoryBroker(self.journal, "log-1", "log")
        self._signers = {role: signer(role, journal=self.journal) for role in ("operator", "log", "scheduler")}
        self._hosts = 0

    async def say(self, message: Contract) -> int:
        return await self._operator.publish(message.subject(), self._signers["operator"].seal(message))

    async def finish(self, incident: str) -> None:
        order = task(incident, timer_id=f"task-{incident}-1")
        frame = self._signers["log"].seal(result(order))
        await self._agent.publish(
            result(order).subject(), frame, cancel_timer=f"triage.timer.scheduler.{order.timer_id}"
        )

    async def say_as_scheduler(self, message: Contract, cause: int) -> None:
        broker = MemoryBroker(self.journal, "scheduler-x", "scheduler")
        await broker.publish(message.subject(), self._signers["scheduler"].seal(message, cause=cause))

    def host(self, machine: DeskMachine | None = None) -> Host:
        self._hosts += 1
        name = f"scheduler-{self._hosts}"
        broker = MemoryBroker(self.journal, name, "scheduler")
        return MachineHost(
            machine or DeskMachine(),
            broker,
            signer("scheduler", name, journal=self.journal),
            gate("scheduler"),
            metrics=Metrics(),
            health=Health(),
            sleep=self.journal.sleep,
        )

    def spoken(self) -> list[tuple[str, bytes]]:
        """Return subject and payload of everything that stands, timers that wait included."""
        standing = [*self.journal.messages(), *self.journal.waiting_timers()]
        return [(item.subject, open_frame(item.data).payload) for item in standing]

    def subjects(self) -> list[str]:
        return [item.subject for item in self.journal.messages()]


@asynccontextmanager
async def running(*hosts: Host) -> AsyncIterator[None]:
    """Run hosts for a block; what ended one early is raised."""
    tasks = [asyncio.create_task(host.run()) for host in hosts]
    try:
        yield
        for task_ in tasks:
            if task_.done():
                task_.result()
    finally:
        for task_ in tasks:
            task_.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def counted(host: Host, name: str, **labels: str) -> float:
    value = host._metrics.registry.get_sample_value(name, labels)
    return 0.0 if value is None else value


async def play(scene: Scene) -> None:
    """Two incidents: one answered and done, one left to its time-out."""
    await scene.say(report("i1"))
    await scene.journal.advance(1)
    await scene.say(answer("i1"))
    await scene.say(report("i2"))
    await scene.journal.advance(1)
    await scene.finish("i1")
    await scene.journal.advance(15)


async def reference() -> Scene:
    scene = Scene()
    async with running(scene.host()):
        await play(scene)
    return scene


async def test_a_report_is_answered_by_what_the_machine_decides() -> None:
    scene = Scene()
    host = scene.host()
    async with running(host):
        seq = await scene.say(report("i1"))
        await scene.journal.advance(0.1)
        asked = scene.journal.last("triage.plan.i1.v1.a1.requested")
        assert asked is not None
        envelope = open_frame(asked.data)
        assert (envelope.cause, envelope.sender) == (seq, "scheduler/scheduler-1")
        assert PlanRequested.decode(envelope.payload).text == "please plan: orders are slow"
        assert scene.journal.last("triage.timer.scheduler.plan-i1") is not None
    assert host.caught_up.is_set()
    assert counted(host, "triage_commands_total", outcome="said") == 2


async def test_commands_are_said_in_the_order_of_decision() -> None:
    scene = await reference()
    stored = [item.subject for item in scene.journal.log if "i1" in item.subject]
    assert stored == [
        "triage.incident.i1.reported",
        "triage.plan.i1.v1.a1.requested",
        "triage.incident.i1.answered.1",
        "triage.task.log.i1.v1-t1.a1",
        "triage.result.log.i1.v1-t1.a1",
        "triage.incident.i1.closed",
    ]
    assert scene.journal.last("triage.incident.i2.closed") is not None, "the other one timed out"


async def test_reading_again_decides_the_same_and_says_nothing() -> None:
    scene = await reference()
    before = list(scene.journal.log)
    host = scene.host()
    async with running(host):
        await scene.journal.advance(30)
    assert scene.journal.log == before
    assert host.state.closed == ("i1", "i2")
    assert host._decider.open == ()


async def test_what_was_decided_and_not_said_is_said_after_a_restart() -> None:
    scene = Scene()
    async with running(scene.host()):
        await scene.journal.advance(0.1)
        await scene.say(report("i1"))
        scene.journal.faults.lost_publishes = 10**6
        await scene.journal.advance(3)
        assert scene.subjects() == ["triage.incident.i1.reported"]
    scene.journal.faults.lost_publishes = 0
    async with running(scene.host()):
        await scene.journal.advance(1)
    assert "triage.plan.i1.v1.a1.requested" in scene.subjects()


async def test_two_hosts_leave_the_same_journal_as_one() -> None:
    alone = await reference()
    scene = Scene()
    async with running(scene.host(), scene.host()):
        await play(scene)
    assert sorted(scene.spoken()) == sorted(alone.spoken())


@pytest.mark.parametrize("seed", range(8))
async def test_hosts_that_die_at_any_moment_leave_the_same_journal(seed: int) -> None:
    alone = await reference()
    scene = Scene()
    chance = random.Random(seed)
    hosts = [scene.host(), scene.host()]
    tasks = [asyncio.create_task(host.run()) for host in hosts]

    async def disturb() -> None:
        while True:
            for _ in range(chance.randrange(40)):
                await asyncio.sleep(0)
            victim = chance.randrange(2)
            tasks[victim].cancel()
            await asyncio.gather(tasks[victim], return_exceptions=True)
            if chance.random() < 0.5 and hosts[victim].caught_up.is_set():
                await hosts[victim].save()
            hosts[victim] = scene.host()
            tasks[victim] = asyncio.create_task(hosts[victim].run())

    disturbing = asyncio.create_task(disturb())
    await play(scene)
    disturbing.cancel()
    await asyncio.gather(disturbing, return_exceptions=True)
    await scene.journal.advance(20)
    failures = [task_.exception() for task_ in tasks if task_.done() and not task_.cancelled()]
    for task_ in tasks:
        task_.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert failures == []
    assert set(scene.spoken()) == set(alone.spoken())


async def test_another_decision_than_the_journals_is_a_divergence_with_both_texts() -> None:
    scene = await reference()
    host = scene.host(DeskMachine(DeskConfig(greeting="kindly plan: "), claims=DeskConfig()))
    with pytest.raises(DivergenceError) as error:
        await host.run()
    assert error.value.subject == "triage.plan.i2.v1.a1.requested"
    assert b"please plan: orders" in (error.value.recorded or b"")
    assert b"kindly plan: orders" in (error.value.decided or b"")
    assert counted(host, "triage_divergences_total") == 1
    assert not host._health.ready


async def test_another_configuration_lets_stand_what_was_decided_and_decides_what_comes() -> None:
    scene = await reference()
    async with running(scene.host(DeskMachine(DeskConfig(greeting="kindly plan: ")))):
        await scene.journal.advance(0.1)
        await scene.say(report("i7"))
        await scene.journal.advance(0.5)
    asked = dict(scene.spoken())
    assert b"please plan: orders" in asked["triage.plan.i1.v1.a1.requested"]
    assert b"kindly plan: " in asked["triage.plan.i7.v1.a1.requested"]


async def test_what_came_in_while_the_configuration_was_changed_is_answered_under_the_old_one() -> None:
    """An incident hung for ever: its time-out came while the stack was down, and nobody answered it afterwards."""
    scene = Scene()
    before = scene.host()
    async with running(before):
        await scene.say(report("i1"))
        await scene.journal.advance(0.1)
        await before.save()
    await scene.say(report("i2"))  # nobody is there
    after = scene.host(DeskMachine(DeskConfig(greeting="kindly plan: ")))
    async with running(after):
        await scene.journal.advance(0.1)
        await scene.say(report("i3"))
        await scene.journal.advance(0.1)
        again = scene.host(DeskMachine(DeskConfig(greeting="kindly plan: ")))
        async with running(again):
            await scene.journal.advance(0.1)
            assert again.state == after.state
    asked = dict(scene.spoken())
    assert b"please plan: " in asked["triage.plan.i2.v1.a1.requested"]
    assert b"kindly plan: " in asked["triage.plan.i3.v1.a1.requested"]


async def test_what_a_changed_configuration_finds_is_still_compared_up_to_there() -> None:
    scene = Scene()
    before = scene.host()
    async with running(before):
        await scene.journal.advance(0.1)
        await before.save()
    cause = await scene.say(report("i1"))
    other = PlanRequested(incident="i1", version=1, attempt=1, text="something else")
    await scene.say_as_scheduler(other, cause=cause)
    with pytest.raises(DivergenceError, match="something else"):
        await scene.host(DeskMachine(DeskConfig(greeting="kindly plan: "))).run()


async def test_a_recorded_decision_that_was_never_decided_is_a_divergence() -> None:
    scene = await reference()
    await scene.say_as_scheduler(PlanRequested(incident="i9", version=1, attempt=1, text="out of nothing"), cause=1)
    with pytest.raises(DivergenceError) as error:
        await scene.host().run()
    assert error.value.decided is None
    assert b"out of nothing" in (error.value.recorded or b"")


async def test_a_rival_that_decides_otherwise_is_met_live() -> None:
    scene = Scene()
    host = scene.host()
    task_ = asyncio.create_task(host.run())
    await scene.journal.advance(0.1)
    other = PlanRequested(incident="i1", version=1, attempt=1, text="something else")
    await scene.say(report("i1"))
    await scene.say_as_scheduler(other, cause=1)
    await scene.journal.advance(1)
    with pytest.raises(DivergenceError, match="something else"):
        await task_


async def test_garbage_and_forged_messages_are_counted_and_passed_over() -> None:
    scene = Scene()
    host = scene.host()
    stranger = MemoryBroker(scene.journal, "x", "admin")
    async with running(host):
        await stranger.publish("triage.incident.i0.reported", b"\x00garbage")
        await stranger.publish("triage.nobody.speaks.here", b"")
        forged = signer("operator", journal=scene.journal, version=2).seal(report("i3"))
        await stranger.publish("triage.incident.i3.reported", forged)
        await scene.say(report("i1"))
        await scene.journal.advance(0.1)
    assert host.state.reported == ("i1",)
    assert host.seq == len(scene.journal.log)


async def test_an_event_the_machine_cannot_take_is_passed_over_now_and_later() -> None:
    scene = Scene()
    first, second = scene.host(), scene.host()
    async with running(first):
        await scene.say(report("i1", "boom"))
        await scene.say(report("i2"))
        await scene.journal.advance(0.1)
    async with running(second):
        await scene.journal.advance(0.1)
    assert first.state.reported == second.state.reported == ("i2",)
    assert counted(first, "triage_machine_faults_total") == 1


async def test_a_broker_outage_loses_and_reorders_nothing() -> None:
    scene = Scene()
    async with running(scene.host()):
        await scene.journal.advance(0.1)
        await scene.say(report("i1"))
        await scene.say(report("i2"))
        scene.journal.stop()
        await scene.journal.advance(60)
        scene.journal.restart()
        await scene.journal.advance(1)
    asked = [item.subject for item in scene.journal.log if item.subject.endswith("requested")]
    assert asked == ["triage.plan.i1.v1.a1.requested", "triage.plan.i2.v1.a1.requested"]


async def test_a_full_journal_is_waited_for() -> None:
    scene = Scene()
    async with running(scene.host()):
        await scene.journal.advance(0.1)
        await scene.say(report("i1"))
        scene.journal.faults.full = True
        await scene.journal.advance(5)
        assert scene.subjects() == ["triage.incident.i1.reported"]
        scene.journal.faults.full = False
        await scene.journal.advance(1)
    assert "triage.plan.i1.v1.a1.requested" in scene.subjects()


async def test_a_lost_acknowledgement_doubles_nothing() -> None:
    scene = Scene()
    async with running(scene.host()):
        await scene.journal.advance(0.1)
        await scene.say(report("i1"))
        scene.journal.faults.lost_acks = 1
        await scene.journal.advance(2)
    assert scene.subjects().count("triage.plan.i1.v1.a1.requested") == 1


class TestTimers:
    async def test_a_timer_that_fired_is_not_set_again(self) -> None:
        scene = Scene()
        async with running(scene.host()):
            await scene.say(report("i1"))
            await scene.journal.advance(15)
        async with running(scene.host()):
            await scene.journal.advance(15)
        assert scene.subjects().count("triage.due.scheduler.plan-i1") == 1

    async def test_a_timer_that_a_result_took_back_is_not_set_again(self) -> None:
        scene = Scene()
        async with running(scene.host()):
            await scene.say(report("i1"))
            await scene.say(answer("i1"))
            await scene.journal.advance(0.1)
            await scene.finish("i1")
            await scene.journal.advance(1)
        before = len(scene.journal.log)
        async with running(scene.host()):
            await scene.journal.advance(30)
        assert len(scene.journal.log) == before

    async def test_a_timer_whose_host_died_before_setting_it_is_set_by_the_next(self) -> None:
        scene = Scene()
        await scene.say(report("i1"))
        async with running(scene.host()):
            await scene.journal.advance(15)
        assert "triage.incident.i1.closed" in scene.subjects()


class TestSnapshots:
    async def test_one_is_kept_after_so_many_events_and_reading_starts_behind_it(self) -> None:
        scene = Scene()
        async with running(scene.host()):
            await scene.journal.advance(0.1)
            for n in range(SNAPSHOT_EVENTS):
                await scene.say(answer("i1", n + 1))
            await scene.journal.advance(1)
        kept = scene.journal.snapshots["scheduler.v1"]
        assert kept.seq >= SNAPSHOT_EVENTS
        machine = DeskMachine()
        host = scene.host(machine)
        async with running(host):
            await scene.journal.advance(0.1)
        assert host.state.answers == SNAPSHOT_EVENTS
        assert machine.steps < SNAPSHOT_EVENTS

    async def test_one_is_kept_after_so_much_time(self) -> None:
        scene = Scene()
        async with running(scene.host()):
            await scene.say(report("i1"))
            await scene.journal.advance(40)
            await scene.say(report("i2"))
            await scene.journal.advance(0.1)
        assert "scheduler.v1" in scene.journal.snapshots

    @pytest.mark.parametrize("damage", [b"", b"\x00" * 40, b"cut"])
    async def test_a_damaged_one_is_ignored_and_the_journal_read(self, damage: bytes) -> None:
        scene = await reference()
        host = scene.host()
        async with running(host):
            await scene.journal.advance(0.1)
        await host.save()
        kept = scene.journal.snapshots["scheduler.v1"]
        kept.data = kept.data[:-5] if damage == b"cut" else damage
        machine = DeskMachine()
        again = scene.host(machine)
        async with running(again):
            await scene.journal.advance(0.1)
        assert again.state == host.state
        assert machine.steps > 0

    async def test_it_carries_what_was_decided_and_not_said(self) -> None:
        scene = Scene()
        host = scene.host()
        async with running(host):
            await scene.journal.advance(0.1)
            await scene.say(report("i1"))
            scene.journal.faults.lost_publishes = 10**6
            await scene.journal.advance(1)
        assert [decided.kind for decided in host._decider.open] == ["publish"]
        await host.save()
        scene.journal.faults.lost_publishes = 0
        machine = DeskMachine()
        async with running(scene.host(machine)):
            await scene.journal.advance(0.1)
        assert machine.steps == 0, "nothing was decided again"
        assert "triage.plan.i1.v1.a1.requested" in scene.subjects()

    async def test_it_carries_the_nonces_so_that_a_replayed_message_stays_refused(self) -> None:
        scene = Scene()
        host = scene.host()
        async with running(host):
            await scene.say(report("i1"))
            await scene.journal.advance(0.1)
        await host.save()
        frame = scene.journal.log[0].data
        await MemoryBroker(scene.journal, "x", "operator").publish("triage.incident.i1.reported", frame)
        again = scene.host()
        async with running(again):
            await scene.journal.advance(0.1)
        assert again.state.reported == ("i1",)


class TestTakeover:
    async def test_a_new_version_never_decides_what_an_older_one_decided(self) -> None:
        scene = await reference()
        before = len(scene.journal.log)
        machine = DeskMachine(DeskConfig(greeting="new: "), version=2)
        host = scene.host(machine)
        async with running(host):
            await scene.journal.advance(1)
            assert host.state.closed == ("i1", "i2"), "it knows what happened"
            assert scene.subjects()[-1] == "triage.control.takeover.scheduler.v2"
            assert len(scene.journal.log) == before + 1
            await scene.say(report("i3"))
            await scene.journal.advance(1)
        asked = scene.journal.last("triage.plan.i3.v1.a1.requested")
        assert asked is not None
        assert PlanRequested.decode(open_frame(asked.data).payload).text == "new: orders are slow"

    async def test_its_restart_finds_the_mark_and_compares_from_there(self) -> None:
        scene = await reference()
        machine = DeskMachine(DeskConfig(greeting="new: "), version=2)
        async with running(scene.host(machine)):
            await scene.journal.advance(1)
            await scene.say(report("i3"))
            await scene.journal.advance(1)
        before = len(scene.journal.log)
        async with running(scene.host(DeskMachine(DeskConfig(greeting="new: "), version=2))):
            await scene.journal.advance(1)
        assert len(scene.journal.log) == before
        other = DeskMachine(DeskConfig(greeting="newer: "), version=2, claims=DeskConfig(greeting="new: "))
        with pytest.raises(DivergenceError):
            await scene.host(other).run()

    async def test_the_old_version_stops_deciding_at_the_mark(self) -> None:
        scene = Scene()
        old = scene.host()
        async with running(old, scene.host(DeskMachine(DeskConfig(greeting="new: "), version=2))):
            await scene.journal.advance(1)
            await scene.say(report("i1"))
            await scene.journal.advance(1)
        assert old.superseded
        assert old.state.reported == ()
        asked = scene.journal.last("triage.plan.i1.v1.a1.requested")
        assert asked is not None
        assert PlanRequested.decode(open_frame(asked.data).payload).text.startswith("new: ")
