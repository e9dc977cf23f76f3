"""Nothing else changed: the world after a repair is the world before the fault, but for what the repair needed.

An agent that restarts everything, leaves a service down, or loosens a declaration has not repaired anything, even when
the users' traffic flows again (design: Proof).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.platform.port import Platform, Workload


@dataclass(frozen=True, slots=True)
class Baseline:
    """The world right after the fault was injected: restarts are counted from here."""

    workloads: Mapping[str, Workload]


class Witness:
    """Looks at the whole world, before and after."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def baseline(self) -> Baseline:
        """Return the world as it is now."""
        return Baseline({workload.name: workload for workload in await self._platform.list()})

    async def changes(self, before: Baseline, *, repaired: frozenset[str]) -> tuple[str, ...]:
        """Return every difference between `before` and now that a right repair does not leave."""
        return changes(before, await self.baseline(), repaired=repaired)

    async def effects(self) -> tuple[tuple[str, str, str], ...]:
        """Return the ledger of effects: (key, workload, verb) of everything that was begun, oldest first."""
        return await self._platform.effects()


def changes(before: Baseline, after: Baseline, *, repaired: frozenset[str]) -> tuple[str, ...]:
    """Return every difference that a right repair does not leave, one sentence each; empty if there is none.

    Args:
        repaired: workloads on which a repair may act: one restart each.
    """
    found = []
    for name, was in before.workloads.items():
        now = after.workloads.get(name)
        if now is None:
            found.append(f"{name} does not exist any more")
            continue
        found += _changes_of(was, now, allowed=1 if name in repaired else 0)
    return tuple(found)


def _changes_of(was: Workload, now: Workload, *, allowed: int) -> list[str]:
    found = []
    if now.state != "running":
        found.append(f"{now.name} is {now.state}")
    found += [f"{now.name} drifts: {item.what} {item.name}" for item in now.drift]
    extra = now.restarts - was.restarts
    if extra > allowed:
        found.append(f"{now.name} was started {extra} times, {allowed} would do")
    if now.managed != was.managed:
        found.append(f"{now.name} is {'now' if now.managed else 'no longer'} managed")
    return found
