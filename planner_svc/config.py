"""From settings to what the planner's parts are made with: the rulebook's files are read here, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from urllib.parse import urlsplit

from pydantic import ValidationError

from broker.contracts.base import describe
from broker.contracts.inventory import Inventory
from broker.runtime.settings import Settings
from planner_svc.core.config import PlannerConfig, Rulebook
from planner_svc.errors import ModelKeyError, RulebookError

FILES = ("errors", "rules", "remedies", "words", "examples")
MAX_TOKENS = 200
"""An answer has about 25 tokens; a model that reasons aloud may use the rest. Always sent: without a limit a small
model can stay in an open structure for ever."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """How the model's endpoint is asked."""

    url: str = field(repr=False)
    """May hold a user and password; `shown_url` does not."""
    name: str | None
    """None: the first model that the endpoint lists."""
    timeout_s: float
    """For the whole exchange, discovery of the model included, seconds."""
    temperature: float
    seed: int
    max_tokens: int = MAX_TOKENS
    key: str | None = field(default=None, repr=False)
    """Bearer key; never logged, never stored."""

    @property
    def shown_url(self) -> str:
        """Return the URL without user and password, for logs and the journal."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def load_rulebook(directory: Traversable | None = None) -> Rulebook:
    """Return the rulebook that ships with the package, or the one in `directory`.

    Raises:
        RulebookError: a file is missing, is no JSON, or does not fit the others.
    """
    place = directory if directory is not None else resources.files("planner_svc") / "rulebook"
    parts = {name: _read(place / f"{name}.json") for name in FILES}
    try:
        return Rulebook.model_validate_json(json.dumps(parts))
    except ValidationError as error:
        raise RulebookError(f"the rulebook in {place} is damaged: {describe(error)}") from error


def _read(file: Traversable) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RulebookError(f"{file} cannot be read: {error.strerror}; install the package anew") from error
    except ValueError as error:
        raise RulebookError(f"{file} is no JSON: {error}") from error


def planner_config(settings: Settings, inventory: Inventory) -> PlannerConfig:
    """Return what the policy is made with.

    Raises:
        RulebookError: the rulebook's files are damaged.
    """
    return PlannerConfig(inventory=inventory, rulebook=load_rulebook(), mode=settings.planner_mode)


def model_settings(settings: Settings) -> ModelSettings:
    """Return how the model's endpoint is asked.

    Raises:
        ModelKeyError: a key file is named and holds no key.
    """
    return ModelSettings(
        url=settings.model_url.rstrip("/"),
        name=settings.model_name,
        timeout_s=settings.model_timeout_s,
        temperature=settings.model_temperature,
        seed=settings.model_seed,
        key=_key(settings),
    )


def _key(settings: Settings) -> str | None:
    file = settings.model_key_file
    if file is None:
        return None
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelKeyError(f"the model's key file {file} cannot be read; mend or unset model_key_file") from error
    key = lines[0].strip() if lines else ""
    if not key or not key.isascii() or not key.isprintable():
        raise ModelKeyError(f"the first line of {file} is no key; put the endpoint's key there or unset model_key_file")
    return key
