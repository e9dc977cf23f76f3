"""`python -m agents.runbook`: one RAGAgent. Start more to share the work; all keep the same database up to date."""

from __future__ import annotations

import sys

from agents.runbook.agent import RunbookAgent
from agents.runbook.metrics import RunbookMetrics
from agents.runbook.opening import open_shelf
from broker.runtime.process import Context, worker_main


def _make(context: Context) -> RunbookAgent:
    counted = RunbookMetrics(context.metrics.registry)
    shelf = open_shelf(context.settings, context.inventory, counted, context.log)
    return RunbookAgent(context.settings.instance, context.inventory, shelf)


async def _keep(context: Context, agent: RunbookAgent) -> None:
    """Fill the shelf and keep it up to date; ends when cancelled."""
    context.health.set("runbooks", False)
    try:
        await agent.shelf.refresh()
        context.health.set("runbooks", True)
        await agent.shelf.keep()
    finally:
        await agent.shelf.close()


if __name__ == "__main__":
    sys.exit(worker_main("runbook", "w-runbook", _make, _keep))
