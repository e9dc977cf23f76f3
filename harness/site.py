"""The seam between the harness and what a stack runs on: processes of this machine, or containers.

`deployment(home)` is the only place that chooses. What belongs to one platform only is imported when that platform is
chosen: a container of ours has none of the embedded servers installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from broker import keyring
from broker.contracts.inventory import Inventory
from broker.keyfile import read_passphrase
from broker.keyring import Keyring
from broker.subjects import Role
from deploy.status import StackStatus
from injector.collateral import Witness
from injector.hand import Hand
from injector.injector import Injector
from services.inventory.ports import DEFAULT_BASE

PLATFORM_VARIABLE = "TRIAGE_PLATFORM"
PROXY_VARIABLE = "TRIAGE_PLATFORM_URL"
"""Set where the platform proxy can be reached, which is inside the compose stack and nowhere else."""

PlatformName = Literal["embedded", "docker"]
Signal = Literal["KILL", "STOP"]
Progress = Callable[[str, str], None]
"""Told a program's name and what it does now."""


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a person's key files lie."""

    folder: Path
    passphrase_file: Path

    def of(self, role: Role) -> Path:
        """Return a role's key file, whether or not it is there."""
        return self.folder / f"{role}.keys"

    def passphrase(self) -> str:
        """Return what opens them.

        Raises:
            KeyringError: its file cannot be read, or is empty.
        """
        return read_passphrase(self.passphrase_file)

    def load(self, role: Role) -> Keyring:
        """Open a role's key file.

        Raises:
            KeyringError: it is not there, or the passphrase does not open it.
        """
        return keyring.load(self.of(role), self.passphrase())


@dataclass(frozen=True, slots=True)
class Site:
    """Where the doors of a running stack are."""

    inventory: Inventory
    nats_url: str
    audit_dsn: str = field(repr=False)
    """Holds a password: it is never shown."""
    keys: KeyPlace
    runbooks_dsn: str = field(repr=False)
    """Of the runbooks' database, with the operators' login, which only reads; holds a password."""
    checkpoints: Path
    """The auditor's own copy of its signed checkpoints, outside the database."""
    monitor_url: str | None = None
    """The broker's own monitoring (`http://host:port`), where it can be reached."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of `triage doctor`. `required`: without it the stack does not run."""

    name: str
    ok: bool
    detail: str
    required: bool = True


class Deployment(Protocol):
    """A stack on one platform. What cannot be done there raises a sentence."""

    home: Path

    async def up(self, *, progress: Progress, schedulers: int | None = None) -> None:
        """Start everything, with as many schedulers as declared unless told; returns when all of it is healthy."""
        ...

    async def down(self, *, wipe: bool = False) -> None: ...

    def is_up(self) -> bool:
        """Tell, without asking any program, whether a stack was brought up and not taken down."""
        ...

    def site(self) -> Site:
        """Return the doors.

        Raises:
            StackDownError: no stack is up.
        """
        ...

    def keys(self) -> KeyPlace:
        """Return where the operator's keys lie; no stack need be up."""
        ...

    async def status(self) -> StackStatus: ...

    async def kill(self, name: str, signal: Signal = "KILL") -> None:
        """Signal one program. A killed role comes back by itself, a stopped one hangs until it is killed."""
        ...

    def injector(self) -> Injector:
        """Return the injector of this stack.

        Raises:
            StackDownError: no stack is up.
        """
        ...

    def witness(self) -> Witness: ...

    def hand(self) -> Hand:
        """Return what changes this stack without a plan: what the cheats of `triage scenario validate` act with.

        Raises:
            StackDownError: no stack is up.
        """
        ...

    def ring(self) -> Keyring:
        """Return a keyring that knows the versions of all channels.

        Raises:
            StackDownError: there are no keys. KeyringError: the passphrase does not open them.
        """
        ...

    def changing_keys(self) -> AbstractContextManager[None]:
        """Be the only one who changes the keys of this stack.

        Raises:
            KeyringError: another one is doing so.
        """
        ...

    async def begin_rotation(self, *, force: bool = False) -> Keyring:
        """Do the first pass of a rotation (`deploy/keyfiles.py`); return the ring. Roles are told by whoever calls.

        Raises:
            KeyringError: the oldest version is too young to be dropped, or a file cannot be written.
        """
        ...

    async def finish_rotation(self) -> Keyring:
        """Do the second pass; return the ring."""
        ...

    def installed(self) -> list[Finding]:
        """Return what this platform needs and whether it is there."""
        ...

    async def running(self) -> list[Finding]:
        """Return how its programs are; without a stack, whether one could be started."""
        ...


def platform() -> PlatformName:
    """Return the chosen platform: `--platform` (which sets TRIAGE_PLATFORM), else embedded."""
    return "docker" if os.environ.get(PLATFORM_VARIABLE) == "docker" else "embedded"


def inside() -> bool:
    """Tell whether this process runs inside the compose stack."""
    return platform() == "docker" and bool(os.environ.get(PROXY_VARIABLE))


def outside() -> bool:
    """Tell whether this process stands on the host of a compose stack, whose doors it cannot reach itself."""
    return platform() == "docker" and not inside()


def deployment(home: Path, port_base: int = DEFAULT_BASE) -> Deployment:
    """Return the stack under `home` (embedded), around us (in a container), or of the compose project (on its host)."""
    if platform() == "embedded":
        from harness.embedded import Embedded

        return Embedded(home, port_base)
    if inside():
        from harness.containers import Containers

        return Containers(home)
    from harness.compose.host import ComposeHost

    return ComposeHost(home)


def open_site(home: Path) -> Site:
    """Return the doors of the stack under `home`.

    Raises:
        StackDownError: no stack is up there.
    """
    return deployment(home).site()


def is_up(home: Path) -> bool:
    """Tell whether a stack was brought up under `home` and not taken down."""
    return deployment(home).is_up()
