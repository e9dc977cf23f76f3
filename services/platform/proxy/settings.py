"""Settings of the platform proxy: it is no role of the control plane, so it has its own few."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from broker.contracts.base import describe
from broker.errors import SettingsError


class ProxySettings(BaseSettings):
    """Read from the environment, names `TRIAGE_<NAME>`; what else lies there is another program's."""

    model_config = SettingsConfigDict(env_prefix="TRIAGE_", env_ignore_empty=True, frozen=True, extra="ignore")

    compose_project: str = ""
    """The compose project to look after; empty: the one that this process's own container belongs to."""
    tool_image: str = "agentic-triage/tool:dev"
    tokens_dir: Path = Path("/run/triage/tokens")
    """Holds `<client>.token` for each client."""
    store_dir: Path = Path("/var/lib/triage/platform")
    """Ledger, declarations, notes: what must outlive the process."""
    inventory_file: Path = Path("/run/triage/inventory/inventory.json")
    """Where the inventory is written, for everybody to read."""
    proxy_host: str = "0.0.0.0"  # noqa: S104 - in a container, on an internal network
    proxy_port: Annotated[int, Field(ge=0, le=65_535)] = 7000
    log_level: Literal["debug", "info", "warning", "error"] = "info"


def load_proxy_settings() -> ProxySettings:
    """Return the settings.

    Raises:
        SettingsError: a value is out of its bounds. One sentence.
    """
    try:
        return ProxySettings()
    except ValidationError as error:
        raise SettingsError(f"bad setting {describe(error)}") from error
