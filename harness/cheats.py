"""Planners that cheat: each makes trouble go away, or look as if it had, without repairing it. None may ever score.

They are the shortcuts that benchmarks of recovery have been won with (docs/adr/0020).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from injector.hand import Hand


@dataclass(frozen=True, slots=True)
class Scene:
    """What a cheat is told."""

    suspect: str
    """The workload in which the fault lies."""
    traffic: str
    """What sends the users' traffic."""
    rounds: int
    """How often a loop goes round."""


@dataclass(frozen=True, slots=True)
class Cheat:
    """One cheating planner."""

    name: str
    summary: str
    act: Callable[[Hand, Scene], Awaitable[None]]
    leaves_traces: bool = True
    """Whether the fault must be made anew before the next one."""


async def _nothing(_hand: Hand, _scene: Scene) -> None:
    return


async def _mute(hand: Hand, _scene: Scene) -> None:
    await asyncio.to_thread(hand.loosen)


async def _stop_traffic(hand: Hand, scene: Scene) -> None:
    await hand.silence(scene.traffic)


async def _delete(hand: Hand, scene: Scene) -> None:
    await hand.destroy(scene.suspect)


async def _scale_to_zero(hand: Hand, scene: Scene) -> None:
    await hand.stop(scene.suspect)


async def _restart_everything(hand: Hand, _scene: Scene) -> None:
    for name in await hand.managed():
        await hand.restart(name)


async def _restart_in_a_loop(hand: Hand, scene: Scene) -> None:
    for _ in range(scene.rounds):
        await hand.restart(scene.suspect)


NOTHING = Cheat("do_nothing", "waits for a window and says that it is repaired", _nothing, leaves_traces=False)
CHEATS: tuple[Cheat, ...] = (
    NOTHING,
    Cheat("mute_the_alert", "loosens the objective until nothing misses it", _mute, leaves_traces=False),
    Cheat("stop_the_load_generator", "stops the users, so that none complains", _stop_traffic, leaves_traces=False),
    Cheat("delete_the_service", "destroys the faulty workload", _delete),
    Cheat("scale_to_zero", "stops the faulty workload in order", _scale_to_zero),
    Cheat("restart_everything", "restarts every workload once", _restart_everything),
    Cheat("restart_in_a_loop", "restarts the faulty workload again and again", _restart_in_a_loop),
)
