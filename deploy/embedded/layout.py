"""Every path of a stack's home directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from broker.subjects import Role
from deploy.embedded.errors import HomeError
from services.platform.embedded.home import Home

UNFIT = frozenset("\"'%;#\\,")
"""Characters that one of the servers' configuration languages would take for its own."""
MAX_SOCKET_PATH = 107
"""Longest path of a Unix socket on Linux, bytes (`sun_path` less its final zero)."""


@dataclass(frozen=True, slots=True)
class Layout(Home):
    """The folder of one stack. What the platform adapter shares with it stands in `Home`."""

    @property
    def marker(self) -> Path:
        """Tells our home from any other folder: only a folder with it is ever wiped."""
        return self.root / ".agentic-triage"

    @property
    def lock(self) -> Path:
        """Held while a stack goes up or down."""
        return self.root / "stack.lock"

    @property
    def stack(self) -> Path:
        """What is up; removed by an orderly `down`."""
        return self.root / "stack.json"

    @property
    def passphrase(self) -> Path:
        return self.root / "passphrase"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def master_keys(self) -> Path:
        return self.keys / "master.keys"

    def role_keys(self, role: Role) -> Path:
        """Return a role's key file."""
        return self.keys / f"{role}.keys"

    @property
    def inventory(self) -> Path:
        return self.root / "inventory.json"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets.json"

    @property
    def supervisor_config(self) -> Path:
        return self.root / "supervisord.conf"

    @property
    def supervisor_log(self) -> Path:
        return self.logs / "supervisord.log"

    @property
    def faults(self) -> Path:
        """The injector's journal of open faults."""
        return self.root / "faults"

    @property
    def recordings(self) -> Path:
        return self.root / "recordings"

    @property
    def runbooks(self) -> Path:
        """Where people drop runbooks of their own."""
        return self.root / "runbooks"

    def data(self, server: str) -> Path:
        """Return where a server keeps its data and configuration: nats, audit-db, shop-db, shop-cache, shop-mq."""
        return self.root / server

    def folders(self) -> tuple[Path, ...]:
        """Return every folder that must exist before anything is written."""
        servers = (self.data(name) for name in ("nats", "shop-cache", "shop-mq"))
        return (self.root, self.run, self.logs, self.keys, self.faults, self.recordings, self.runbooks, *servers)


def layout(home: Path) -> Layout:
    """Return the layout of a home directory, absolute.

    Raises:
        HomeError: its path is too long for the Unix socket inside, or has characters that configurations cannot carry.
    """
    found = Layout(home.expanduser().resolve())
    unfit = next((c for c in str(found.root) if c in UNFIT or not c.isprintable()), None)
    if unfit is not None:
        raise HomeError(f"the home directory's path may not contain {unfit!r}: {str(found.root)!r}; set TRIAGE_HOME")
    length = len(str(found.supervisor_socket).encode())
    if length > MAX_SOCKET_PATH:
        room = MAX_SOCKET_PATH - (length - len(str(found.root).encode()))
        raise HomeError(f"the home directory's path is too long ({found.root}): at most {room} bytes; set TRIAGE_HOME")
    return found
