"""A client that asks again and again: most of the load on its dependency is its own, and none of it is of use."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from broker.contracts.plan import FaultClass
from injector.fault import Bounds, Evidence, Fault, Spec, World
from services.shop.settings import MAX_ATTEMPTS

LATE_MS = 1
"""Less than any answer takes over a new connection: every attempt is in vain, and is worked on all the same."""
ASKED = {"gateway": "catalog"}
"""Whom each target reads from."""
LOOK_S = 0.8


class RetryStorm(Fault):
    """Waits a moment for each answer and asks again at once: every read of a user is many at the catalog, and fails."""

    name = "retry_storm"
    summary = "the gateway waits 1 ms for the catalog and asks again at once; reads fail, and the catalog is flooded"
    fault_class: FaultClass = "config_drift"
    targets: tuple[str, ...] = tuple(ASKED)
    arguments: Mapping[str, Bounds] = {"attempts": (20.0, 5.0, float(MAX_ATTEMPTS))}

    async def inject(self, world: World, spec: Spec) -> None:
        await world.port.set_environment(spec.target, self._wanted(spec))

    async def evidence(self, world: World, spec: Spec) -> Evidence:
        """Read the environment of the process that really runs, and how much more its dependency has to do than it."""
        runs, wanted = await world.port.environment(spec.target), self._wanted(spec)
        wrong = all(runs.get(name) == value for name, value in wanted.items())
        told = f"{spec.target} runs {'with' if wrong else 'without'} the injected {', '.join(wanted)}"
        return Evidence(wrong, f"{told}; {await _amplification(world, spec.target)}")

    async def heal(self, world: World, spec: Spec) -> None:
        await world.port.reset_environment(spec.target)

    def _wanted(self, spec: Spec) -> dict[str, str]:
        prefix = f"{spec.target.upper()}_READ"
        attempts = f"{self.number(spec, 'attempts'):.0f}"
        return {f"{prefix}_ATTEMPTS": attempts, f"{prefix}_TIMEOUT_MS": str(LATE_MS), f"{prefix}_PAUSE_MS": "0"}


async def _amplification(world: World, client: str) -> str:
    """Say how many requests the dependency finished for each of the client's, by the word of both."""
    asked = ASKED[client]
    rates = [await _rate(world, name) for name in (client, asked)]
    if rates[0] is None or rates[1] is None:
        return f"how often it asks {asked} is not told"
    return f"{asked} finished {rates[1]:.0f} requests a second, {client} {rates[0]:.0f}"


async def _rate(world: World, name: str) -> float | None:
    """Return the rate of finished requests that a service tells of itself; None if it tells none in time."""
    device = world.inventory.get(name)
    if device is None:
        return None
    try:
        async with httpx.AsyncClient(timeout=LOOK_S, trust_env=False, verify=False) as client:  # noqa: S501 - plain HTTP
            answer = await client.get(f"http://{device.host}:{device.port}/healthz")
        return float(answer.json()["requests"]["rate"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None
