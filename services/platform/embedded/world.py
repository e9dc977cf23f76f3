"""The declared world of one stack on disk: what each workload is meant to be. Drift is a difference from here."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from broker.contracts.base import Frozen, Token
from broker.contracts.inventory import Probe
from broker.errors import SchemaError
from services.inventory.declared import Consumer, Grant, Index, Messages
from services.platform.port import PlatformDownError, UnknownWorkloadError


class Program(Frozen):
    """One workload as it should be."""

    name: Token
    command: tuple[str, ...]
    """What the process manager executes."""
    becomes: tuple[str, ...] = ()
    """The command line the process shows once a launcher has replaced itself; empty if it is `command`."""
    environment: dict[str, str]
    """On top of the world's base environment."""
    secrets: tuple[str, ...] = ()
    """Names of variables whose values are never shown."""
    managed: bool
    probe: Probe
    host: str
    port: int
    admin: str = ""
    """Connection string of a database's administrator; empty for what is no database."""
    settings: dict[str, str] = Field(default_factory=dict)
    """Settings that a running server can be asked for, and must have."""
    grants: tuple[Grant, ...] = ()
    """What the database's roles must be allowed."""
    indexes: tuple[Index, ...] = ()
    """What the database must find quickly."""
    messages: tuple[Messages, ...] = ()
    """What a queue carries for whom, and must be readable."""
    consumers: tuple[Consumer, ...] = ()
    """Whom a queue serves, and how."""

    def may_run_as(self) -> tuple[tuple[str, ...], ...]:
        """Return the command lines that are no drift."""
        return (self.command, self.becomes) if self.becomes else (self.command,)


class Link(Frozen):
    """One way of traffic: what `source` sends to `destination` passes `port` and goes on to `target_port`."""

    source: Token
    destination: Token
    port: int
    target_port: int

    @property
    def name(self) -> str:
        return f"{self.source}--{self.destination}"


class World(Frozen):
    """All workloads in the order of declaration, and the links between them."""

    base_environment: dict[str, str]
    """What every process of the stack inherits."""
    programs: tuple[Program, ...]
    links: tuple[Link, ...] = ()
    links_port: int = 0
    """Port of the link proxy's admin API."""

    def program(self, name: str) -> Program:
        """Return the workload of that name.

        Raises:
            UnknownWorkloadError: there is none.
        """
        found = next((program for program in self.programs if program.name == name), None)
        if found is None:
            known = ", ".join(program.name for program in self.programs)
            raise UnknownWorkloadError(f"no workload is called {name[:80]!r}; there are {known}")
        return found

    def links_of(self, name: str) -> tuple[Link, ...]:
        """Return the links that start or end at a workload."""
        return tuple(link for link in self.links if name in (link.source, link.destination))

    def save(self, path: Path) -> None:
        """Write the declaration; only the owner may read it, for it holds the workloads' secrets."""
        draft = path.with_name(f"{path.name}.new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(self.encode())
        draft.replace(path)


def load_world(path: Path) -> World:
    """Read a declaration.

    Raises:
        PlatformDownError: there is none, or it cannot be read.
    """
    try:
        return World.decode(path.read_bytes())
    except OSError as error:
        raise PlatformDownError(f"no stack has been brought up under {path.parent} ({error.strerror})") from error
    except SchemaError as error:
        raise PlatformDownError(f"{path} is damaged ({error}); run `triage down` and `triage up`") from error
