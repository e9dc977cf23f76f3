"""Secrets of one stack: drawn once when its home is made, kept in files only the owner may read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from pydantic import Field

from broker.contracts.base import Frozen
from broker.errors import KeyringError, SchemaError
from broker.keyfile import read_passphrase
from deploy.errors import HomeError

_BYTES = 24


def _drawn() -> str:
    return secrets.token_hex(_BYTES)


class Secrets(Frozen):
    """Passwords of the databases."""

    audit_admin_password: str
    audit_db_password: str
    shop_admin_password: str
    orders_db_password: str
    catalog_db_password: str
    audit_operator_password: str = Field(default_factory=_drawn)
    """Stacks of before it have none: operators logged in as the auditor."""
    runbooks_db_password: str = Field(default_factory=_drawn)
    """Stacks of before it have none: there was no runbooks' database."""


def ensure_secrets(path: Path) -> Secrets:
    """Return the stack's secrets; draw and write what is missing. For whoever brings the stack up, one at a time.

    Raises:
        HomeError: the file is there and cannot be read.
    """
    if not path.exists():
        found = Secrets(**{name: _drawn() for name in Secrets.model_fields})
    else:
        found = read_secrets(path)
        new = set(Secrets.model_fields) - found.model_fields_set
        if not new:
            return found
        if "audit_operator_password" in new:  # what operators knew until now is the auditor's alone from now on
            found = found.model_copy(update={"audit_db_password": _drawn()})
    write_private(path, found.encode())
    return found


def read_secrets(path: Path) -> Secrets:
    """Return the stack's secrets; what it was brought up without opens nothing there.

    Raises:
        HomeError: the file cannot be read.
    """
    try:
        return Secrets.decode(path.read_bytes())
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
