"""What a scenario lets happen: each fault and each kill once, at its time or its cue, and what never came is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from broker.contracts.base import Contract
from broker.contracts.task import Claim
from broker.gate import Gate, Trusted
from broker.memory import MemoryBroker, MemoryJournal
from broker.port import CaughtUp, Stored
from harness.course import Course
from harness.embedded import Embedded
from harness.scenario import Draw, FaultStep, KillStep, draw, load
from harness.site import Signal
from injector.collateral import Witness
from injector.errors import NoEvidenceError
from injector.fault import World
from injector.injector import Injector
from injector.journal import FaultJournal
from tests.support.signing import master, signer
from tests.support.world import FakeFaults, FakePlatform, running, shop_inventory

KILLED = FaultStep(fault="service_killed", target="catalog")


class Stack(Embedded):
    """A stack that writes down which programs were signalled."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, 1)
        self.killed: list[tuple[str, Signal]] = []

    async def kill(self, name: str, signal: Signal = "KILL") -> None:
        self.killed.append((name, signal))


class Restarting(FakeFaults):
    """A world in which changing an environment starts the workload anew, as it really does."""

    def __init__(self, platform: FakePlatform) -> None:
        super().__init__()
        self.platform = platform

    async def set_environment(self, name: str, changes: dict[str, str]) -> None:
        await super().set_environment(name, changes)
        workload = self.platform.workloads[name]
        self.platform.workloads[name] = replace(workload, restarts=workload.restarts + 1)


def platform() -> FakePlatform:
    return FakePlatform({name: running(name) for name in ("shop-db", "orders", "catalog")})


def course_of(
    tmp_path: Path, drawn: Draw, faults: FakeFaults, world: FakePlatform | None = None
) -> tuple[Course, Stack, list[Exception]]:
    stack, failed = Stack(tmp_path), list[Exception]()
    injector = Injector(World(faults, shop_inventory()), FaultJournal(tmp_path / "faults"))
    return Course(drawn, stack, injector, Witness(world or platform()), failed.append), stack, failed


def drawn(*faults: FaultStep, kills: Sequence[KillStep] = ()) -> Draw:
    scenario = load("db_conn_drift").model_copy(update={"faults": faults, "kills": tuple(kills)})
    return draw(scenario)


async def said(message: Contract) -> Trusted:
    """Return a message as the journal's follower sees it."""
    journal = MemoryJournal()
    broker = MemoryBroker(journal, "action-1", "action")
    await broker.publish(message.subject(), signer("action", journal=journal).seal(message))
    [stored] = [item async for item in broker.read(follow=False) if isinstance(item, Stored)]
    return Gate(master()).admit(stored)


def claim() -> Claim:
    fields = {"incident": "inc-1", "task_id": "v1-t1", "attempt": 1, "task_seq": 1, "delivery": "d"}
    return Claim.model_validate(fields | {"kind": "action", "instance": "action-agent-1"})


@pytest.mark.asyncio
async def test_a_fault_that_waits_for_a_claim_comes_with_the_first_claim_and_never_again(tmp_path: Path) -> None:
    world = FakeFaults()
    course, _, failed = course_of(tmp_path, drawn(KILLED.model_copy(update={"when": "claim", "kind": "action"})), world)
    await course.begin(None)
    await course.see(CaughtUp(0))
    assert (world.down, course.injected_at) == (set(), None)
    assert course.missing() == ("the cue claim for service_killed never came",)
    item = await said(claim())
    await course.see(item)
    await course.finished()
    assert world.down == {"catalog"}
    assert course.injected_at is not None
    world.down.clear()
    await course.see(item)
    await course.finished()
    assert (world.down, course.missing(), failed) == (set(), (), [])


@pytest.mark.asyncio
async def test_another_kind_of_agent_is_no_cue(tmp_path: Path) -> None:
    world = FakeFaults()
    course, _, _ = course_of(tmp_path, drawn(KILLED.model_copy(update={"when": "claim", "kind": "log"})), world)
    await course.see(await said(claim()))
    await course.finished()
    assert world.down == set()


@pytest.mark.asyncio
async def test_what_comes_after_the_report_does_not_keep_it_waiting(tmp_path: Path) -> None:
    world = FakeFaults()
    later = FaultStep(at_s=0.2, fault="service_killed", target="orders")
    course, _, _ = course_of(tmp_path, drawn(later, KILLED), world)
    await course.begin(0.1)
    assert world.down == {"catalog"}
    await course.finished()
    assert world.down == {"catalog", "orders"}


@pytest.mark.asyncio
async def test_after_its_end_nothing_is_injected_any_more(tmp_path: Path) -> None:
    world = FakeFaults()
    course, _, failed = course_of(tmp_path, drawn(FaultStep(at_s=30.0, fault="service_killed", target="orders")), world)
    await course.begin(0.0)
    await course.stop()
    assert (world.down, failed) == (set(), [])


@pytest.mark.asyncio
async def test_an_injection_that_fails_by_itself_is_told_to_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("injector.injector.EVIDENCE_TIMEOUT_S", 0.0)
    step = KILLED.model_copy(update={"when": "claim"})
    course, _, failed = course_of(tmp_path, drawn(step), FakeFaults(deaf=True))
    await course.see(await said(claim()))
    with pytest.raises(NoEvidenceError):
        await course.finished()
    await asyncio.sleep(0)
    assert [type(error) for error in failed] == [NoEvidenceError]


@pytest.mark.asyncio
async def test_the_starts_that_an_injection_makes_are_its_own(tmp_path: Path) -> None:
    world = platform()
    course, _, _ = course_of(
        tmp_path, drawn(FaultStep(fault="db_conn_drift", target="orders"), KILLED), Restarting(world), world
    )
    await course.begin(None)
    assert dict(course.own) == {"orders": 1, "catalog": 0}


@pytest.mark.asyncio
async def test_the_claimant_and_the_broker_are_killed_once_each_at_their_cue(tmp_path: Path) -> None:
    kills = [KillStep(when="claim", victim="claimant"), KillStep(when="claim", victim="broker", signal="STOP")]
    course, stack, _ = course_of(tmp_path, drawn(kills=kills), FakeFaults())
    assert len(course.missing()) == 2
    item = await said(claim())
    await course.see(item)
    await course.see(item)
    assert stack.killed == [("action-agent-1", "KILL"), ("nats", "STOP")]
    assert course.missing() == ()
