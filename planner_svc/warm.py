"""Before the first incident: the model loaded, and the constant part of the prompt read.

A server keeps what it has read of a prompt as long as the next one begins alike. On two cores a model of 1.5 billion
weights reads our constant part in ten seconds and answers in three once it has; the ten are spent when nobody waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from broker.contracts.plan import ChatMessage, PlanRequested
from planner_svc.core import question
from planner_svc.core.config import PlannerConfig
from planner_svc.core.context import look
from planner_svc.core.prompt import messages
from planner_svc.core.state import PlannerState
from planner_svc.errors import ModelError
from planner_svc.llm_client import LlmClient

WARM_TIMEOUT_S = 180.0
"""A large model that is loaded on demand takes its time."""
FIRST_WAIT_S = 10.0
LONGEST_WAIT_S = 120.0
"""Between two tries, as long as no endpoint is there."""
NO_REPORT = "nothing was reported"


def constant_turns(config: PlannerConfig) -> tuple[ChatMessage, ...]:
    """Return a conversation about nothing: it begins as every prompt of this configuration does."""
    request = PlanRequested(incident="warm-up", version=1, attempt=1, text=NO_REPORT)
    picture = look(config, PlannerState(), request)
    template = config.template("plan" if config.mode == "full" else "hypothesis")
    return messages(picture) if template is None else question.messages(picture, template)


async def warm_up(
    client: LlmClient, config: PlannerConfig, tell: Callable[[float], None], wait_s: float = FIRST_WAIT_S
) -> None:
    """Have the endpoint read the constant part once, as soon as there is one; never raises for its trouble.

    Args:
        tell: told the seconds it took.
    """
    turns = constant_turns(config)
    while True:
        try:
            tell(await client.warm(turns, WARM_TIMEOUT_S))
            return
        except ModelError:
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)


@asynccontextmanager
async def warming(
    client: LlmClient, config: PlannerConfig | None, tell: Callable[[float], None]
) -> AsyncIterator[None]:
    """Warm up beside a block; None: not at all."""
    if config is None:
        yield
        return
    task = asyncio.create_task(warm_up(client, config, tell))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
