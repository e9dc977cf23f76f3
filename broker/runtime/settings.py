"""Every setting of every role: one flat frozen object, built once at start-up and handed down.

Precedence: argument (a command-line flag) > environment `TRIAGE_<NAME>` > `triage.toml` > default. The TOML file is the
one that `TRIAGE_CONFIG` names, else `triage.toml` in the home directory; it holds the same flat names as here.
Nothing else in the project reads the environment for its configuration.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from broker.contracts.base import Token, describe
from broker.errors import SettingsError
from broker.subjects import Role

PREFIX = "TRIAGE_"
DEFAULT_HOME = Path("~/.local/state/agentic-triage")
DEFAULT_NATS_URL = "nats://127.0.0.1:17400"

Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]
BrokerUrl = Annotated[str, StringConstraints(pattern=r"^(nats|tls)://[^\s]+$")]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """What a role needs to know to start. Use `load_settings`, which speaks of faults in one sentence."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    home: Path = DEFAULT_HOME
    """Directory of the embedded stack."""
    role: Role = "reader"
    instance: Token = ""
    """Name of this process, unique in the stack; `<role>-1` unless given."""
    nats_url: BrokerUrl = DEFAULT_NATS_URL
    keys_file: Path = Path()
    """This role's key file; `<home>/keys/<role>.keys` unless given."""
    passphrase_file: Path = Path()
    """File whose first line opens the key file; `<home>/passphrase` unless given."""
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """TCP port of /metrics and /healthz; 0 takes a free one, None opens none."""
    metrics_host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]+$")] = "127.0.0.1"
    """Address that /metrics and /healthz listen on; in a container 0.0.0.0."""
    inventory_file: Path = Path()
    """`<home>/inventory.json` unless given."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    platform: Literal["embedded", "docker"] = "embedded"
    """Which world the agents work on: processes under `home`, or containers behind the platform proxy."""
    platform_url: Url | None = None
    """Address of the platform proxy (docker)."""
    platform_token_file: Path | None = None
    """File whose first line is this role's token for the platform proxy."""
    prometheus_url: Url | None = None
    """Where the MetricAgent asks for history; None: it knows only the journal's telemetry."""

    audit_dsn: str | None = Field(default=None, repr=False)
    """PostgreSQL connection string of the audit store. May hold a password: never shown."""
    audit_dsn_file: Path | None = None
    """File whose first line is `audit_dsn`, where that is not given itself."""

    runbooks_dir: Path = Path()
    """Folder of the users' own runbooks; `<home>/runbooks` unless given."""
    runbooks_dsn: str | None = Field(default=None, repr=False)
    """PostgreSQL connection string of the runbooks' database; None: runbooks are searched in memory. Never shown."""
    runbooks_dsn_file: Path | None = None
    """File whose first line is `runbooks_dsn`, where that is not given itself."""
    embedding_url: Url | None = None
    """OpenAI-compatible endpoint that makes vectors for the search of runbooks; None tries `model_url`, and takes only
    a model whose name says that it embeds."""
    embedding_model: str | None = None
    """None takes the first model whose name says that it embeds, else, at an `embedding_url`, the first of all."""
    embedding_timeout_s: Seconds = 10.0
    embedding_key_file: Path | None = None
    """File whose first line is the key of the endpoint for vectors; None: `model_url`'s own, if that is asked."""

    rulebook_dir: Path = Path()
    """Folder of the users' own rules, remedies and error classes (docs/rulebook.md); `<home>/rulebook` unless given."""

    model_url: Url = "http://localhost:1234/v1"
    """OpenAI-compatible endpoint of the planner's model."""
    model_name: str | None = None
    """None takes the model that the endpoint has loaded."""
    model_timeout_s: Seconds = 30.0
    """For one question and everything it takes, the search for the model and waiting for its load included."""
    model_max_tokens: Annotated[int, Field(ge=16, le=32_768)] = 200
    """Longest answer to the closed question; a model that reasons aloud needs more than the 25 of the answer itself."""
    model_plan_max_tokens: Annotated[int, Field(ge=64, le=32_768)] = 900
    """Longest answer that is a whole plan."""
    model_temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 0.0
    model_seed: int = 42
    model_warm: bool = True
    """Have the model loaded and the constant part of the prompt read once at start, before the first incident."""
    model_key_file: Path | None = None
    """File whose first line is the endpoint's key, where it wants one."""
    planner_mode: Literal["auto", "hypothesis", "full", "rulebook"] = "auto"
    """hypothesis asks the model what is broken and compiles the plan; auto is another name for it. full lets the model
    write the plan. Both fall back on the rulebook; rulebook never asks a model."""

    auto_approve: Literal["safe", "agreed", "risky"] = "risky"
    """Highest risk that is carried out without a person's approval; agreed lets risky actions go where rulebook and
    model, each for itself, want them. What acts in a plan that code had to mend always waits for a person."""
    dashboard_host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]+$")] = "127.0.0.1"
    """Address that the dashboard listens on; any but loopback needs `dashboard_token_file`."""
    dashboard_port: Annotated[int, Field(ge=0, le=65_535)] = 17_480
    """TCP port of the dashboard; 0 takes a free one."""
    dashboard_token_file: Path | None = None
    """File, private to its owner, whose first line everybody must show who asks the dashboard anything."""

    question_timeout_s: Annotated[float, Field(gt=0, le=3_600, allow_inf_nan=False)] = 120.0
    """How long an incident waits for the operator's answer to a clarifying question before the rulebook goes on."""
    approval_timeout_s: Annotated[float, Field(gt=0, le=3_600, allow_inf_nan=False)] = 300.0
    """How long a task waits for a person's approval; then it counts as not approved, and another plan is asked for."""
    max_questions: Annotated[int, Field(ge=0, le=3)] = 2
    """Clarifying questions that one incident may ask; 0 takes no plan that asks."""
    report_grace_s: Seconds = 5.0
    """How long the monitor leaves people to report what it sees before it opens an incident itself, seconds."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: dict[str, Any]) -> dict[str, Any]:
        home = Path(values.get("home", DEFAULT_HOME)).expanduser().absolute()
        role = values.get("role", "reader")
        defaults: dict[str, Any] = {
            "instance": f"{role}-1",
            "keys_file": home / "keys" / f"{role}.keys",
            "passphrase_file": home / "passphrase",
            "inventory_file": home / "inventory.json",
            "runbooks_dir": home / "runbooks",
            "rulebook_dir": home / "rulebook",
        }
        return defaults | values | {"home": home}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        given = init_settings()
        home = given.get("home") or os.environ.get(f"{PREFIX}HOME") or DEFAULT_HOME
        file = os.environ.get(f"{PREFIX}CONFIG") or Path(home) / "triage.toml"
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(file).expanduser())


def audit_dsn(settings: Settings) -> str:
    """Return the connection string of the audit store: `audit_dsn`, else the first line of `audit_dsn_file`.

    Raises:
        SettingsError: neither is set, or the file cannot be read or is empty. The text never holds the string.
    """
    if settings.audit_dsn:
        return settings.audit_dsn
    if settings.audit_dsn_file is None:
        raise SettingsError("audit_dsn is not set; the audit needs a PostgreSQL database (TRIAGE_AUDIT_DSN or _FILE)")
    return first_line(settings.audit_dsn_file, "the audit store's connection string")


def first_line(path: Path, what: str) -> str:
    """Return the first line of a file that holds a secret.

    Args:
        what: what the file holds, for the sentence of a failure.

    Raises:
        SettingsError: it cannot be read, is no text or its first line is empty.
    """
    try:
        line = path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except OSError as error:
        raise SettingsError(f"{path}, which holds {what}, cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}, which holds {what}, is no text; write it again") from error
    if not line:
        raise SettingsError(f"{path}, which holds {what}, is empty; write it again")
    return line


def load_settings(**overrides: Any) -> Settings:
    """Return the settings; `overrides` (None: not given) beat environment and file.

    Raises:
        SettingsError: an unknown key (naming the nearest known one), a value out of its bounds, a file that is missing
            or is no TOML. One sentence.
    """
    _refuse_misspelt_environment()
    named = os.environ.get(f"{PREFIX}CONFIG")
    if named and not Path(named).expanduser().is_file():
        raise SettingsError(f"{PREFIX}CONFIG names {named}, which is no file; unset it or write the file")
    try:
        return Settings(**{key: value for key, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{named or 'triage.toml'} is not TOML: {error}; mend it or move it away") from error
    except OSError as error:
        raise SettingsError(f"{error.filename} cannot be read: {error.strerror}") from error


def _sentence(error: ValidationError) -> str:
    unknown = [str(fault["loc"][0]) for fault in error.errors() if fault["type"] == "extra_forbidden"]
    if unknown:
        return f"unknown setting {unknown[0]!r}{_nearest(unknown[0])}"
    return f"bad setting {describe(error)}"


def _nearest(name: str, cutoff: float = 0.0) -> str:
    close = difflib.get_close_matches(name.lower(), Settings.model_fields, n=1, cutoff=cutoff)
    return f"; did you mean {close[0]!r}?" if close else ""


NO_SETTINGS = frozenset(
    {
        "TRIAGE_PORT_BASE",
        "TRIAGE_PROMETHEUS_PORT",
        "TRIAGE_GRAFANA_PORT",
        "TRIAGE_NATS_MONITORING_PORT",
        "TRIAGE_NUI_PORT",
        "TRIAGE_LLM_CACHE",
    }
)
"""Variables of the command line and of the compose file, which are close to settings by their names only."""


def _refuse_misspelt_environment() -> None:
    """Other tools may own names under our prefix, so only a near miss is a fault."""
    for variable in os.environ.keys() - NO_SETTINGS:
        name = variable.removeprefix(PREFIX).lower()
        if variable.startswith(PREFIX) and name not in Settings.model_fields and (near := _nearest(name, 0.8)):
            raise SettingsError(f"unknown environment variable {variable}{near} Settings are {PREFIX}<NAME>")
