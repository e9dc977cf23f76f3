"""A stack as it looks from outside, whatever it runs on: its programs (processes, containers) and their health."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

Tier = Literal["server", "role", "shop", "page"]
"""`page` is what people look through; nothing needs it, and a stack without it is whole (docs/adr/0024)."""


@dataclass(frozen=True, slots=True)
class ProgramStatus:
    """One program of the stack right now."""

    name: str
    tier: Tier
    state: str
    """RUNNING, STOPPED, EXITED, STARTING, BACKOFF, ...; PAUSED for one that is there and does nothing."""
    pid: int | None
    healthy: bool
    detail: str
    """What the health check said."""
    rss_bytes: int
    """Resident memory of its process tree; shared pages in proportion, so the sum over programs is what they take."""
    since: datetime | None
    restarts: int


@dataclass(frozen=True, slots=True)
class StackStatus:
    """A stack that is up, whole or in parts."""

    home: Path
    port_base: int | None
    """First port of an embedded stack; None on containers, whose ports are not the host's."""
    since: datetime | None
    programs: tuple[ProgramStatus, ...]
    dashboard: str | None = None
    """Address of the stack's own dashboard, healthy or not; None where it has none."""

    @property
    def needed(self) -> tuple[ProgramStatus, ...]:
        """Return what the stack cannot do without: every program but the page."""
        return tuple(program for program in self.programs if program.tier != "page")

    @property
    def healthy(self) -> bool:
        """Tell whether every program that is needed is."""
        return all(program.healthy for program in self.needed)

    @property
    def rss_bytes(self) -> int:
        """Resident memory of all programs."""
        return sum(program.rss_bytes for program in self.programs)

    def program(self, name: str) -> ProgramStatus | None:
        """Return one program."""
        return next((program for program in self.programs if program.name == name), None)
