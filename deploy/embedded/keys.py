"""The stack's key files: one master, one file for each role, and their rotation in two passes.

1. Every file holds the new version, and everybody signs with the old one still.
2. Only once the last file of the first pass is written: every file names the new version as the one to sign with.

So whenever a message under the new version can exist, it stands in every role's file. A crash anywhere leaves one of
these states or a mixture of two neighbours, in which everybody understands everybody; rotating again goes on from there
(`broker.keyring.begin_rotation`), and so does the next `up`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

from broker.errors import KeyringError
from broker.keyring import Keyring, begin_rotation, create_master, derive_role_file, finish_rotation, load
from broker.subjects import ROLES, Role
from deploy.embedded.layout import Layout
from services.platform.embedded.locks import try_lock


def ensure_master(layout: Layout, passphrase: str) -> Keyring:
    """Return the master ring; make it the first time.

    Raises:
        KeyringError: wrong passphrase, damaged file.
    """
    if layout.master_keys.exists():
        return load(layout.master_keys, passphrase)
    return create_master(layout.master_keys, passphrase)


async def ensure_role_files(layout: Layout, master: Keyring, passphrase: str) -> None:
    """Write the key files that are missing or hold other keys than the master has for that role.

    Side by side, for opening or sealing one costs some 80 ms of scrypt. When this returns, every file is on disk.

    Raises:
        KeyringError: a file cannot be written, or is there and cannot be opened: what nobody can read is not replaced.
    """

    def ensure(role: Role) -> None:
        path = layout.role_keys(role)
        if not path.exists() or load(path, passphrase) != master.restricted_to(role):
            derive_role_file(master, role, path, passphrase)

    await asyncio.gather(*(asyncio.to_thread(ensure, role) for role in ROLES))


async def _write_role_files(layout: Layout, master: Keyring, passphrase: str) -> None:
    """Write every role's file. Opening them first would double the time of a pass, and they differ anyway."""
    await asyncio.gather(
        *(asyncio.to_thread(derive_role_file, master, role, layout.role_keys(role), passphrase) for role in ROLES)
    )


async def begin(layout: Layout, passphrase: str, *, force: bool = False) -> Keyring:
    """Do the first pass; return the master's ring. When this returns, every role's file holds the new version.

    Raises:
        KeyringError: see `begin_rotation`, or a file cannot be written; nobody signs with the new version then.
    """
    master = await asyncio.to_thread(begin_rotation, layout.master_keys, passphrase, force=force)
    await _write_role_files(layout, master, passphrase)
    return master


async def finish(layout: Layout, passphrase: str) -> Keyring:
    """Do the second pass, after `begin`; return the master's ring.

    Raises:
        KeyringError: see `finish_rotation`, or a file cannot be written; some may sign with the new version then, and
            all understand it.
    """
    master = await asyncio.to_thread(finish_rotation, layout.master_keys, passphrase)
    await _write_role_files(layout, master, passphrase)
    return master


@contextmanager
def changing_keys(layout: Layout) -> Iterator[None]:
    """Be the only one who changes the keys: not beside another rotation, nor beside `up`, which writes role files too.

    Raises:
        KeyringError: another one is doing so.
    """
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not try_lock(descriptor):
            raise KeyringError(
                f"the stack under {layout.root} is going up or down, or its keys are being rotated; try again then"
            )
        yield
    finally:
        os.close(descriptor)
