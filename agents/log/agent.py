"""LogAgent (spec 5): queries a workload's log by pattern, level and look-back, returns top lines and a sentence."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from agents.base import Agent, Order, Outcome, lookback_us
from agents.log.search import rationale, search
from broker.contracts.inventory import Inventory
from broker.contracts.plan import AgentKind
from services.platform.port import Platform

DEFAULT_LOOKBACK = "60s"
DEFAULT_TOP_K = 5


class LogAgent(Agent):
    """Reads logs; changes nothing."""

    kind: ClassVar[AgentKind] = "log"

    def __init__(self, instance: str, inventory: Inventory, platform: Platform) -> None:
        super().__init__(instance, inventory)
        self._platform = platform

    async def execute(self, order: Order) -> Outcome:
        """Search the target's lines of the look-back before the order (and since)."""
        args = order.task.args
        pattern = str(args["pattern"])
        lookback = str(args.get("lookback", DEFAULT_LOOKBACK))
        lines = await self._platform.logs(order.task.target, since_us=order.time_us - lookback_us(lookback))
        level = args.get("level")
        found = await asyncio.to_thread(
            search,
            lines,
            pattern,
            level=None if level is None else str(level),
            top_k=int(args.get("top_k", DEFAULT_TOP_K)),
        )
        return Outcome(
            out=rationale(order.task.target, pattern, lookback, found),
            meta={"matched": found.count > 0, "count": found.count},
            evidence=tuple(f"{t.count}x {t.example.level} {t.example.msg}" for t in found.templates),
        )
