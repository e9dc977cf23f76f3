"""Which secret goes into which volume: the walls of the compose stack, as data.

A container sees a volume only if the compose file mounts it, so what a role may know is what stands in its volumes.
Every path is relative to the folder where `setup` has all volumes mounted, `<root>/<volume>/...`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from broker.subjects import ROLES, Role

UID = 10_001
ROOT = "/volumes"

RUNNING: tuple[Role, ...] = tuple(role for role in ROLES if role not in ("operator", "reader"))
"""Roles that run as containers; a person's keys (`operator`) lie in the volume `operator`."""
CLIENTS = ("log", "action", "injector", "sensors")
"""Who may speak to the platform proxy; each has a token of its own."""

VAULT = "vault"
OPERATOR = "operator"
TOKENS = "tokens"
PREPARE = "prepare"
NATS = "nats-config"
QUEUE = "shop-mq-config"
AUDIT_DB = "audit-db-secret"
SHOP_DB = "shop-db-secret"
SHOP_PREPARE = "shop-prepare"


def role_volume(name: str) -> str:
    """Return the volume of a role, or of the injector's own token."""
    return f"role-{name}"


def shop_volume(service: str) -> str:
    """Return the volume of a shop service's database password."""
    return f"shop-{service}-secret"


SECRET_VOLUMES: tuple[str, ...] = (
    VAULT,
    OPERATOR,
    TOKENS,
    PREPARE,
    NATS,
    QUEUE,
    AUDIT_DB,
    SHOP_DB,
    SHOP_PREPARE,
    shop_volume("catalog"),
    shop_volume("orders"),
    role_volume("injector"),
    *(role_volume(role) for role in RUNNING),
)
"""What `setup` writes into."""

DATA_VOLUMES: tuple[str, ...] = (
    "nats-data",
    "nats-2-data",
    "nats-3-data",
    "shop-mq-data",
    "inventory",
    "platform-state",
    "audit-home",
    "runbooks",
)
"""What programs of foreign images, or several containers, write into: `setup` mounts them first, so that they belong to
the user all of them run as."""

PLATFORM_WRITES: tuple[str, ...] = ("inventory", "platform-state")
"""Of these, what the platform proxy writes. It runs as another user, who may use Docker's socket, but in our group."""


def make_folders(root: Path) -> None:
    """Make a folder for each volume: a new volume takes over the owner and mode of what it is mounted on."""
    for name in (*SECRET_VOLUMES, *DATA_VOLUMES):
        folder = root / name
        folder.mkdir(parents=True)
        folder.chmod(0o770 if name in PLATFORM_WRITES else 0o750)


if __name__ == "__main__":
    make_folders(Path(sys.argv[1]))
