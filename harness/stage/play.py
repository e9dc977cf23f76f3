"""Goes through a script, step by step, at the presenter's pace or the script's. Time and acts come in from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.stage.script import Act, Step

Do = Callable[[], Awaitable[str]]
"""Carries out an act; returns what came of it in a sentence."""


@dataclass(frozen=True, slots=True)
class Played:
    """One step as it went."""

    step: Step
    began_s: float
    """Seconds since the first step began."""
    acted_s: float
    """How long its act took."""
    came: str
    """What came of the act; empty if there was none."""


@dataclass(frozen=True, slots=True)
class Pace:
    """When a step's act may begin, and when the next step may."""

    before: Callable[[Step], Awaitable[None]]
    """Awaited when a step has been shown and before its act."""
    after: Callable[[Step, float], Awaitable[None]]
    """Awaited when the act has ended, with the seconds since the first step began."""


async def play(
    script: Sequence[Step],
    acts: Mapping[Act, Do],
    pace: Pace,
    *,
    show: Callable[[Step], None],
    told: Callable[[Played], None],
    clock: Callable[[], float],
) -> tuple[Played, ...]:
    """Go through a script once. What an act raises ends it.

    Args:
        acts: what carries out which act; one that is missing is words alone.
        show: told of every step as it begins.
        told: told of every step when its act has ended.
        clock: seconds, from anywhere.
    """
    began, played = clock(), []
    for step in script:
        show(step)
        step_began = clock() - began
        await pace.before(step)
        act_began = clock()
        came = await acts[step.act]() if step.act in acts else ""
        item = Played(step, step_began, clock() - act_began, came)
        played.append(item)
        told(item)
        await pace.after(step, clock() - began)
    return tuple(played)


def by_the_script(sleep: Callable[[float], Awaitable[object]], script: Sequence[Step]) -> Pace:
    """Return the pace of the script's own times: an act begins at once, the next step when its time has come."""
    first_s = script[0].start_s if script else 0

    async def before(_step: Step) -> None:
        return

    async def after(step: Step, now_s: float) -> None:
        if (left_s := step.end_s - first_s - now_s) > 0:
            await sleep(left_s)

    return Pace(before, after)


def by_the_presenter(pressed: Callable[[], Awaitable[object]]) -> Pace:
    """Return the pace of a person: every act waits for Enter, and the next step is shown when it has ended."""

    async def before(_step: Step) -> None:
        await pressed()

    async def after(_step: Step, _now_s: float) -> None:
        return

    return Pace(before, after)
