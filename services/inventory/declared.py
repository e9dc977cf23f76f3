"""The declaration of the shop: which workloads exist, how each is started, with which environment, on whom it depends.

This is what "as it should be" means: drift is a difference from here, reconcile goes back to here. Secrets
are drawn when a stack is created and handed in.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

from broker.contracts.base import Frozen, Token
from broker.contracts.inventory import Device, DeviceKind, Inventory, Objective, Probe
from services.inventory.ports import port
from services.shop import grants as shop
from services.shop import indexes
from services.shop.messages import ORDERS_CREATED, ORDERS_DELIVERY

HOST = "127.0.0.1"
TRAFFIC_RATE = 20.0
"""Mean rate of the users' traffic, requests per second."""
TRAFFIC_SEED = 1
CACHE_SETTINGS: Mapping[str, str] = {"maxmemory": str(64 << 20), "maxmemory-policy": "allkeys-lru", "requirepass": ""}
"""What the shop's cache runs with, as it says itself: 64 MB, the least used entry goes first, no password."""


class Grant(Frozen):
    """What a role may do with a table."""

    database: Token
    table: Token
    role: Token
    privileges: tuple[str, ...]

    @property
    def statement(self) -> str:
        """Return it as SQL; to say it again changes nothing."""
        return shop.Granted(self.database, self.table, self.role, self.privileges).statement


GRANTS = tuple(
    Grant(database=item.database, table=item.table, role=item.role, privileges=item.privileges) for item in shop.GRANTS
)
"""What the shop's services may do in its database (made by services/shop/schema.py)."""


class Index(Frozen):
    """An index that a database must have."""

    database: Token
    table: Token
    name: Token
    keys: str

    @property
    def statement(self) -> str:
        """Return it as SQL; to say it again changes nothing."""
        return indexes.Index(self.database, self.table, self.name, self.keys).statement


INDEXES = tuple(
    Index(database=item.database, table=item.table, name=item.name, keys=item.keys) for item in indexes.INDEXES
)
"""What the shop's database must find quickly (docs/adr/0030)."""


class Messages(Frozen):
    """Messages in a queue that its consumer must be able to read."""

    stream: str
    subject: str
    consumer: Token
    aside: str
    """Where a message goes that it cannot read: a subject of the same stream that nobody consumes."""


MESSAGES = (
    Messages(
        stream=ORDERS_CREATED.stream,
        subject=ORDERS_CREATED.subject,
        consumer=ORDERS_CREATED.consumer,
        aside=ORDERS_CREATED.aside,
    ),
)
"""What the shop's queue carries (docs/adr/0026)."""


class Consumer(Frozen):
    """A durable consumer of a queue: what its server gives it, and how. It is not paused."""

    stream: str
    name: Token
    subject: str
    """What it is given."""
    ack_wait_s: float
    """Given again after so long without an acknowledgement, seconds."""
    max_ack_pending: int
    """Given at once and not acknowledged, at most."""
    max_deliver: int
    """How often a message is given; -1: until it is acknowledged."""


CONSUMERS = (
    Consumer(
        stream=ORDERS_CREATED.stream,
        name=ORDERS_CREATED.consumer,
        subject=ORDERS_CREATED.subject,
        ack_wait_s=ORDERS_DELIVERY.ack_wait_s,
        max_ack_pending=ORDERS_DELIVERY.max_ack_pending,
        max_deliver=ORDERS_DELIVERY.max_deliver,
    ),
)
"""Who consumes from the shop's queue (docs/adr/0028)."""


@dataclass(frozen=True, slots=True)
class Declared:
    """One workload as it should be."""

    name: str
    kind: DeviceKind
    probe: Probe
    managed: bool
    depends_on: tuple[str, ...]
    command: tuple[str, ...]
    """Argument vector; empty for servers whose command the platform adapter knows (database, cache, queue)."""
    environment: Mapping[str, str]
    secrets: tuple[str, ...] = ()
    """Names of environment variables whose values must never be shown."""
    cache_prefix: str | None = None


class _Shop:
    """The shop's workloads, for one stack's ports and secrets."""

    def __init__(self, base: int, secrets: Mapping[str, str]) -> None:
        self._base = base
        self._secrets = secrets

    def declared(self) -> tuple[Declared, ...]:
        servers = (
            Declared("shop-db", "database", "postgres", True, (), (), {}),
            Declared("shop-cache", "cache", "valkey", True, (), (), {}, cache_prefix="catalog:"),
            Declared("shop-mq", "queue", "nats", True, (), (), {}),
        )
        return (*servers, self._catalog(), self._orders(), self._fulfilment(), self._gateway(), self._loadgen())

    def _catalog(self) -> Declared:
        environment = {
            **self._database("catalog"),
            "CATALOG_CACHE_HOST": HOST,
            "CATALOG_CACHE_PORT": self._port("catalog--shop-cache"),
        }
        return self._service("catalog", ("shop-db", "shop-cache"), environment, ("CATALOG_DB_PASSWORD",))

    def _orders(self) -> Declared:
        environment = {**self._database("orders"), "ORDERS_MQ_URL": self._url("nats", "orders--shop-mq")}
        return self._service("orders", ("shop-db", "shop-mq"), environment, ("ORDERS_DB_PASSWORD",))

    def _fulfilment(self) -> Declared:
        environment = {
            "FULFILMENT_MQ_URL": self._url("nats", "fulfilment--shop-mq"),
            "FULFILMENT_ORDERS_URL": self._url("http", "fulfilment--orders"),
        }
        return self._service("fulfilment", ("shop-mq", "orders"), environment)

    def _gateway(self) -> Declared:
        environment = {
            "GATEWAY_ORDERS_URL": self._url("http", "gateway--orders"),
            "GATEWAY_CATALOG_URL": self._url("http", "gateway--catalog"),
        }
        return self._service("gateway", ("orders", "catalog"), environment)

    def _loadgen(self) -> Declared:
        environment = {
            "LOADGEN_TARGET": self._url("http", "gateway"),
            "LOADGEN_RATE": f"{TRAFFIC_RATE:g}",
            "LOADGEN_SEED": str(TRAFFIC_SEED),
        }
        service = self._service("loadgen", ("gateway",), environment)
        return replace(service, kind="traffic", probe="traffic", managed=False)

    def _service(
        self, name: str, depends_on: tuple[str, ...], environment: Mapping[str, str], secrets: tuple[str, ...] = ()
    ) -> Declared:
        own = {"SHOP_SERVICE": name, "SHOP_HOST": HOST, "SHOP_PORT": self._port(name), "SHOP_SCOPE": name}
        command = (sys.executable, "-m", f"services.shop.{name}")
        return Declared(name, "service", "http", True, depends_on, command, {**own, **environment}, secrets)

    def _database(self, name: str) -> dict[str, str]:
        prefix = f"{name.upper()}_DB"
        return {
            f"{prefix}_HOST": HOST,
            f"{prefix}_PORT": self._port(f"{name}--shop-db"),
            f"{prefix}_USER": name,
            f"{prefix}_NAME": name,
            f"{prefix}_PASSWORD": self._secrets[f"{name}_db_password"],
        }

    def _url(self, scheme: str, name: str) -> str:
        return f"{scheme}://{HOST}:{self._port(name)}"

    def _port(self, name: str) -> str:
        return str(port(self._base, name))


def declare(base: int, secrets: Mapping[str, str]) -> tuple[Declared, ...]:
    """Return the shop's workloads for the stack whose first port is `base`.

    Args:
        secrets: `orders_db_password`, `catalog_db_password`.
    """
    return _Shop(base, secrets).declared()


def inventory(base: int, secrets: Mapping[str, str]) -> Inventory:
    """Return what the control plane may know of the shop: devices, dependencies, the objective. No secret in it."""
    return Inventory(
        devices=tuple(
            Device(
                name=item.name,
                kind=item.kind,
                managed=item.managed,
                depends_on=item.depends_on,
                probe=item.probe,
                host=HOST,
                port=port(base, item.name),
                cache_prefix=item.cache_prefix,
            )
            for item in declare(base, secrets)
        ),
        objective=Objective(),
    )
