"""The declaration of the shop: which workloads exist, how each is started, with which environment, on whom it depends.

This is what "as it should be" means: drift is a difference from here, reconcile goes back to here. Secrets
are drawn when a stack is created and handed in.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from broker.contracts.inventory import Device, DeviceKind, Inventory, Objective, Probe
from services.inventory.ports import port

HOST = "127.0.0.1"


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


def _service(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"services.shop.{name}")


def declare(base: int, secrets: Mapping[str, str]) -> tuple[Declared, ...]:
    """Return the shop's workloads for the stack whose first port is `base`.

    Args:
        secrets: `orders_db_password`, `catalog_db_password`.
    """

    def at(name: str) -> str:
        return f"http://{HOST}:{port(base, name)}"

    def own(name: str) -> dict[str, str]:
        return {"SHOP_SERVICE": name, "SHOP_HOST": HOST, "SHOP_PORT": str(port(base, name)), "SHOP_SCOPE": name}

    return (
        Declared("shop-db", "database", "postgres", True, (), (), {}),
        Declared("shop-cache", "cache", "valkey", True, (), (), {}, cache_prefix="catalog:"),
        Declared("shop-mq", "queue", "nats", True, (), (), {}),
        Declared(
            "catalog",
            "service",
            "http",
            True,
            ("shop-db", "shop-cache"),
            _service("catalog"),
            own("catalog")
            | {
                "CATALOG_DB_HOST": HOST,
                "CATALOG_DB_PORT": str(port(base, "catalog--shop-db")),
                "CATALOG_DB_USER": "catalog",
                "CATALOG_DB_NAME": "catalog",
                "CATALOG_DB_PASSWORD": secrets["catalog_db_password"],
                "CATALOG_CACHE_HOST": HOST,
                "CATALOG_CACHE_PORT": str(port(base, "catalog--shop-cache")),
            },
            ("CATALOG_DB_PASSWORD",),
        ),
        Declared(
            "orders",
            "service",
            "http",
            True,
            ("shop-db", "shop-mq"),
            _service("orders"),
            own("orders")
            | {
                "ORDERS_DB_HOST": HOST,
                "ORDERS_DB_PORT": str(port(base, "orders--shop-db")),
                "ORDERS_DB_USER": "orders",
                "ORDERS_DB_NAME": "orders",
                "ORDERS_DB_PASSWORD": secrets["orders_db_password"],
                "ORDERS_MQ_URL": f"nats://{HOST}:{port(base, 'orders--shop-mq')}",
            },
            ("ORDERS_DB_PASSWORD",),
        ),
        Declared(
            "fulfilment",
            "service",
            "http",
            True,
            ("shop-mq", "orders"),
            _service("fulfilment"),
            own("fulfilment")
            | {
                "FULFILMENT_MQ_URL": f"nats://{HOST}:{port(base, 'fulfilment--shop-mq')}",
                "FULFILMENT_ORDERS_URL": at("fulfilment--orders"),
            },
        ),
        Declared(
            "gateway",
            "service",
            "http",
            True,
            ("orders", "catalog"),
            _service("gateway"),
            own("gateway")
            | {"GATEWAY_ORDERS_URL": at("gateway--orders"), "GATEWAY_CATALOG_URL": at("gateway--catalog")},
        ),
        Declared(
            "loadgen",
            "traffic",
            "traffic",
            False,
            ("gateway",),
            _service("loadgen"),
            own("loadgen") | {"LOADGEN_TARGET": at("gateway"), "LOADGEN_RATE": "20", "LOADGEN_SEED": "1"},
        ),
    )


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
