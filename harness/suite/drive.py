"""Runs a suite: every run that is not there yet, each kept as soon as it is made, the world put back after each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from broker.contracts.machine import Event
from broker.contracts.telemetry import Telemetry
from broker.gate import Trusted
from harness.cli.context import exit_code, sentence
from harness.control import Seen, connect
from harness.errors import ConflictError, StackDownError
from harness.run import Outcome, Runner
from harness.site import Deployment, Progress
from harness.store import remember
from harness.suite.ground import Ground, standing
from harness.suite.measure import Run, endpoints, result
from harness.suite.plan import Item, Planner, remaining
from harness.suite.result import CleanUp, Key, RunResult
from harness.suite.sets import Suites, family
from harness.suite.store import Results


@dataclass(frozen=True, slots=True)
class Step:
    """How far a suite is."""

    done: int
    total: int
    last: RunResult
    kept: bool
    """It was there already and was not run again."""
    left_s: float | None
    """How long the rest may take, seconds; None while nothing was measured."""


Tell = Callable[[Step], None]
TRIES = 3
"""How often a run is begun whose world was not green at the start: so long as nothing was broken or reported, nothing
was measured. The monitor may open an incident of its own moments after the world was proved to be as before."""


async def drive(
    items: Sequence[Item], stack: Deployment, results: Results, suites: Suites, tell: Tell, progress: Progress
) -> tuple[RunResult, ...]:
    """Make every run that is missing; return all of them in order.

    A run that fails, or cannot be measured, is a result like any other and the suite goes on. Interrupted, it puts the
    world back, keeps what is whole, and goes on where it stopped when it is started again.

    Raises:
        ConflictError: another run or suite is on this stack, or it plans otherwise. StackDownError: the world could not
            be put back, not by bringing the stack up anew either; the run before it is kept.
        BadRecordingError: a file of the results folder is none of ours.
    """
    kept = {item.key: found for item in items if (found := results.find(item.key)) is not None}
    made = dict(kept)
    for number, item in enumerate((item for item in items if item.key in kept), 1):
        tell(_step(number, items, made, kept[item.key], kept=True))
    missing = [item for item in items if item.key not in kept]
    for planner, group in groupby(missing, key=lambda item: item.planner):
        async with standing(stack, planner, progress) as ground:
            for item in group:
                found = await _one(item, stack, ground, suites)
                results.keep(found)
                made[item.key] = found
                tell(_step(len(made), items, made, found, kept=False))
                if not found.clean_up.proved:
                    raise StackDownError(
                        f"after {item.key.scenario} seed {item.key.seed} the world could not be put back "
                        f"({'; '.join(found.clean_up.left)}); what was run is kept, see: triage status"
                    )
    return tuple(made[item.key] for item in items)


def _step(done: int, items: Sequence[Item], made: Mapping[Key, RunResult], last: RunResult, *, kept: bool) -> Step:
    left = sum(item.key not in made for item in items)
    return Step(done, len(items), last, kept, remaining([run.wall_s for run in made.values()], left))


async def _one(item: Item, stack: Deployment, ground: Ground, suites: Suites) -> RunResult:
    started_at, clock = time.time(), time.monotonic()
    events: list[Event] = []
    notes: tuple[str, ...] = ()
    for left in reversed(range(TRIES)):
        outcome, error, begun = await _tried(item, stack, ground, events)
        clean_up = await ground.tidy()
        if begun or not left or not clean_up.proved:
            break
        notes = (*notes, f"begun again: {error}")
    if outcome is not None:
        notes = (*notes, *await _remember(stack, outcome))
    wall = time.monotonic() - clock
    kind = family(item.draw, suites)
    return result(Run(item.key, item.draw, kind, started_at, wall, clean_up, outcome, error, events, notes))


async def _tried(
    item: Item, stack: Deployment, ground: Ground, events: list[Event]
) -> tuple[Outcome | None, str | None, bool]:
    """Make a run; return what came of it, else why nothing did, and whether it had begun at all."""
    try:
        return await _run(item, stack, events), None, True
    except BaseException as failure:
        if isinstance(failure, ConflictError) or not isinstance(failure, Exception) or exit_code(failure) is None:
            await _tidy_after(failure, ground)
            raise
        return None, sentence(failure), bool(events) or not isinstance(failure, StackDownError)


async def _run(item: Item, stack: Deployment, events: list[Event]) -> Outcome:
    def watch(seen: Seen) -> None:
        if isinstance(seen, Trusted) and not isinstance(seen.message, Telemetry):
            events.append(seen.event())

    async with connect(stack.home) as control:
        outcome = await Runner(stack.home, control, watch, locked=True).run(item.draw)
    _require_asked(item.planner, endpoints(events, outcome.incident), stack)
    return outcome


def _require_asked(planner: Planner, asked: frozenset[str], stack: Deployment) -> None:
    """Refuse what another endpoint planned: the stack was brought up with other settings than the suite's."""
    if planner.url is not None and any(not planner.name.startswith(url) for url in asked):
        raise ConflictError(
            f"the stack under {stack.home} asks {', '.join(sorted(asked))}, not {planner.name}; take it down "
            "(triage down), and the suite brings up one of its own"
        )


async def _tidy_after(failure: BaseException, ground: Ground) -> None:
    """Put the world back before an interruption or a fault of ours goes on; what is left is noted on it."""
    found: CleanUp = await asyncio.shield(ground.tidy(anew=False))
    if not found.proved:
        failure.add_note(f"not everything is as before: {'; '.join(found.left)}")


async def _remember(stack: Deployment, outcome: Outcome) -> tuple[str, ...]:
    """Write the run into the audit's database; a result does not hang on that."""
    try:
        await remember(stack.home, outcome)
    except Exception as error:
        if exit_code(error) is None:
            raise
        return (f"the run was not written into the audit: {sentence(error)}",)
    return ()
