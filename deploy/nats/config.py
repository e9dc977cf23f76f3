"""Configuration files of NATS servers, generated. The broker's: accounts, users and their walls, limits, heartbeat.

Two accounts: SYS, the broker's own, and APP, everything of ours. SYS exports who comes and goes in APP, which the
journal's machines live on (docs/adr/0001).
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from broker.subjects import ADMIN_USER, BROKER_USERS, PING_INTERVAL_S, PING_MAX, ROLES, SYSTEM_USER
from deploy.nats.permissions import Permissions, permissions_of
from deploy.vault import write_private

SYSTEM_ACCOUNT: Final = "SYS"
ACCOUNT: Final = "APP"
MAX_PAYLOAD: Final = 8 * 1024 * 1024
"""Bytes; snapshots of a machine need it. The journal itself takes no message beyond an envelope's limit."""
MAX_CONNECTIONS: Final = 512
_EVENTS: Final = {"CONNECT": "sysev.connect", "DISCONNECT": "sysev.disconnect"}


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes that keep the journal together."""

    nodes: tuple[str, ...]
    """Their host names."""
    password: str = field(repr=False)
    """What a node shows the others: without it anybody in the network could pose as one and read everything."""
    port: int = 6222

    def settings(self) -> dict[str, Any]:
        """Return the configuration's section. The password is hexadecimal: it stands in addresses."""
        return {
            "name": "triage",
            "host": "0.0.0.0",  # noqa: S104 - only containers have clusters; their networks are the wall
            "port": self.port,
            "authorization": {"user": "node", "password": self.password, "timeout": 2},
            "routes": [f"nats-route://node:{self.password}@{node}:{self.port}" for node in self.nodes],
        }


def server_config(
    *,
    port: int,
    monitoring_port: int,
    store_dir: Path,
    passwords: Mapping[str, str],
    host: str = "127.0.0.1",
    monitoring_host: str = "127.0.0.1",
    server_name: str = "triage",
    max_store_bytes: int | None = None,
    cluster: Cluster | None = None,
) -> str:
    """Return the text of a nats-server configuration.

    Args:
        port, monitoring_port: where it listens, on `host` and on `monitoring_host`. Monitoring asks nobody for a
            password, so it stays on 127.0.0.1 unless the network around it is walled.
        store_dir: where the journal lives.
        passwords: one for each of `subjects.BROKER_USERS` (`Keyring.broker_password`).
        max_store_bytes: most the journal may take on disk; no limit but the disk's unless given.
        server_name: unique in a cluster.
        cluster: the nodes it keeps the journal with; alone unless given.

    Raises:
        ValueError: a user has no password.
    """
    missing = [user for user in BROKER_USERS if not passwords.get(user)]
    if missing:
        raise ValueError(f"no broker password for {', '.join(missing)}")
    settings: dict[str, Any] = {
        "server_name": server_name,
        "host": host,
        "port": port,
        "http": f"{monitoring_host}:{monitoring_port}",
        "max_payload": MAX_PAYLOAD,
        "max_connections": MAX_CONNECTIONS,
        # The spec's heartbeat: a client that does not answer is gone after 5.0 to 5.2 s.
        "ping_interval": f"{PING_INTERVAL_S:g}s",
        "ping_max": PING_MAX,
        "write_deadline": "5s",
        "jetstream": _storage(store_dir, max_store_bytes),
        "system_account": SYSTEM_ACCOUNT,
        "accounts": {SYSTEM_ACCOUNT: _system_account(passwords), ACCOUNT: _application_account(passwords)},
        **({"cluster": cluster.settings()} if cluster is not None else {}),
    }
    return "".join(f"{name}: {json.dumps(value, indent=2)}\n" for name, value in settings.items())


def queue_config(*, port: int, monitoring_port: int, store: Path, host: str = "127.0.0.1") -> str:
    """Return the configuration of the shop's own queue: no accounts, apart from the control plane's broker.

    Args:
        port, monitoring_port: where it listens on `host`.
    """
    settings = {
        "server_name": "shop-mq",
        "host": host,
        "port": port,
        "http": f"{host}:{monitoring_port}",
        "logtime_utc": True,
        "ping_interval": f"{PING_INTERVAL_S:g}s",
        "ping_max": PING_MAX,
        "jetstream": {"store_dir": str(store), "max_file_store": 1024**3, "max_memory_store": 64 * 1024**2},
    }
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in settings.items())


def write_config(path: Path, text: str) -> None:
    """Write a configuration, atomically and readable by its owner only: it holds the users' passwords."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, text.encode())


def server_binary() -> Path:
    """Return the nats-server that came with the packages.

    Raises:
        FileNotFoundError: it is not installed.
    """
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError("nats-server is not installed; install the packages of requirements.lock")
    return Path(found)


def _storage(store_dir: Path, max_store_bytes: int | None) -> dict[str, Any]:
    # One second of fsync distance: what a power cut may take; a killed process takes nothing (facts: 15 of 15 rounds).
    storage: dict[str, Any] = {"store_dir": str(store_dir), "sync_interval": "1s", "max_memory_store": 64 * 1024 * 1024}
    if max_store_bytes is not None:
        storage["max_file_store"] = max_store_bytes
    return storage


def _system_account(passwords: Mapping[str, str]) -> dict[str, Any]:
    return {
        "users": [{"user": SYSTEM_USER, "password": passwords[SYSTEM_USER]}],
        "exports": [{"stream": f"$SYS.ACCOUNT.*.{event}", "accounts": [ACCOUNT]} for event in _EVENTS],
    }


def _application_account(passwords: Mapping[str, str]) -> dict[str, Any]:
    admin = {"user": ADMIN_USER, "password": passwords[ADMIN_USER]}
    roles = [
        {"user": role, "password": passwords[role], "permissions": _as_config(permissions_of(role))} for role in ROLES
    ]
    return {
        "jetstream": "enabled",
        "users": [admin, *roles],
        "imports": [
            {"stream": {"account": SYSTEM_ACCOUNT, "subject": f"$SYS.ACCOUNT.{ACCOUNT}.{event}"}, "to": subject}
            for event, subject in _EVENTS.items()
        ],
    }


def _as_config(permissions: Permissions) -> dict[str, Any]:
    publish: dict[str, Any] = {"allow": list(permissions.publish)}
    if permissions.publish_denied:
        publish["deny"] = list(permissions.publish_denied)
    return {"publish": publish, "subscribe": {"allow": list(permissions.subscribe)}}
