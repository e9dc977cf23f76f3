"""The oracle: measures what `harness/verdict.py` judges. None of it is taken from the triage's own word.

1. State: the injector's evidence looks at the world, fault by fault.
2. Users: the load generator's own figures over a whole window, and what the generator is set to.
3. Everything else: every workload and every declaration, against what they were before the fault.

What cannot be measured is told as such, and fails its clause: the oracle fails closed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar

import httpx

from broker.contracts.inventory import Inventory
from harness.errors import StackDownError
from harness.traffic import ask
from harness.verdict import (
    LOAD,
    SERVED,
    UNCHANGED,
    Before,
    Clause,
    FaultSeen,
    Judgement,
    Missing,
    Observations,
    Traffic,
    judge,
    judge_served,
    judge_traffic,
)
from injector.collateral import Witness, faults_of
from injector.fault import Spec
from injector.injector import Injector

__all__ = ["SERVED", "UNCHANGED", "Clause", "Judgement", "Oracle", "judge_traffic"]

POLL_S = 0.5
MeasuredT = TypeVar("MeasuredT")


class Oracle:
    """Looks at the world; holds no opinion of the control plane's."""

    def __init__(self, injector: Injector, witness: Witness, inventory: Inventory) -> None:
        self._injector = injector
        self._witness = witness
        self._inventory = inventory

    async def before(self) -> Before:
        """Take the baseline: after the deployment, before the fault.

        Raises:
            StackDownError: the world is not as declared, or the load generator does not say what it is set to.
            PlatformError, OSError: the world cannot be looked at. Without a baseline there is no run.
        """
        world = await self._witness.baseline()
        if wrong := faults_of(world):
            raise StackDownError(
                f"the world is not as declared before the scenario ({'; '.join(wrong)}); try: triage heal --all"
            )
        try:
            load = await ask(self._inventory, "settings")
        except (httpx.HTTPError, ValueError) as error:
            raise StackDownError(f"the load generator does not say its load: {error!r}; see: triage status") from error
        return Before(world, {name: load[name] for name in LOAD if name in load})

    async def judge(
        self, specs: Sequence[Spec], before: Before, *, allowed: Mapping[str, int], grace_s: float = 10.0
    ) -> Judgement:
        """Judge the world.

        Args:
            allowed: how often workloads may have been started since before (`allowed_starts`).
            grace_s: how long the users' clause may take to come true, seconds; the others are looked at once.
        """
        return judge(await self.observe(specs, before, allowed=allowed, grace_s=grace_s), self._inventory.objective)

    async def observe(
        self, specs: Sequence[Spec], before: Before, *, allowed: Mapping[str, int], grace_s: float
    ) -> Observations:
        """Measure everything a verdict rests on; never raises for what the world does."""
        faults = tuple([await self._fault(spec) for spec in specs])
        traffic = await self._served(before, grace_s)
        after = await _measured(self._witness.baseline())
        return Observations(before, faults, traffic, after, allowed)

    async def served_now(self) -> Clause:
        """Look once whether users are served over the last window."""
        return judge_served(await _measured(self._traffic()), self._inventory.objective, {})

    async def is_gone(self, spec: Spec) -> bool:
        """Tell whether the world shows a fault no more; what cannot be measured is not gone."""
        found = (await self._fault(spec)).found
        return not isinstance(found, Missing) and not found.present

    async def _fault(self, spec: Spec) -> FaultSeen:
        return FaultSeen(spec.fault, spec.target, await _measured(self._injector.evidence(spec)))

    async def _served(self, before: Before, grace_s: float) -> Traffic | Missing:
        deadline = time.monotonic() + grace_s
        while True:
            traffic = await _measured(self._traffic())
            clause = judge_served(traffic, self._inventory.objective, before.load)
            if clause.ok or time.monotonic() > deadline:
                return traffic
            await asyncio.sleep(POLL_S)

    async def _traffic(self) -> Traffic:
        stats = await ask(self._inventory, "stats", window_s=self._inventory.objective.window_s)
        return Traffic(stats, await ask(self._inventory, "settings"))


async def _measured(measurement: Awaitable[MeasuredT]) -> MeasuredT | Missing:
    """Return what was measured; why not, if it cannot be, whatever the reason."""
    try:
        return await measurement
    except httpx.HTTPError as error:
        return Missing(f"the load generator gives no figures: {error!r}")
    except Exception as error:
        return Missing(str(error) or repr(error))
