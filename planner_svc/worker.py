"""The worker that asks the model: takes a prompt from the queue, gives back what the endpoint said.

It decides nothing. Trouble with the endpoint is an answer like any other (`outcome`), so that the policy can fall back
on the rulebook, and a replay needs no endpoint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from broker.contracts.base import Contract, Scalar
from broker.contracts.inventory import Inventory
from broker.contracts.plan import PlanAnswered, PlanPrompted, PromptForm
from broker.runtime.worker_host import Work
from planner_svc.config import ModelSettings
from planner_svc.core.answer import NO_WORDS, SCHEMA_NAME, Words, answer_schema
from planner_svc.core.draft import SCHEMA_NAME as PLAN_SCHEMA_NAME
from planner_svc.core.draft import plan_schema
from planner_svc.errors import ModelError, ModelTimeoutError, Outcome, PlannerError
from planner_svc.llm_client import Completion, LlmClient
from planner_svc.prompt_files import load_templates

MAX_ERROR = 500
TARGETS, KINDS = "targets", "fault_classes"
"""Where the record of a run says which devices and kinds of fault could be named, parted by commas."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a form of prompt asks for: the schema of its answer and how long that may be, in tokens."""

    name: str
    schema: dict[str, Any]
    max_tokens: int

    @property
    def schema_hash(self) -> str:
        """SHA-256, hex, of the schema's canonical JSON."""
        return sha256(json.dumps(self.schema, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def question_of(
    form: PromptForm,
    settings: ModelSettings,
    inventory: Inventory,
    template_hash: str = "",
    targets: Sequence[str] = (),
    kinds: Sequence[str] = (),
) -> Question:
    """Return what a prompt asks for.

    Args:
        template_hash: of the prompt's template; one that this version does not have has no words of its own.
        targets: the devices that the answer may name; empty: all.
        kinds: the same of the kinds of fault.
    """
    if form == "plan":
        return Question(PLAN_SCHEMA_NAME, plan_schema(inventory), settings.plan_max_tokens)
    schema = answer_schema(inventory, _words(template_hash), targets, kinds)
    return Question(SCHEMA_NAME, schema, settings.max_tokens)


@cache
def _words(template_hash: str) -> Words:
    return next((item.answers for item in load_templates() if item.hash == template_hash), NO_WORDS)


class ModelWorker:
    """Handler of the queue `w-planner`."""

    def __init__(self, settings: ModelSettings, inventory: Inventory, client: LlmClient) -> None:
        self._settings = settings
        self._inventory = inventory
        self._client = client

    async def handle(self, work: Work) -> Contract:
        """Ask the model; never raises for the endpoint's trouble."""
        prompt = _prompt(work)
        asked = self._question(prompt)
        try:
            completion = await self._client.ask(prompt.messages, asked.name, asked.schema, max_tokens=asked.max_tokens)
        except ModelError as error:
            return self._unanswered(prompt, error.outcome, str(error))
        return self._answered(prompt, completion)

    def failure(self, work: Work, error: Exception) -> Contract:
        """Return the answer that says that asking failed: time-out or an error nobody foresaw."""
        outcome: Outcome = ModelTimeoutError.outcome if isinstance(error, TimeoutError) else ModelError.outcome
        return self._unanswered(_prompt(work), outcome, f"{type(error).__name__}: {error}")

    def _answered(self, prompt: PlanPrompted, completion: Completion) -> PlanAnswered:
        return PlanAnswered(
            incident=prompt.incident,
            version=prompt.version,
            attempt=prompt.attempt,
            outcome="ok",
            response=completion.text,
            prompt_hash=prompt.prompt_hash,
            response_hash=sha256(completion.text),
            model=completion.model,
            settings={**self._facts(prompt), "structured": completion.structured},
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.completion_tokens,
            elapsed_ms=round(completion.elapsed_ms, 3),
            structured=completion.structured,
            schema_hash=self._question(prompt).schema_hash,
            fingerprint=completion.fingerprint,
            finish_reason=completion.finish_reason,
            timings=completion.timings,
            template=prompt.template,
            template_hash=prompt.template_hash,
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
            settings=self._facts(prompt),
            error=self._without_key(why)[:MAX_ERROR],
            schema_hash=self._question(prompt).schema_hash,
            template=prompt.template,
            template_hash=prompt.template_hash,
        )

    def _question(self, prompt: PlanPrompted) -> Question:
        known = [name for name in prompt.targets if self._inventory.get(name) is not None]
        kinds = prompt.fault_classes
        return question_of(prompt.form, self._settings, self._inventory, prompt.template_hash, known, kinds)

    def _facts(self, prompt: PlanPrompted) -> dict[str, Scalar]:
        """Return what is needed to ask again. Never the key."""
        settings, asked = self._settings, self._question(prompt)
        return {
            "endpoint": settings.shown_url,
            "temperature": settings.temperature,
            "seed": settings.seed,
            "max_tokens": asked.max_tokens,
            "schema": asked.name,
            **({TARGETS: ",".join(prompt.targets)} if prompt.targets else {}),
            **({KINDS: ",".join(prompt.fault_classes)} if prompt.fault_classes else {}),
        }

    def _without_key(self, text: str) -> str:
        """An error that nobody foresaw may quote the key; the journal must not. Answers come without (`llm_client`)."""
        return text.replace(self._settings.key, "***") if self._settings.key else text


def sha256(text: str) -> str:
    """Return the SHA-256, hex, of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def _prompt(work: Work) -> PlanPrompted:
    if not isinstance(work.order, PlanPrompted):
        raise PlannerError(f"the planner's worker was handed a {type(work.order).__name__}")
    return work.order
