"""From settings to what the planner's parts are made with: where the model is and how it is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from pathlib import Path
from urllib.parse import urlsplit

from broker.contracts.inventory import Inventory
from broker.runtime.settings import Settings
from planner_svc.core.config import PlannerConfig, PromptTemplate, Rulebook
from planner_svc.errors import ModelAddressError, ModelKeyError
from planner_svc.prompt_files import load_templates
from planner_svc.rulebook_files import load

CLEAR_MARGIN = 0.2
"""The rulebook's score of one repair stands this far above every other: it leads (docs/adr/0012)."""
CERTAIN = 0.85
"""From this score on the device is not in doubt (docs/adr/0012)."""
AMPLIFICATION = 3.0
"""Requests at a dependency for each at its clients, from which on they ask it again and again (docs/adr/0029)."""
PROMPT_TOKENS = 1_700
"""Of a whole prompt, by an estimate that is a fifth above a real vocabulary for the constant part, by far the most of
it: 1,500 tokens at most (docs/planner.md)."""
MAX_TOKENS = 200
PLAN_MAX_TOKENS = 900
"""A hypothesis has about 25 tokens, a plan about 200; a model that reasons aloud may use the rest. Always sent: without
a limit a small model can stay in an open structure for ever."""


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
    """Of an answer to the closed question."""
    plan_max_tokens: int = PLAN_MAX_TOKENS
    """Of an answer that is a whole plan."""
    key: str | None = field(default=None, repr=False)
    """Bearer key; never logged, never stored."""

    @property
    def shown_url(self) -> str:
        """Return the URL without user and password, for logs and the journal."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def load_rulebook(directory: Traversable | None = None, own: Path | None = None) -> Rulebook:
    """Return the rulebook that ships with the package, or the one in `directory`, with what the files of the folder
    `own` add.

    Raises:
        RulebookError: a file is missing, is no JSON, or does not fit the others.
    """
    return load(own, directory).rulebook


def planner_config(settings: Settings, inventory: Inventory) -> PlannerConfig:
    """Return what the policy is made with.

    Raises:
        RulebookError: the rulebook's files are damaged, or one of the user's own is refused.
        PromptError: a prompt template is damaged.
    """
    return PlannerConfig(
        inventory=inventory,
        rulebook=load_rulebook(own=settings.rulebook_dir),
        mode=settings.planner_mode,
        templates=newest_templates(),
        clear_margin=CLEAR_MARGIN,
        asks_again=True,
        recalls=True,
        doubts_silence=True,
        certain=CERTAIN,
        amplification=AMPLIFICATION,
        max_prompt_tokens=PROMPT_TOKENS,
    )


def newest_templates() -> tuple[PromptTemplate, ...]:
    """Return the newest template of each form: what this version of the planner asks with.

    Raises:
        PromptError: a template is damaged.
    """
    newest = {template.form: template for template in sorted(load_templates(), key=lambda item: item.version)}
    return tuple(newest[form] for form in sorted(newest))


def model_settings(settings: Settings) -> ModelSettings:
    """Return how the model's endpoint is asked.

    Raises:
        ModelKeyError: a key file is named and holds no key. ModelAddressError: the address is none.
    """
    return ModelSettings(
        url=_address(settings.model_url),
        name=settings.model_name,
        timeout_s=settings.model_timeout_s,
        temperature=settings.model_temperature,
        seed=settings.model_seed,
        max_tokens=settings.model_max_tokens,
        plan_max_tokens=settings.model_plan_max_tokens,
        key=_key(settings),
    )


def _address(url: str) -> str:
    """Return the endpoint's base URL, checked as far as that goes without asking."""
    try:
        parts = urlsplit(url)
        possible = bool(parts.hostname) and parts.port != 0 and not parts.query and not parts.fragment
    except ValueError:  # no host in brackets, a port beyond 65535
        possible = False
    if not possible:
        raise ModelAddressError("model_url is no address of an endpoint; it has the form http://host:port/v1")
    return url.rstrip("/")


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
