"""The scheduler on its host: two at once, one killed at any point, one started again, and the journal is the same."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from broker.contracts.base import Contract
from broker.contracts.plan import PlanExecuted, PlanRequested
from broker.contracts.registry import CONTRACTS
from broker.contracts.task import Result, Task
from broker.envelope import open_frame
from broker.memory import MemoryBroker, MemoryJournal
from broker.runtime.machine_host import MachineHost
from broker.subjects import Role, timer_subject
from scheduler_svc.core.machine import SchedulerMachine
from scheduler_svc.core.state import SchedulerState
from tests.support.scheduler import LOOK_ACT, config, plan, proposed, reported, result, verified
from tests.support.signing import gate, signer

pytestmark = pytest.mark.asyncio
ROUNDS = 24
TICK_S = 0.5


class World:
    """A journal, and everybody but the scheduler: the first plan is refused, an action fails once, the first check is
    bad, and the second plan repairs."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self._seen = 0
        roles: tuple[Role, ...] = ("operator", "planner", "action", "monitor")
        self._voices = {
            role: (MemoryBroker(self.journal, f"{role}-1", role), signer(role, journal=self.journal)) for role in roles
        }
        self._hosts: list[tuple[MemoryBroker, asyncio.Task[None]]] = []
        self._started = 0

    async def say(self, role: Role, message: Contract, cancel: str | None = None) -> None:
        broker, voice = self._voices[role]
        await broker.publish(message.subject(), voice.seal(message), cancel_timer=cancel)

    async def answer_all(self) -> None:
        """Answer what was said since the last time, as planner, agent and monitor."""
        news, self._seen = self.journal.log[self._seen :], len(self.journal.log)
        for stored in news:
            envelope = open_frame(stored.data)
            message = CONTRACTS[envelope.type].decode(envelope.payload)
            match message:
                case PlanRequested(version=version, attempt=attempt):
                    tasks = LOOK_ACT if (version, attempt) != (1, 1) else ()
                    await self.say("planner", proposed(plan(*tasks, version=version, number=attempt), attempt))
                case Task():
                    timer = timer_subject("scheduler", message.timer_id)
                    await self.say("action", self._result(message), timer)
                case PlanExecuted(version=version):
                    await self.say("monitor", verified(version, ok=version == 2, n=version))

    @staticmethod
    def _result(order: Task) -> Result:
        if order.task_id == "v1-t2" and order.attempt == 1:
            return result(order, "FAIL", "boom")
        return result(order, changed=order.risk != "read", drifted=True)

    def start(self) -> None:
        """Start one more scheduler."""
        self._started += 1
        name = f"scheduler-{self._started}"
        broker = MemoryBroker(self.journal, name, "scheduler")
        host: MachineHost[SchedulerState] = MachineHost(
            SchedulerMachine(config()),
            broker,
            signer("scheduler", name, journal=self.journal),
            gate("scheduler"),
            sleep=self.journal.sleep,
        )
        self._hosts.append((broker, asyncio.create_task(host.run())))

    async def kill(self) -> None:
        """Kill the oldest scheduler that runs, without a word."""
        broker, task = self._hosts.pop(0)
        self.journal.kill(broker.instance)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def close(self) -> None:
        """Stop every scheduler; one that ended by itself says why."""
        ended = [task for _, task in self._hosts if task.done()]
        while self._hosts:
            await self.kill() if not self._hosts[0][1].done() else self._hosts.pop(0)
        for task in ended:
            task.result()

    def decisions(self) -> list[tuple[str, bytes]]:
        """Return everything the scheduler said, timers that still wait included, in canonical order."""
        standing = [*self.journal.log, *self.journal.waiting_timers()]
        frames = [(item.subject, open_frame(item.data)) for item in standing]
        return sorted({(subject, frame.payload) for subject, frame in frames if frame.role == "scheduler"})


async def play(schedulers: int, kill_at: int | None = None, back_after: int = 0) -> World:
    """Play the story on some schedulers; one is killed in a round, and one started again some rounds later."""
    world = World()
    try:
        for _ in range(schedulers):
            world.start()
        await world.journal.advance(0.1)
        await world.say("operator", reported())
        for number in range(ROUNDS):
            if number == kill_at:
                await world.kill()
            if kill_at is not None and number == kill_at + back_after:
                world.start()
            await world.journal.advance(TICK_S)
            await world.answer_all()
    finally:
        await world.close()
    return world


_reference: list[tuple[str, bytes]] = []


async def reference() -> list[tuple[str, bytes]]:
    """Return what one scheduler says that nobody disturbs; played once."""
    if not _reference:
        _reference.extend((await play(1)).decisions())
    return _reference


def ended_well(world: World) -> bool:
    closed = world.journal.last("triage.incident.inc-1.closed")
    return closed is not None and b'"verdict":"verified"' in open_frame(closed.data).payload


async def test_one_scheduler_brings_the_story_to_its_end() -> None:
    world = await play(1)
    assert ended_well(world)
    said = {subject for subject, _ in world.decisions()}
    assert "triage.plan.inc-1.v1.a1.rejected" in said
    assert "triage.task.action.inc-1.v1-t2.a2" in said
    assert "triage.plan.inc-1.v2.a1.accepted" in said
    assert not list(world.journal.waiting_timers()), "no timer is left behind"


async def test_two_schedulers_say_the_same_as_one() -> None:
    assert (await play(2)).decisions() == await reference()


@pytest.mark.parametrize("kill_at", range(0, 18, 3))
async def test_one_of_two_killed_at_any_point_changes_nothing(kill_at: int) -> None:
    world = await play(2, kill_at, back_after=3)
    assert ended_well(world)
    assert world.decisions() == await reference()


@pytest.mark.parametrize("kill_at", range(1, 17, 4))
async def test_the_only_one_killed_and_back_at_once_changes_nothing(kill_at: int) -> None:
    world = await play(1, kill_at)
    assert ended_well(world)
    assert world.decisions() == await reference()


@pytest.mark.parametrize("kill_at", [1, 7])
async def test_the_only_one_away_for_seconds_brings_it_to_the_end_all_the_same(kill_at: int) -> None:
    world = await play(1, kill_at, back_after=6)
    assert ended_well(world)
    tasks = [item.subject for item in world.journal.log if item.subject.startswith("triage.task.")]
    assert len(tasks) == len(set(tasks)) == 7
