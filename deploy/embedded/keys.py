"""The stack's key files: one master, one file for each role."""

from __future__ import annotations

import asyncio

from broker.keyring import Keyring, create_master, derive_role_file, load
from broker.subjects import ROLES, Role
from deploy.embedded.layout import Layout


def ensure_master(layout: Layout, passphrase: str) -> Keyring:
    """Return the master ring; make it the first time.

    Raises:
        KeyringError: wrong passphrase, damaged file.
    """
    if layout.master_keys.exists():
        return load(layout.master_keys, passphrase)
    return create_master(layout.master_keys, passphrase)


async def ensure_role_files(layout: Layout, master: Keyring, passphrase: str) -> None:
    """Write the key files that are missing, side by side: sealing one costs some 80 ms of scrypt.

    Raises:
        KeyringError: a file cannot be written.
    """
    missing: list[Role] = [role for role in ROLES if not layout.role_keys(role).exists()]
    await asyncio.gather(
        *(asyncio.to_thread(derive_role_file, master, role, layout.role_keys(role), passphrase) for role in missing)
    )
