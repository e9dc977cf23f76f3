"""The oracle: three things must hold before a run counts as recovered, none of them taken from the triage's own word.

1. The fault is gone: the injector's evidence looks at the world.
2. Users are served: the load generator's own figures meet the objective for a whole window, under the declared load.
3. Nothing else changed: no workload down, drifted or restarted without need.

Each clause says why it failed. What cannot be measured fails its clause, and only that: the oracle fails closed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

import httpx

from broker.contracts.inventory import Inventory, Objective
from injector.collateral import Baseline, Witness
from injector.fault import Spec
from injector.injector import Injector
from injector.registry import check
from services.inventory.declared import TRAFFIC_RATE

MIN_TRAFFIC = 0.5
"""Share of the declared rate that must have been sent: a throttled generator proves nothing. Chance never sends so
little for long: between the bursts of the greatest noise 0.6 of the rate are left (services/shop/arrivals.py)."""
SERVED = "users are served"
UNCHANGED = "nothing else changed"
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Clause:
    """One thing that must hold."""

    name: str
    ok: bool
    detail: str
    items: tuple[str, ...] = ()
    """What was found, one sentence each, where a clause is about several things."""


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
        gone = [await _measured(f"{spec.fault} on {spec.target} is gone", self._gone(spec)) for spec in specs]
        served = await _measured(SERVED, self._served(grace_s))
        return Judgement((*gone, served, await _measured(UNCHANGED, self._unchanged(specs, baseline))))

    async def served_now(self) -> Clause:
        """Look once whether users are served over the last window."""
        objective = self._inventory.objective
        try:
            stats = await self._ask("stats", window_s=objective.window_s)
            rate = float(str((await self._ask("settings")).get("rate")))
        except (httpx.HTTPError, ValueError) as error:
            return Clause(SERVED, False, f"the load generator gives no figures: {error!r}")
        if not rate >= TRAFFIC_RATE:
            return Clause(SERVED, False, f"the load generator is set to {rate:g}/s; {TRAFFIC_RATE:g}/s are declared")
        return judge_traffic(stats, objective)

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
        return Clause(UNCHANGED, not found, "; ".join(found) or "every workload runs as declared", found)

    async def _ask(self, what: str, **parameters: int) -> dict[str, object]:
        traffic = next(device for device in self._inventory.devices if device.kind == "traffic")
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            answer = await client.get(f"http://{traffic.host}:{traffic.port}/{what}", params=parameters)
            answer.raise_for_status()
            body = answer.json()
        if not isinstance(body, dict):
            raise ValueError(f"its {what} are no object")
        return body


async def _measured(name: str, clause: Awaitable[Clause]) -> Clause:
    """Return a clause; a failed one if it cannot be measured, whatever the reason."""
    try:
        return await clause
    except Exception as error:
        return Clause(name, False, f"the measurement failed: {str(error) or repr(error)}")


def judge_traffic(stats: dict[str, object], objective: Objective, rate: float = TRAFFIC_RATE) -> Clause:
    """Compare the load generator's figures with the objective.

    Args:
        rate: requests per second that are declared. Never the generator's own: who throttles it throttles that too.
    """
    try:
        ratio, p95, sent = (float(str(stats[key])) for key in ("success_ratio", "p95_ms", "sent"))
    except (KeyError, ValueError):
        return Clause(SERVED, False, f"the load generator's figures are incomplete: {stats}")
    if not sent >= MIN_TRAFFIC * rate * objective.window_s:  # so put, a NaN is too little as well
        return Clause(SERVED, False, f"only {sent:g} requests in {objective.window_s} s; {rate:g}/s are declared")
    detail = f"{ratio:.1%} of {sent:g} requests good, 95 % within {p95:.0f} ms"
    return Clause(SERVED, ratio >= objective.success_ratio and p95 <= objective.latency_ms, detail)
