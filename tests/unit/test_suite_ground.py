"""The stack under a suite: put back after every run, proved to be so, brought up anew if it is not."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from broker.contracts.telemetry import Telemetry
from deploy.embedded.errors import StackError
from deploy.status import ProgramStatus, StackStatus
from harness.errors import ConflictError, StackDownError
from harness.oracle import Clause
from harness.run_lock import only_run
from harness.site import Deployment
from harness.suite import ground as module
from harness.suite.ground import Ground, standing
from harness.suite.plan import Planner
from injector.collateral import Baseline
from injector.errors import NotHealedError
from injector.fault import Spec
from injector.journal import OpenFault
from services.platform.port import Workload
from tests.support.planner_world import sample, shop

ORDERS = Workload("orders", True, "running", 7, 1, 0, ())
AGENT = ProgramStatus("log-agent-1", "role", "RUNNING", 9, True, "answers", 1, None, 0)
RULEBOOK = Planner("rulebook", "rulebook")


class FakeStack:
    """A stack in memory: what is wrong with it is set by a test, and what was done to it stands in `done`."""

    def __init__(self, home: Path, *, up: bool = True, mode: str = "rulebook") -> None:
        self.home = home
        self.running = up
        self.mode = mode
        self.done: list[str] = []
        self.world = ORDERS
        self.agent = AGENT
        self.more: tuple[ProgramStatus, ...] = ()
        self.deaf: set[str] = set()
        """Programs that cannot be killed."""
        self.faults: list[str] = []
        self.healable = True
        self.unhealable_once = False
        self.incidents: set[str] = set()
        self.mended_by_restart = True
        self.blind: Exception | None = None
        self.served = True
        self.half_up = False
        self.inventory = shop()
        self.errors: list[str | None] = []
        """What catalog tells of, asked again and again."""
        self.broker = self

    async def up(self, *, progress: object, schedulers: int | None = None) -> None:
        self.done.append("up")
        self.running = True
        if self.mended_by_restart:
            self.world, self.agent, self.incidents, self.healable, self.served = ORDERS, AGENT, set(), True, True

    async def down(self, *, wipe: bool = False) -> None:
        self.done.append("wiped" if wipe else "down")
        self.running = False

    def is_up(self) -> bool:
        return self.running

    async def status(self) -> StackStatus:
        return StackStatus(self.home, 1, None, (self.agent, *self.more))

    async def kill(self, name: str, signal: str = "KILL") -> None:
        if name in self.deaf:
            raise StackError("no such process")
        self.done.append(f"{signal} {name}")
        if name == self.agent.name:
            self.agent = AGENT

    def injector(self) -> FakeStack:
        return self

    def witness(self) -> FakeStack:
        return self

    async def heal_all(self) -> tuple[OpenFault, ...]:
        once, self.unhealable_once = self.unhealable_once, False
        if self.faults and (once or not self.healable):
            raise NotHealedError("1 of 1 open faults could not be healed")
        healed = tuple(self.open())
        self.faults.clear()
        return healed

    def open(self) -> Sequence[OpenFault]:
        return [
            OpenFault(id=name, spec=Spec("service_killed", "orders"), state="open", at="now") for name in self.faults
        ]

    async def baseline(self) -> Baseline:
        if self.half_up and "up" not in self.done:
            raise StackDownError("the stack does not answer")
        if self.blind is not None:
            raise self.blind
        return Baseline({self.world.name: self.world})

    async def open_incidents(self) -> set[str]:
        return self.incidents

    async def telemetry(self, device: str) -> Telemetry | None:
        if device != "catalog":
            return None
        self.done += ["heard"] if self.errors else []
        error = self.errors.pop(0) if self.errors else None
        return sample("catalog", 1_000_000, {"error_code": error})

    async def served_now(self) -> Clause:
        return Clause("users are served", self.served, "80.0% of 100 requests good")

    async def load_snapshot(self, _key: str) -> bytes | None:
        if self.half_up and "up" not in self.done:
            raise StackDownError("the stack does not answer")
        return b"snapshot"


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeStack:
    found = FakeStack(tmp_path)

    @asynccontextmanager
    async def connect(_home: Path) -> AsyncIterator[FakeStack]:
        yield found

    monkeypatch.setattr(module, "connect", connect)
    monkeypatch.setattr(module, "Oracle", lambda *_: found)
    monkeypatch.setattr(module, "head_of", lambda _data: (1, f'{{"mode":"{found.mode}"}}'.encode()))
    monkeypatch.setattr(module, "POLL_S", 0.0)
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    return found


def silent(_name: str, _what: str) -> None:
    """Progress that nobody watches."""


def as_deployment(stack: FakeStack) -> Deployment:
    return cast(Deployment, stack)


async def prepared(stack: FakeStack) -> Ground:
    found = Ground(as_deployment(stack), silent, patience_s=0.0)
    await found.prepare()
    return found


@pytest.mark.asyncio
async def test_a_clean_world_is_proved_and_left_alone(stack: FakeStack) -> None:
    found = await (await prepared(stack)).tidy()
    assert (found.proved, found.restarted, found.healed, found.left) == (True, False, (), ())
    assert stack.done == []


@pytest.mark.asyncio
async def test_an_open_fault_is_healed_and_a_hanging_agent_woken_and_both_are_named(stack: FakeStack) -> None:
    ground = await prepared(stack)
    stack.faults, stack.agent = ["service_killed-1"], replace(AGENT, state="PAUSED", healthy=False)
    found = await ground.tidy()
    assert (found.proved, found.restarted) == (True, False)
    assert found.healed == ("service_killed-1", "log-agent-1 hung")
    assert stack.done == ["KILL log-agent-1"]


@pytest.mark.asyncio
async def test_a_hanging_agent_is_woken_also_where_a_fault_cannot_be_healed_and_both_are_told(stack: FakeStack) -> None:
    ground = await prepared(stack)
    stack.faults, stack.healable = ["f-1"], False
    stack.agent = replace(AGENT, state="PAUSED", healthy=False)
    found = await ground.tidy(anew=False)
    assert stack.done == ["KILL log-agent-1"]
    assert found.healed == ("log-agent-1 hung",)
    assert found.left == (
        "not everything could be healed: 1 of 1 open faults could not be healed",
        "the fault f-1 is open",
    )
    assert not found.proved


@pytest.mark.asyncio
async def test_every_hanging_program_is_woken_also_where_one_cannot_be(stack: FakeStack) -> None:
    ground = await prepared(stack)
    other = replace(AGENT, name="log-agent-2", state="PAUSED", healthy=False)
    stack.agent, stack.more, stack.deaf = replace(other, name="log-agent-1"), (other,), {"log-agent-1"}
    found = await ground.tidy(anew=False)
    assert stack.done == ["KILL log-agent-2"]
    assert found.healed == ("log-agent-2 hung",)
    assert "log-agent-1 could not be woken: no such process" in found.left


@pytest.mark.asyncio
async def test_what_could_not_be_healed_at_first_is_tried_again_before_the_stack_is_brought_up_anew(
    stack: FakeStack,
) -> None:
    """As long as the world is busy with coming back, healing may not be seen to have worked in time."""
    ground = Ground(as_deployment(stack), silent, patience_s=30.0)
    await ground.prepare()
    stack.faults, stack.unhealable_once = ["f-1"], True
    found = await ground.tidy()
    assert (found.proved, found.restarted, found.healed, found.left) == (True, False, ("f-1",), ())


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"world": replace(ORDERS, state="stopped")}, "orders is stopped, it was running"),
        ({"agent": replace(AGENT, healthy=False, detail="refused")}, "log-agent-1 is not healthy: refused"),
        ({"incidents": {"inc-7"}}, "the incident inc-7 is open"),
        ({"served": False}, "users are not served: 80.0% of 100 requests good"),
        ({"faults": ["f-1"], "healable": False}, "the fault f-1 is open"),
    ],
)
async def test_what_does_not_come_back_by_itself_has_the_stack_brought_up_anew_and_that_is_recorded(
    stack: FakeStack, wrong: dict[str, Any], words: str
) -> None:
    ground = await prepared(stack)
    for name, value in wrong.items():
        setattr(stack, name, value)
    found = await ground.tidy()
    assert (found.proved, found.restarted, stack.done) == (True, True, ["down", "up"])
    assert words in found.left


@pytest.mark.asyncio
async def test_what_one_run_leaves_services_telling_of_is_not_heard_by_the_planner_of_the_next(
    stack: FakeStack,
) -> None:
    """They tell of their last error for ten seconds, whatever is wrong with them meanwhile."""
    ground = Ground(as_deployment(stack), silent, patience_s=30.0)
    await ground.prepare()
    stack.errors = ["JSONDecodeError", "JSONDecodeError", None]
    found = await ground.tidy()
    assert (found.proved, found.left, stack.done) == (True, (), ["heard"] * 3)


@pytest.mark.asyncio
async def test_services_that_always_have_a_new_error_to_tell_of_hold_nobody_up(stack: FakeStack) -> None:
    ground = await prepared(stack)
    stack.errors = ["TimeoutError"] * 5
    assert (await ground.tidy()).proved
    assert stack.errors


@pytest.mark.asyncio
async def test_what_a_new_start_does_not_mend_is_not_proved(stack: FakeStack) -> None:
    ground = await prepared(stack)
    stack.world, stack.mended_by_restart = replace(ORDERS, state="stopped"), False
    found = await ground.tidy()
    assert (found.proved, found.restarted) == (False, True)


@pytest.mark.asyncio
async def test_a_world_that_cannot_be_looked_at_is_not_proved(stack: FakeStack) -> None:
    ground = await prepared(stack)
    stack.blind = StackError("the supervisor does not answer")
    found = await ground.tidy()
    assert not found.proved
    assert "the world cannot be looked at: the supervisor does not answer" in found.left


@pytest.mark.asyncio
async def test_a_fault_of_ours_is_not_taken_for_the_worlds(stack: FakeStack) -> None:
    ground = await prepared(stack)
    stack.blind = KeyError("a bug")
    with pytest.raises(KeyError, match="a bug"):
        await ground.tidy()


@pytest.mark.asyncio
async def test_after_an_interruption_the_stack_is_not_brought_up_anew(stack: FakeStack) -> None:
    ground = await prepared(stack)
    stack.incidents = {"inc-1"}
    found = await ground.tidy(anew=False)
    assert (found.proved, stack.done) == (False, [])


@pytest.mark.asyncio
async def test_a_suite_does_not_begin_on_a_world_that_cannot_be_put_right(stack: FakeStack) -> None:
    stack.world, stack.mended_by_restart = replace(ORDERS, state="stopped"), False
    with pytest.raises(StackDownError, match="not as declared before the suite"):
        await prepared(stack)


@pytest.mark.asyncio
async def test_what_an_interrupted_suite_left_is_healed_before_the_next_one(stack: FakeStack) -> None:
    stack.faults = ["service_killed-1"]
    ground = await prepared(stack)
    assert ground.prepared is not None
    assert ground.prepared.healed == ("service_killed-1",)


@pytest.mark.asyncio
async def test_a_stack_of_ones_own_is_taken_down_again_and_another_ones_stays_up(stack: FakeStack) -> None:
    async with standing(as_deployment(stack), RULEBOOK, silent):
        pass
    assert stack.done == []
    stack.running = False
    async with standing(as_deployment(stack), RULEBOOK, silent):
        assert stack.done == ["up"]
    assert stack.done == ["up", "down"]


@pytest.mark.asyncio
async def test_a_stack_that_is_only_half_up_is_brought_up_anew(stack: FakeStack) -> None:
    """As a suite leaves it that was killed while it brought it up."""
    stack.half_up = True
    async with standing(as_deployment(stack), RULEBOOK, silent) as ground:
        assert stack.done == ["down", "up"]
    assert ground.prepared is not None
    assert ground.prepared.restarted


@pytest.mark.asyncio
async def test_two_suites_on_one_stack_are_refused_and_the_second_takes_nothing_down(stack: FakeStack) -> None:
    async with standing(as_deployment(stack), RULEBOOK, silent):
        with pytest.raises(ConflictError, match=r"a suite \(process \d+\) runs on the stack"):
            async with standing(as_deployment(stack), RULEBOOK, silent):
                pytest.fail("two suites on one stack")
        assert stack.running


@pytest.mark.asyncio
async def test_a_suite_that_another_one_overtook_while_the_stack_came_up_leaves_it_to_that_one(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.running = False
    with ExitStack() as others:

        async def up(*, progress: object) -> None:
            await FakeStack.up(stack, progress=progress)
            others.enter_context(only_run(stack.home, "a suite"))

        monkeypatch.setattr(stack, "up", up)
        with pytest.raises(ConflictError, match=r"a suite \(process \d+\) runs on the stack"):
            async with standing(as_deployment(stack), RULEBOOK, silent):
                pytest.fail("two suites on one stack")
        assert (stack.running, stack.done) == (True, ["up"])


@pytest.mark.asyncio
async def test_a_suite_beside_a_single_run_is_refused(stack: FakeStack) -> None:
    with only_run(stack.home, "chaos1"), pytest.raises(ConflictError, match="chaos1"):
        async with standing(as_deployment(stack), RULEBOOK, silent):
            pytest.fail("a suite beside a run")


@pytest.mark.asyncio
async def test_a_stack_that_plans_otherwise_is_not_measured_in_the_rulebooks_name(stack: FakeStack) -> None:
    stack.mode = "auto"
    with pytest.raises(ConflictError, match="TRIAGE_PLANNER_MODE=auto"):
        async with standing(as_deployment(stack), RULEBOOK, silent):
            pytest.fail("the wrong planner")


@pytest.mark.asyncio
async def test_the_roles_inherit_the_planner_while_the_suite_stands_and_only_then(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIAGE_PLANNER_MODE", "full")
    monkeypatch.delenv("TRIAGE_MODEL_URL", raising=False)
    with module._environment(Planner("x", "auto", "http://h/v1")):
        assert os.environ["TRIAGE_PLANNER_MODE"] == "auto"
        assert os.environ["TRIAGE_MODEL_URL"] == "http://h/v1"
    assert os.environ["TRIAGE_PLANNER_MODE"] == "full"
    assert "TRIAGE_MODEL_URL" not in os.environ
