"""Nothing else changed: the world after a repair is the world before the fault, but for what the repair needed.

An agent that restarts everything, leaves a service down, or loosens a declaration has not repaired anything, even when
the users' traffic flows again (design: Proof; docs/adr/0020).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.platform.port import Platform, Workload

FINGERPRINT_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Baseline:
    """The world before the fault: restarts are counted from here."""

    workloads: Mapping[str, Workload]
    declared: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of every file that says how the world should be, by name."""

    @property
    def fingerprint(self) -> str:
        """What was declared, which workloads there were and who may change them, in twelve hexadecimal digits."""
        known = {name: workload.managed for name, workload in self.workloads.items()}
        text = json.dumps([dict(self.declared), known], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_DIGITS]


class Witness:
    """Looks at the whole world, before and after."""

    def __init__(self, platform: Platform, declarations: Sequence[Path] = ()) -> None:
        """
        Args:
            declarations: files that say how the world should be; nothing changes them while a stack is up.
        """
        self._platform = platform
        self._declarations = tuple(declarations)

    async def baseline(self) -> Baseline:
        """Return the world as it is now.

        Raises:
            PlatformError: it cannot be looked at. OSError: a declaration cannot be read.
        """
        declared = await asyncio.to_thread(lambda: {path.name: _digest(path) for path in self._declarations})
        return Baseline({workload.name: workload for workload in await self._platform.list()}, declared)

    async def starts(self, name: str) -> int:
        """Return how often a workload was started anew since the platform came up.

        Raises:
            PlatformError: it cannot be looked at.
        """
        return (await self._platform.inspect(name)).restarts

    async def effects(self) -> tuple[tuple[str, str, str], ...]:
        """Return the ledger of effects: (key, workload, verb) of everything that was begun, oldest first."""
        return await self._platform.effects()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def faults_of(world: Baseline) -> tuple[str, ...]:
    """Return why a world is not fit to be broken, one sentence each: what does not run or drifts before the fault."""
    return tuple(sentence for workload in world.workloads.values() for sentence in _state_of(workload))


def changes(before: Baseline, after: Baseline, *, allowed: Mapping[str, int]) -> tuple[str, ...]:
    """Return every difference that a right repair does not leave, one sentence each; empty if there is none.

    Args:
        allowed: how often a workload may have been started since before; not at all where it is not named.
    """
    found = []
    for name, was in before.workloads.items():
        now = after.workloads.get(name)
        if now is None:
            found.append(f"{name} does not exist any more")
            continue
        found += _changes_of(was, now, allowed=allowed.get(name, 0))
    found += [f"{name} did not exist before" for name in after.workloads if name not in before.workloads]
    for name in sorted({*before.declared, *after.declared}):
        if before.declared.get(name) != after.declared.get(name):
            found.append(f"{name}, which declares the world, is not the file from before the fault")
    return tuple(found)


def _changes_of(was: Workload, now: Workload, *, allowed: int) -> list[str]:
    found = _state_of(now)
    extra = now.restarts - was.restarts
    if extra > allowed:
        found.append(f"{now.name} was started {extra} times, {allowed} would do")
    if extra < 0:
        found.append(f"{now.name} was made anew: its starts count from {now.restarts}, not from {was.restarts}")
    if now.managed != was.managed:
        found.append(f"{now.name} is {'now' if now.managed else 'no longer'} managed")
    return found


def _state_of(now: Workload) -> list[str]:
    found = [] if now.state == "running" else [f"{now.name} is {now.state}"]
    return found + [f"{now.name} drifts: {item.what} {item.name}" for item in now.drift]
