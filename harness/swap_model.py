"""A model behind an address, asked as the planner's own worker asks it: for `triage replay --swap planner=URL`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from broker.contracts.plan import PlanAnswered, PlanPrompted
from broker.runtime.settings import load_settings
from broker.runtime.worker_host import Work
from harness.errors import HarnessError, StackDownError
from harness.replay import inventory_of
from harness.swap import Ask
from planner_svc.config import model_settings
from planner_svc.errors import ModelError
from planner_svc.llm_client import open_client
from planner_svc.worker import ModelWorker


@asynccontextmanager
async def asking(home: Path, url: str, recording: Path) -> AsyncIterator[tuple[str, Ask]]:
    """Give the model's name and a function that asks it; all but the address is as the settings of the home say.

    Raises:
        StackDownError: no model answers there. BadRecordingError, NotFoundError: the recording has no inventory.
    """
    endpoint = model_settings(load_settings(role="planner", home=home, model_url=url))
    async with open_client(endpoint) as client:
        try:
            model = endpoint.name or (await client.discover(endpoint.timeout_s)).name
        except ModelError as error:
            raise StackDownError(f"no model answers at {endpoint.shown_url}: {error}") from error
        worker = ModelWorker(endpoint, inventory_of(recording), client)

        async def ask(prompt: PlanPrompted) -> PlanAnswered:
            answered = await worker.handle(Work(prompt, 1, 0, 1, "DETERMINISTIC", prompt.subject()))
            if not isinstance(answered, PlanAnswered):
                raise HarnessError(f"the planner's worker gave a {type(answered).__name__} for an answer")
            return answered

        yield f"{model} at {endpoint.shown_url}", ask
