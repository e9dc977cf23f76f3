"""A stored model run, asked again: the same prompt, the same model, the same settings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from auditor_svc.api import LlmRecord
from broker.contracts.inventory import Inventory
from broker.contracts.plan import ChatMessage, PromptForm
from broker.runtime.settings import Settings
from harness.errors import NotFoundError, RefusedError, StackDownError
from planner_svc.config import ModelSettings, model_settings
from planner_svc.core.answer import SCHEMA_NAME
from planner_svc.errors import ModelError, ModelTimeoutError, ModelUnreachableError
from planner_svc.llm_client import open_client
from planner_svc.worker import KINDS, TARGETS, Question, question_of

EXCERPT = 300


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """What a stored run and its repetition came to."""

    run_id: str
    same: bool
    """The two answers are the same text."""
    model: str
    model_now: str
    fingerprint: str
    fingerprint_now: str
    schema_same: bool
    """The schema that goes with the question is the one of then; the inventory may have changed."""
    response: str
    response_now: str
    elapsed_ms: float
    elapsed_ms_now: float

    @property
    def sentence(self) -> str:
        """Return the result in one sentence, with the reason nearest at hand where it differs."""
        if self.same:
            return f"{self.run_id}: the same answer, {len(self.response)} characters, from {self.model_now}"
        why = ""
        if self.model != self.model_now:
            why = f"; then {self.model} answered, now {self.model_now}"
        elif self.fingerprint != self.fingerprint_now:
            why = f"; the server was {self.fingerprint or 'unnamed'}, now {self.fingerprint_now or 'unnamed'}"
        elif not self.schema_same:
            why = "; the schema is not the one of then"
        then, now = self.response[:EXCERPT], self.response_now[:EXCERPT]
        return f"{self.run_id}: another answer{why}: then {then!r}, now {now!r}"


async def ask_again(record: LlmRecord, settings: Settings, inventory: Inventory) -> AskedAgain:
    """Ask the model of a stored run again.

    Raises:
        NotFoundError: the audit does not hold what was asked, or no answer came then. RefusedError: settings of the run
            cannot be had any more. StackDownError: the endpoint does not answer now.
    """
    if record.outcome != "ok":
        raise NotFoundError(f"{record.run_id} has no answer to compare with ({record.outcome}: {record.error})")
    messages = _messages(record)
    again, question = _settings(record, settings, inventory)
    async with open_client(again) as client:
        try:
            found = await client.ask(messages, question.name, question.schema, max_tokens=again.max_tokens)
        except (ModelUnreachableError, ModelTimeoutError) as error:
            raise StackDownError(f"the model cannot be asked again: {error}") from error
        except ModelError as error:
            raise RefusedError(f"the model cannot be asked again: {error}") from error
    text = found.text.replace(again.key, "***") if again.key else found.text
    return AskedAgain(
        run_id=record.run_id,
        same=hashlib.sha256(text.encode()).hexdigest() == record.response_hash,
        model=record.model,
        model_now=found.model,
        fingerprint=record.fingerprint or "",
        fingerprint_now=found.fingerprint,
        schema_same=record.schema_hash in (None, question.schema_hash),
        response=record.response,
        response_now=text,
        elapsed_ms=record.elapsed_ms,
        elapsed_ms_now=round(found.elapsed_ms, 3),
    )


def _messages(record: LlmRecord) -> tuple[ChatMessage, ...]:
    try:
        messages = tuple(ChatMessage.model_validate(turn) for turn in record.prompt or ())
    except (ValidationError, TypeError) as error:
        raise NotFoundError(f"the audit does not hold the prompt of {record.run_id} as it was asked") from error
    if not messages:
        raise NotFoundError(f"the audit does not hold the prompt of {record.run_id}")
    return messages


def _settings(record: LlmRecord, settings: Settings, inventory: Inventory) -> tuple[ModelSettings, Question]:
    """Return the settings of then, with the credentials of now if the endpoint is the same."""
    facts, now = record.model_config, model_settings(settings)
    endpoint = str(facts.get("endpoint") or "")
    url, key = (now.url, now.key) if endpoint in ("", now.shown_url) else (endpoint, None)
    limit = _number(facts, "max_tokens", record)
    again = replace(
        now,
        url=url,
        key=key,
        name=record.model or None,
        temperature=_number(facts, "temperature", record),
        seed=int(_number(facts, "seed", record)),
        max_tokens=int(limit),
    )
    form: PromptForm = "hypothesis" if facts.get("schema", SCHEMA_NAME) == SCHEMA_NAME else "plan"
    targets = [name for name in str(facts.get(TARGETS) or "").split(",") if inventory.get(name) is not None]
    kinds = [name for name in str(facts.get(KINDS) or "").split(",") if name]
    return again, question_of(form, again, inventory, record.template_hash or "", targets, kinds)


def _number(facts: Mapping[str, Any], name: str, record: LlmRecord) -> float:
    value = facts.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotFoundError(f"the audit does not hold the {name} of {record.run_id}")
    return value
