"""ActionAgent (spec 5): the closed catalogue of checks and changes; idempotent, no free shell."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from agents.action.actions import ACTIONS, drift_lines, require
from agents.base import Agent, Order, Outcome
from agents.errors import UnhealthyError, WorkError
from broker.contracts.base import Scalar
from broker.contracts.inventory import Inventory
from broker.contracts.plan import AgentKind
from services.platform.port import Platform

POLL_S = 0.25


class ActionAgent(Agent):
    """Checks and changes managed workloads through the platform's verbs."""

    kind: ClassVar[AgentKind] = "action"

    def __init__(self, instance: str, inventory: Inventory, platform: Platform) -> None:
        super().__init__(instance, inventory)
        self._platform = platform

    async def execute(self, order: Order) -> Outcome:
        """Carry out a check or a change.

        A change looks first: precondition, then `is_done`; afterwards it looks again and says what is so now.
        """
        if order.task.type == "check_health":
            return await self._check_health(order)
        if order.task.type == "check_config":
            return await self._check_config(order)
        return await self._change(order)

    async def _change(self, order: Order) -> Outcome:
        action, target = ACTIONS[order.task.type], order.task.target
        before = await self._platform.inspect(target)
        require(action, order, before)
        if action.is_done(order, before):
            done_by_this = await self._was_begun(order)
            return Outcome(f"{target} was already {action.past}", {"state": before.state}, changed=done_by_this)
        if (reason := action.of_no_use(order, before)) is not None:
            return Outcome(f"{target} was not {action.past}: {reason}", {"state": before.state}, changed=False)
        effect = await action.do(self._platform, order)
        after = await self._platform.inspect(target)
        if after.state != "running":
            raise WorkError(f"{target} is {after.state} after it was {action.past}: {effect.detail}")
        changed = effect.changed or await self._was_begun(order)
        return Outcome(
            f"{target} was {action.past}: {effect.detail}",
            {"state": after.state},
            drift_lines(effect.before),
            changed=changed,
        )

    async def _was_begun(self, order: Order) -> bool:
        """Tell whether an earlier delivery of this very attempt changed the world before its worker died."""
        return any(key == order.task.effect_key for key, _, _ in await self._platform.effects())

    async def _check_config(self, order: Order) -> Outcome:
        workload = await self._platform.inspect(order.task.target)
        drift = drift_lines(workload.drift)
        meta: dict[str, Scalar] = {
            "drifted": bool(drift),
            "running": workload.state == "running",
            "paused": workload.state == "paused",
            "sound": workload.state == "running" and not drift,
            "state": workload.state,
        }
        differs = f"differs from its declaration in {len(drift)}: {'; '.join(drift)}" if drift else "is as declared"
        return Outcome(f"{workload.name} is {workload.state} and {differs}", meta, drift)

    async def _check_health(self, order: Order) -> Outcome:
        """Ask until healthy or `within_s` is over; with `within_s` an unhealthy workload fails the task."""
        within = float(order.task.args.get("within_s", 0.0))
        try:
            async with asyncio.timeout(within or None):
                while True:
                    healthy, detail = await self._platform.health(order.task.target)
                    if healthy or not within:
                        break
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise UnhealthyError(f"{order.task.target} did not become healthy within {within:g} s") from None
        return Outcome(
            f"{order.task.target} is {'healthy' if healthy else 'unhealthy'}: {detail}", {"healthy": healthy}
        )
