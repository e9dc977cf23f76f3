"""A suite as a whole, with runs that are made up: what is run, kept, gone on with, and what stops it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from broker.contracts.machine import Event
from harness.errors import ConflictError, StackDownError, TimedOutError
from harness.oracle import Clause, Judgement
from harness.run import Outcome
from harness.scenario import load
from harness.score import score
from harness.site import Deployment
from harness.suite import command
from harness.suite import drive as module
from harness.suite.drive import Step, drive
from harness.suite.gates import parse
from harness.suite.plan import Item, plan, planners
from harness.suite.report import read as read_report
from harness.suite.result import CleanUp
from harness.suite.sets import chosen, read
from harness.suite.store import Results
from tests.support.suites import CLEAN
from tests.unit.test_harness_score import happy_story

SUITES = read()
ITEMS = plan(chosen("nightly", SUITES), 2, planners(["rulebook"]), platform="embedded", commit="abc").items


class Ground:
    """Puts nothing back and says what a test wants to hear."""

    def __init__(self) -> None:
        self.tidied: list[bool] = []
        self.says = CLEAN

    async def tidy(self, *, anew: bool = True) -> CleanUp:
        self.tidied.append(anew)
        return self.says


class World:
    """What was run, and what a test does instead of a run."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ran: list[tuple[str, int]] = []
        self.instead: dict[int, Callable[[], None]] = {}
        self.ground = Ground()
        self.stood = 0

    async def run(self, item: Item, _stack: Deployment, events: list[Event]) -> Outcome:
        self.ran.append((item.key.scenario, item.key.seed))
        if (trouble := self.instead.get(len(self.ran))) is not None:
            trouble()
        events += happy_story()
        figures = score("inc-1", events, injected_at=100.0)
        judged = Judgement((Clause("users are served", True, "yes"),))
        name, seed = item.key.scenario, item.key.seed
        return Outcome(name, seed, 0.0, "inc-1", 99.0, 100.0, "verified", "", judged, figures, True, 0, 14)


def throws(error: BaseException) -> Callable[[], None]:
    def throw() -> None:
        raise error

    return throw


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    found = World(tmp_path)

    @asynccontextmanager
    async def standing(*_: object) -> AsyncIterator[Ground]:
        found.stood += 1
        yield found.ground

    async def remember(*_: object) -> tuple[str, ...]:
        return ()

    monkeypatch.setattr(module, "standing", standing)
    monkeypatch.setattr(module, "_run", found.run)
    monkeypatch.setattr(module, "_remember", remember)
    return found


def silent(_name: str, _what: str) -> None:
    """Progress that nobody watches."""


async def driven(world: World, steps: list[Step] | None = None) -> list[bool]:
    told: list[Step] = [] if steps is None else steps
    stack = cast(Deployment, world)
    runs = await drive(ITEMS, stack, Results(world.home / "results"), SUITES, told.append, silent)
    assert [run.key for run in runs] == [item.key for item in ITEMS]
    return [run.ok for run in runs]


@pytest.mark.asyncio
async def test_every_run_is_made_kept_and_tidied_after(world: World) -> None:
    assert await driven(world) == [True] * 6
    assert len(world.ran) == 6
    assert world.ground.tidied == [True] * 6
    assert len(list((world.home / "results" / "runs").iterdir())) == 6


@pytest.mark.asyncio
async def test_what_is_there_is_not_run_again_and_no_stack_is_needed_for_it(world: World) -> None:
    await driven(world)
    steps: list[Step] = []
    assert await driven(world, steps) == [True] * 6
    assert (len(world.ran), world.stood) == (6, 1)
    assert [step.kept for step in steps] == [True] * 6


@pytest.mark.asyncio
@pytest.mark.parametrize("how", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(1)])
async def test_an_interrupted_suite_puts_the_world_back_and_goes_on_with_the_run_it_was_in(
    world: World, how: BaseException
) -> None:
    world.instead[3] = throws(how)
    with pytest.raises(type(how)):
        await driven(world)
    assert world.ground.tidied == [True, True, False]
    world.instead.clear()
    steps: list[Step] = []
    assert await driven(world, steps) == [True] * 6
    assert world.ran == [(item.key.scenario, item.key.seed) for item in (*ITEMS[:3], *ITEMS[2:])]
    assert [step.done for step in steps] == [1, 2, 3, 4, 5, 6]


@pytest.mark.asyncio
async def test_a_run_that_cannot_be_measured_is_a_failed_one_and_the_suite_goes_on(world: World) -> None:
    world.instead[2] = throws(TimedOutError("the incident was not closed in time"))
    steps: list[Step] = []
    assert await driven(world, steps) == [True, False, True, True, True, True]
    assert steps[1].last.error == "the incident was not closed in time"
    assert steps[1].last.figures is None


@pytest.mark.asyncio
async def test_a_run_that_could_not_even_begin_is_begun_again_and_says_so(world: World) -> None:
    world.instead[1] = throws(StackDownError("the incident m7 is still open"))
    steps: list[Step] = []
    assert await driven(world, steps) == [True] * 6
    assert world.ran[:2] == [("db_conn_drift", 1)] * 2
    assert steps[0].last.notes == ("begun again: the incident m7 is still open",)
    assert world.ground.tidied == [True] * 7


@pytest.mark.asyncio
async def test_a_run_that_can_never_begin_was_not_measured(world: World) -> None:
    for number in (1, 2, 3):
        world.instead[number] = throws(StackDownError("the shop is not healthy before the scenario"))
    steps: list[Step] = []
    assert await driven(world, steps) == [False, True, True, True, True, True]
    assert steps[0].last.error == "the shop is not healthy before the scenario"
    assert len(world.ran) == 8


@pytest.mark.asyncio
async def test_a_run_whose_journal_ended_in_the_middle_is_not_made_again(world: World) -> None:
    """Something was seen of it: making it again until it succeeds would be choosing the result."""

    async def cut(item: Item, stack: Deployment, events: list[Event]) -> Outcome:
        events += happy_story()[:3]
        return await world.run(item, stack, [])

    world.instead[1] = throws(StackDownError("the journal ended while the run was watched"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_run", cut)
        assert (await driven(world))[0] is False
    assert len(world.ran) == 6


@pytest.mark.asyncio
async def test_a_fault_of_ours_ends_the_suite_and_the_world_is_put_back(world: World) -> None:
    world.instead[1] = throws(KeyError("a bug"))
    with pytest.raises(KeyError, match="a bug"):
        await driven(world)
    assert world.ground.tidied == [False]


@pytest.mark.asyncio
async def test_a_conflict_ends_the_suite_and_is_no_failed_run(world: World) -> None:
    world.instead[2] = throws(ConflictError("the stack asks another endpoint"))
    with pytest.raises(ConflictError):
        await driven(world)
    assert len(list((world.home / "results" / "runs").iterdir())) == 1


@pytest.mark.asyncio
async def test_what_is_left_of_an_interrupted_run_is_noted_on_the_interruption(world: World) -> None:
    world.instead[1] = throws(ConflictError("no"))
    world.ground.says = CleanUp(left=("orders is stopped",), proved=False, seconds=1.0)
    with pytest.raises(ConflictError) as caught:
        await driven(world)
    assert caught.value.__notes__ == ["not everything is as before: orders is stopped"]


@pytest.mark.asyncio
async def test_a_world_that_cannot_be_put_back_stops_the_suite_after_the_run_was_kept(world: World) -> None:
    world.ground.says = CleanUp(left=("orders is stopped",), restarted=True, proved=False, seconds=1.0)
    with pytest.raises(StackDownError, match=r"could not be put back \(orders is stopped\)"):
        await driven(world)
    assert len(list((world.home / "results" / "runs").iterdir())) == 1


@pytest.mark.asyncio
async def test_the_rest_is_estimated_from_the_first_run_on_and_is_nothing_at_the_end(world: World) -> None:
    steps: list[Step] = []
    await driven(world, steps)
    assert all(step.left_s is not None for step in steps)
    assert steps[-1].left_s == 0.0


@pytest.mark.asyncio
async def test_the_report_of_an_interrupted_suite_is_written_and_says_how_much_is_missing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "sources", lambda: "abc")
    folder = world.home / "results"
    gates = parse(["SR=1"])
    wish = command.Wish("nightly", 2, ("rulebook",), gates, folder, "embedded", "triage suite", "auto")
    world.instead[3] = throws(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        await command.run(wish, lambda: cast(Deployment, world), lambda _step: None, silent)
    assert "Interrupted: 2 of 6 runs" in (folder / "report.html").read_text()
    world.instead.clear()
    written = await command.run(wish, lambda: cast(Deployment, world), lambda _step: None, silent)
    assert [held.ok for held in written.held] == [True]
    assert read_report(folder) == written.report
    assert "| SR: success rate (spec 10) | **1.00** |" in (folder / "summary.md").read_text()


def test_a_scenario_of_the_set_is_the_one_that_is_drawn() -> None:
    assert ITEMS[0].draw.scenario == load("db_conn_drift")
