"""The embedded stack's key files: where they lie, and who may change them (`deploy/keyfiles.py` says how)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from broker.errors import KeyringError
from broker.keyring import Keyring
from broker.runtime.locks import try_lock
from broker.subjects import ROLES
from deploy import keyfiles
from deploy.embedded.layout import Layout
from deploy.keyfiles import RoleFile


def role_files(layout: Layout, passphrase: str) -> tuple[RoleFile, ...]:
    """Return where each role's key file lies; one passphrase opens them all."""
    return tuple(RoleFile(role, layout.role_keys(role), passphrase) for role in ROLES)


async def ensure_role_files(layout: Layout, master: Keyring, passphrase: str) -> None:
    """Bring every role's file to what the master says; see `keyfiles.ensure_role_files`."""
    await keyfiles.ensure_role_files(master, role_files(layout, passphrase))


async def begin(layout: Layout, passphrase: str, *, force: bool = False) -> Keyring:
    """Do the first pass of a rotation; see `keyfiles.begin`."""
    return await keyfiles.begin(layout.master_keys, passphrase, role_files(layout, passphrase), force=force)


async def finish(layout: Layout, passphrase: str) -> Keyring:
    """Do the second pass of a rotation; see `keyfiles.finish`."""
    return await keyfiles.finish(layout.master_keys, passphrase, role_files(layout, passphrase))


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
