"""`python -m planner_svc`: the planner's policy, and beside it the worker that asks the model."""

from __future__ import annotations

import asyncio
import sys

from broker.contracts.inventory import Inventory
from broker.runtime.process import Context, machine_main
from broker.runtime.settings import Settings
from planner_svc.config import model_settings, planner_config
from planner_svc.core.machine import PlannerMachine

MARGIN_S = 5.0
"""The client's own time-out comes first and says more than the host's."""


def make_machine(settings: Settings, inventory: Inventory) -> PlannerMachine:
    """Return the policy for these settings.

    Raises:
        RulebookError: the rulebook's files are damaged.
    """
    return PlannerMachine(planner_config(settings, inventory))


async def ask_models(context: Context) -> None:
    """Work through the prompts until cancelled; in rulebook mode there are none to be asked.

    Raises:
        ModelKeyError: a key file is named and holds no key.
    """
    if context.settings.planner_mode == "rulebook":
        await asyncio.Event().wait()
    # Late: who runs without a model does without the HTTP client's memory.
    from planner_svc.llm_client import open_client
    from planner_svc.warm import warming
    from planner_svc.worker import ModelWorker

    settings = model_settings(context.settings)
    async with open_client(settings) as client:
        context.log.info("model_endpoint", found=await client.greet())
        handler = ModelWorker(settings, context.inventory, client)
        config = planner_config(context.settings, context.inventory) if context.settings.model_warm else None
        async with warming(client, config, lambda took: context.log.info("model_warm", seconds=round(took, 1))):
            # An answer is a record of what the endpoint said; the decision, and its tag, are the proposal's.
            await context.worker("w-planner", handler, timeout_s=settings.timeout_s + MARGIN_S).run()


if __name__ == "__main__":
    sys.exit(machine_main("planner", make_machine, ask_models))
