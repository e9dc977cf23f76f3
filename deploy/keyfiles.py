"""A stack's key files: one master, one file for each role with only what that role needs; their rotation in two passes.

1. Every file holds the new version, and everybody signs with the old one still.
2. Only once the last file of the first pass is written: every file names the new version as the one to sign with.

So whenever a message under the new version can exist, it stands in every role's file. A crash anywhere leaves one of
these states or a mixture of two neighbours, in which everybody understands everybody; rotating again goes on from there
(`broker.keyring.begin_rotation`), and so does the next start of the stack.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from broker.keyring import Keyring, begin_rotation, create_master, derive_role_file, finish_rotation, load
from broker.subjects import Role


@dataclass(frozen=True, slots=True)
class RoleFile:
    """One role's key file: where it lies and what opens it."""

    role: Role
    path: Path
    passphrase: str = field(repr=False)


def ensure_master(path: Path, passphrase: str) -> Keyring:
    """Return the master ring; make it the first time.

    Raises:
        KeyringError: wrong passphrase, damaged file.
    """
    if path.exists():
        return load(path, passphrase)
    return create_master(path, passphrase)


async def ensure_role_files(master: Keyring, files: Iterable[RoleFile]) -> None:
    """Write the key files that are missing or hold other keys than the master has for that role.

    Side by side, for opening or sealing one costs some 80 ms of scrypt. When this returns, every file is on disk.

    Raises:
        KeyringError: a file cannot be written, or is there and cannot be opened: what nobody can read is not replaced.
    """

    def ensure(file: RoleFile) -> None:
        if not file.path.exists() or load(file.path, file.passphrase) != master.restricted_to(file.role):
            derive_role_file(master, file.role, file.path, file.passphrase)

    await asyncio.gather(*(asyncio.to_thread(ensure, file) for file in files))


async def begin(master_file: Path, passphrase: str, files: Sequence[RoleFile], *, force: bool = False) -> Keyring:
    """Do the first pass; return the master's ring. When this returns, every role's file holds the new version.

    Raises:
        KeyringError: see `begin_rotation`, or a file cannot be written; nobody signs with the new version then.
    """
    master = await asyncio.to_thread(begin_rotation, master_file, passphrase, force=force)
    await _write_role_files(master, files)
    return master


async def finish(master_file: Path, passphrase: str, files: Sequence[RoleFile]) -> Keyring:
    """Do the second pass, after `begin`; return the master's ring.

    Raises:
        KeyringError: see `finish_rotation`, or a file cannot be written; some may sign with the new version then, and
            all understand it.
    """
    master = await asyncio.to_thread(finish_rotation, master_file, passphrase)
    await _write_role_files(master, files)
    return master


async def _write_role_files(master: Keyring, files: Iterable[RoleFile]) -> None:
    """Write every role's file. Opening them first would double the time of a pass, and they differ anyway."""
    await asyncio.gather(
        *(asyncio.to_thread(derive_role_file, master, file.role, file.path, file.passphrase) for file in files)
    )
