"""The worker that asks the model: takes a prompt from the queue, gives back what the endpoint said.

It decides nothing. Trouble with the endpoint is an answer like any other (`outcome`), so that the policy can fall back
on the rulebook, and a replay needs no endpoint.
"""

from __future__ import annotations

import hashlib

from broker.contracts.base import Contract, Scalar
from broker.contracts.inventory import Inventory
from broker.contracts.plan import PlanAnswered, PlanPrompted
from broker.runtime.worker_host import Work
from planner_svc.config import ModelSettings
from planner_svc.core.answer import SCHEMA_NAME, answer_schema
from planner_svc.errors import ModelError, ModelTimeoutError, Outcome, PlannerError
from planner_svc.llm_client import Completion, LlmClient

MAX_ERROR = 500


class ModelWorker:
    """Handler of the queue `w-planner`."""

    def __init__(self, settings: ModelSettings, inventory: Inventory, client: LlmClient) -> None:
        self._settings = settings
        self._schema = answer_schema(inventory)
        self._client = client

    async def handle(self, work: Work) -> Contract:
        """Ask the model; never raises for the endpoint's trouble."""
        prompt = _prompt(work)
        try:
            completion = await self._client.ask(prompt.messages, SCHEMA_NAME, self._schema)
        except ModelError as error:
            return self._unanswered(prompt, error.outcome, str(error))
        return self._answered(prompt, completion)

    def failure(self, work: Work, error: Exception) -> Contract:
        """Return the answer that says that asking failed: time-out or an error nobody foresaw."""
        outcome: Outcome = ModelTimeoutError.outcome if isinstance(error, TimeoutError) else ModelError.outcome
        return self._unanswered(_prompt(work), outcome, f"{type(error).__name__}: {error}")

    def _answered(self, prompt: PlanPrompted, completion: Completion) -> PlanAnswered:
        text = self._without_key(completion.text)
        return PlanAnswered(
            incident=prompt.incident,
            version=prompt.version,
            attempt=prompt.attempt,
            outcome="ok",
            response=text,
            prompt_hash=prompt.prompt_hash,
            response_hash=sha256(text),
            model=completion.model,
            settings={**self._facts(), "structured": completion.structured},
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.completion_tokens,
            elapsed_ms=round(completion.elapsed_ms, 3),
        )

    def _unanswered(self, prompt: PlanPrompted, outcome: Outcome, why: str) -> PlanAnswered:
        return PlanAnswered(
            incident=prompt.incident,
            version=prompt.version,
            attempt=prompt.attempt,
            outcome=outcome,
            response="",
            prompt_hash=prompt.prompt_hash,
            response_hash=sha256(""),
            model=self._client.model,
            settings=self._facts(),
            error=self._without_key(why)[:MAX_ERROR],
        )

    def _facts(self) -> dict[str, Scalar]:
        """Return what is needed to ask again. Never the key."""
        settings = self._settings
        return {
            "endpoint": settings.shown_url,
            "temperature": settings.temperature,
            "seed": settings.seed,
            "max_tokens": settings.max_tokens,
            "schema": SCHEMA_NAME,
        }

    def _without_key(self, text: str) -> str:
        """An endpoint may quote the key it refuses; the journal must not."""
        return text.replace(self._settings.key, "***") if self._settings.key else text


def sha256(text: str) -> str:
    """Return the SHA-256, hex, of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def _prompt(work: Work) -> PlanPrompted:
    if not isinstance(work.order, PlanPrompted):
        raise PlannerError(f"the planner's worker was handed a {type(work.order).__name__}")
    return work.order
