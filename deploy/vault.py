"""Secrets of one stack: drawn once when its home is made, kept in files only the owner may read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from broker.contracts.base import Frozen
from broker.errors import KeyringError, SchemaError
from broker.keyfile import read_passphrase
from deploy.errors import HomeError

_BYTES = 24


class Secrets(Frozen):
    """Passwords of the databases."""

    audit_admin_password: str
    audit_db_password: str
    shop_admin_password: str
    orders_db_password: str
    catalog_db_password: str


def ensure_secrets(path: Path) -> Secrets:
    """Return the stack's secrets; draw and write them the first time.

    Raises:
        HomeError: the file is there and cannot be read.
    """
    try:
        return Secrets.decode(path.read_bytes())
    except FileNotFoundError:
        drawn = Secrets(**{name: secrets.token_hex(_BYTES) for name in Secrets.model_fields})
        write_private(path, drawn.encode())
        return drawn
    except (OSError, SchemaError) as error:
        raise HomeError(f"{path} cannot be used ({error}); take the stack down with its data and start anew") from error


def ensure_passphrase(path: Path, draw: Callable[[], str] = lambda: secrets.token_urlsafe(32)) -> str:
    """Return the passphrase of the key files (`broker.keyfile.read_passphrase`); drawn and written the first time.

    Raises:
        HomeError: the file is empty or cannot be read.
    """
    if not path.exists():
        write_private(path, f"{draw()}\n".encode())
    try:
        return read_passphrase(path)
    except KeyringError as error:
        raise HomeError(str(error)) from error


def write_private(path: Path, data: bytes) -> None:
    """Write a file as a whole, mode 0600, on disk when this returns."""
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
