"""Errors of the embedded deployment.

```
StackError
├── HomeError            the home directory cannot be used: path too long, not writable, not ours to wipe
├── PortInUseError       a port the stack needs is taken; names port, program and, where it can be seen, the owner
├── AlreadyUpError       a stack is up (or going up) under this home
├── NotUpError           nothing is up under this home
├── MissingServerError   a server's binary is not installed
└── StartFailedError     a program did not become healthy; names it and the last lines of its log
```

A wrong passphrase is `broker.errors.KeyringError`. After any of these, what was running before still runs, and what
the failed `up` itself had started is stopped again; data stays.
"""

from __future__ import annotations

from pathlib import Path

from deploy.errors import HomeError, StackError

__all__ = [
    "AlreadyUpError",
    "HomeError",
    "MissingServerError",
    "NotUpError",
    "PortInUseError",
    "StackError",
    "StartFailedError",
]


class PortInUseError(StackError):
    """A port is taken."""

    def __init__(self, port: int, program: str, owner: str | None) -> None:
        held = f" by {owner}" if owner else ""
        super().__init__(f"port {port}, which {program} needs, is in use{held}; stop that or set TRIAGE_PORT_BASE")
        self.port = port
        self.program = program
        self.owner = owner


class AlreadyUpError(StackError):
    """A stack is up under this home."""

    def __init__(self, home: Path, doing: str = "up") -> None:
        super().__init__(f"a stack is {doing} under {home}; see it with `triage status`, end it with `triage down`")
        self.home = home


class NotUpError(StackError):
    """Nothing is up under this home."""

    def __init__(self, home: Path) -> None:
        super().__init__(f"no stack is up under {home}; start one with `triage up`")
        self.home = home


class MissingServerError(StackError):
    """A server's binary is not installed."""


class StartFailedError(StackError):
    """A program did not start, or did not become healthy."""

    def __init__(self, program: str, reason: str, log: tuple[str, ...]) -> None:
        tail = "".join(f"\n  {line}" for line in log)
        super().__init__(f"{program} did not come up: {reason}; the end of its log:{tail or ' (empty)'}")
        self.program = program
        self.reason = reason
        self.log = log
