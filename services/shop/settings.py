"""What each service is told by its environment: one frozen value per service, read once at start.

The variables are those of `services.inventory.declared`; nothing else in the shop reads the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from services.shop.errors import SettingsError

BUDGET_MS = 1_000
"""Less than what callers wait (services/shop/calls.py), so that they hear why."""
ANSWER_MS = 1_400
"""What one service waits for another at most: less than the users' patience (1.5 s)."""
PAUSE_MS = 50
MAX_ATTEMPTS = 100


class Environment:
    """Typed reading of environment variables; every fault is one sentence that names the variable."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str) -> str:
        """Return a variable that must be there and not be empty.

        Raises:
            SettingsError: it is missing or empty.
        """
        value = self._variables.get(name, "")
        if not value:
            raise SettingsError(f"the environment variable {name} is not set; set it and start again")
        return value

    def secret(self, name: str) -> str:
        """Return a variable that must be there, or the first line of the file that `<name>_FILE` names.

        The variable itself wins: whoever sets it means it.

        Raises:
            SettingsError: neither is set, or the file cannot be read or is empty. The text never holds the secret.
        """
        file = self._variables.get(f"{name}_FILE", "")
        if self._variables.get(name) or not file:
            return self.text(name)
        try:
            line = Path(file).read_text(encoding="utf-8").partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{name}_FILE names {file}, which cannot be read ({type(error).__name__})") from error
        if not line:
            raise SettingsError(f"{name}_FILE names {file}, which is empty; write the secret into its first line")
        return line

    def whole(self, name: str, low: int, high: int) -> int:
        """Return a whole number in `low..high`."""
        text = self.text(name)
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise SettingsError(f"{name} must be a whole number in {low}..{high}, not {text[:40]!r}")
        return int(text)

    def whole_or(self, name: str, otherwise: int, low: int, high: int) -> int:
        """Return a whole number in `low..high`; `otherwise` if the variable is not set."""
        return self.whole(name, low, high) if self._variables.get(name) else otherwise

    def flag(self, name: str) -> bool:
        """Return whether a feature is switched on; a variable that is not set means off."""
        text = self._variables.get(name) or "off"
        if text not in ("on", "off"):
            raise SettingsError(f"{name} must be on or off, not {text[:40]!r}")
        return text == "on"

    def number(self, name: str, low: float, high: float) -> float:
        """Return a number in `low..high`."""
        text = self.text(name)
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise SettingsError(f"{name} must be a number in {low:g}..{high:g}, not {text[:40]!r}")
        return value

    def url(self, name: str, scheme: str) -> str:
        """Return an address that begins with `scheme://`, without a slash at its end."""
        text = self.text(name)
        if not text.startswith(f"{scheme}://") or len(text) <= len(scheme) + 3:
            raise SettingsError(f"{name} must be an address that begins with {scheme}://, not {text[:60]!r}")
        return text.rstrip("/")


@dataclass(frozen=True, slots=True)
class Own:
    """What every service knows of itself."""

    service: str
    host: str
    port: int
    scope: str
    """Name under which the processor time of the service and all it started is summed."""

    @classmethod
    def read(cls, env: Environment) -> Self:
        return cls(
            env.text("SHOP_SERVICE"), env.text("SHOP_HOST"), env.whole("SHOP_PORT", 1, 65_535), env.text("SHOP_SCOPE")
        )


@dataclass(frozen=True, slots=True)
class DatabaseTarget:
    """How to reach a PostgreSQL database."""

    host: str
    port: int
    user: str
    name: str
    password: str = field(repr=False)
    budget_s: float = BUDGET_MS / 1_000
    """For one statement, connecting included, seconds."""

    @classmethod
    def read(cls, env: Environment, prefix: str) -> Self:
        return cls(
            env.text(f"{prefix}_DB_HOST"),
            env.whole(f"{prefix}_DB_PORT", 1, 65_535),
            env.text(f"{prefix}_DB_USER"),
            env.text(f"{prefix}_DB_NAME"),
            env.secret(f"{prefix}_DB_PASSWORD"),
            env.whole_or(f"{prefix}_DB_TIMEOUT_MS", BUDGET_MS, 1, 60_000) / 1_000,
        )


@dataclass(frozen=True, slots=True)
class CatalogSettings:
    """Settings of the catalog."""

    own: Own
    database: DatabaseTarget
    cache_host: str
    cache_port: int

    @classmethod
    def read(cls, env: Environment) -> Self:
        return cls(
            Own.read(env),
            DatabaseTarget.read(env, "CATALOG"),
            env.text("CATALOG_CACHE_HOST"),
            env.whole("CATALOG_CACHE_PORT", 1, 65_535),
        )


@dataclass(frozen=True, slots=True)
class OrdersSettings:
    """Settings of orders."""

    own: Own
    database: DatabaseTarget
    mq_url: str
    gift_notes: bool = False
    """Keep what customers write to whom they give it; needs a column that no released schema has yet."""

    @classmethod
    def read(cls, env: Environment) -> Self:
        return cls(
            Own.read(env),
            DatabaseTarget.read(env, "ORDERS"),
            env.url("ORDERS_MQ_URL", "nats"),
            env.flag("ORDERS_GIFT_NOTES"),
        )


@dataclass(frozen=True, slots=True)
class FulfilmentSettings:
    """Settings of fulfilment."""

    own: Own
    mq_url: str
    orders_url: str

    @classmethod
    def read(cls, env: Environment) -> Self:
        return cls(Own.read(env), env.url("FULFILMENT_MQ_URL", "nats"), env.url("FULFILMENT_ORDERS_URL", "http"))


@dataclass(frozen=True, slots=True)
class Reads:
    """How patiently, and how often, a neighbour is asked for what may be asked for twice. Unless told: once."""

    attempts: int = 1
    timeout_s: float = ANSWER_MS / 1_000
    """For one attempt, connecting included, seconds. What comes later is late, whoever looks when."""
    pause_s: float = PAUSE_MS / 1_000
    """Before the next attempt, at most."""

    def pause(self, draw: float) -> float:
        """Return the pause before the next attempt, seconds: half of it is drawn (0..1), so that those who failed
        together do not come back together."""
        return self.pause_s * (1 + draw) / 2

    @classmethod
    def read(cls, env: Environment, prefix: str) -> Self:
        return cls(
            env.whole_or(f"{prefix}_READ_ATTEMPTS", 1, 1, MAX_ATTEMPTS),
            env.whole_or(f"{prefix}_READ_TIMEOUT_MS", ANSWER_MS, 1, ANSWER_MS) / 1_000,
            env.whole_or(f"{prefix}_READ_PAUSE_MS", PAUSE_MS, 0, ANSWER_MS) / 1_000,
        )


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Settings of the gateway."""

    own: Own
    orders_url: str
    catalog_url: str
    reads: Reads = field(default_factory=Reads)
    """Of the catalog's products; a checkout is never sent twice."""

    @classmethod
    def read(cls, env: Environment) -> Self:
        return cls(
            Own.read(env),
            env.url("GATEWAY_ORDERS_URL", "http"),
            env.url("GATEWAY_CATALOG_URL", "http"),
            Reads.read(env, "GATEWAY"),
        )


@dataclass(frozen=True, slots=True)
class LoadgenSettings:
    """Settings of the load generator at its start; rate, noise and seed can be changed while it runs."""

    own: Own
    target: str
    rate: float
    """Requests per second."""
    seed: int

    @classmethod
    def read(cls, env: Environment) -> Self:
        return cls(
            Own.read(env),
            env.url("LOADGEN_TARGET", "http"),
            env.number("LOADGEN_RATE", 0.0, 200.0),
            env.whole("LOADGEN_SEED", 0, 2**63 - 1),
        )


@dataclass(frozen=True, slots=True)
class PrepareSettings:
    """Settings of the one-off preparation of the databases."""

    admin_dsn: str = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(cls, env: Environment) -> Self:
        return cls(
            env.secret("SHOP_ADMIN_DSN"),
            {
                "orders_db_password": env.secret("ORDERS_DB_PASSWORD"),
                "catalog_db_password": env.secret("CATALOG_DB_PASSWORD"),
            },
        )
