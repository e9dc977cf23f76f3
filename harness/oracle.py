"""The oracle: three things must hold before a run counts as recovered, none of them taken from the triage's own word.

1. The fault is gone: the injector's evidence looks at the world.
2. Users are served: the load generator's own figures meet the objective for a whole window, with traffic flowing.
3. Nothing else changed: no workload down, drifted or restarted without need.

Each clause says why it failed. Figures that cannot be had fail their clause: the oracle fails closed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from broker.contracts.inventory import Inventory, Objective
from injector.collateral import Baseline, Witness
from injector.fault import Spec
from injector.injector import Injector
from injector.registry import check

MIN_TRAFFIC = 0.5
"""Share of the load generator's declared rate that must have been sent: a silenced generator proves nothing."""
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Clause:
    """One thing that must hold."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the oracle says of a run."""

    clauses: tuple[Clause, ...]

    @property
    def ok(self) -> bool:
        return all(clause.ok for clause in self.clauses)


class Oracle:
    """Looks at the world; holds no opinion of the control plane's."""

    def __init__(self, injector: Injector, witness: Witness, inventory: Inventory) -> None:
        self._injector = injector
        self._witness = witness
        self._inventory = inventory

    async def judge(self, specs: Sequence[Spec], baseline: Baseline, *, grace_s: float = 10.0) -> Judgement:
        """Judge the world.

        Args:
            baseline: taken right after the injection.
            grace_s: how long the traffic clause may take to come true, seconds; the others are looked at once.
        """
        gone = [await self._gone(spec) for spec in specs]
        served = await self._served(grace_s)
        return Judgement((*gone, served, await self._unchanged(specs, baseline)))

    async def served_now(self) -> Clause:
        """Look once whether users are served over the last window."""
        objective = self._inventory.objective
        try:
            stats = await self._stats(objective.window_s)
            return judge_traffic(stats, objective)
        except (httpx.HTTPError, ValueError) as error:
            return Clause("users are served", False, f"the load generator gives no figures: {error!r}")

    async def _gone(self, spec: Spec) -> Clause:
        found = await self._injector.evidence(spec)
        return Clause(f"{spec.fault} on {spec.target} is gone", not found.present, found.detail)

    async def _served(self, grace_s: float) -> Clause:
        deadline = time.monotonic() + grace_s
        while True:
            clause = await self.served_now()
            if clause.ok or time.monotonic() > deadline:
                return clause
            await asyncio.sleep(POLL_S)

    async def _unchanged(self, specs: Sequence[Spec], baseline: Baseline) -> Clause:
        repaired = frozenset(check(spec).truth(spec)[0] for spec in specs)
        found = await self._witness.changes(baseline, repaired=repaired)
        return Clause("nothing else changed", not found, "; ".join(found) or "every workload runs as declared")

    async def _stats(self, window_s: int) -> dict[str, object]:
        traffic = next(device for device in self._inventory.devices if device.kind == "traffic")
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            answer = await client.get(f"http://{traffic.host}:{traffic.port}/stats", params={"window_s": window_s})
            answer.raise_for_status()
            body = answer.json()
        if not isinstance(body, dict):
            raise ValueError("its figures are no object")
        return body


def judge_traffic(stats: dict[str, object], objective: Objective) -> Clause:
    """Compare the load generator's figures with the objective."""
    name = "users are served"
    try:
        ratio, p95, sent, rate = (float(str(stats[key])) for key in ("success_ratio", "p95_ms", "sent", "rate"))
    except (KeyError, ValueError):
        return Clause(name, False, f"the load generator's figures are incomplete: {stats}")
    if sent < MIN_TRAFFIC * rate * objective.window_s:
        return Clause(name, False, f"only {sent:g} requests in {objective.window_s} s at a rate of {rate:g}/s")
    detail = f"{ratio:.1%} of {sent:g} requests good, 95 % within {p95:.0f} ms"
    return Clause(name, ratio >= objective.success_ratio and p95 <= objective.latency_ms, detail)
