"""What a stack looks like from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from broker.contracts.base import Frozen
from deploy.embedded.programs import HOST, Tier, Unit
from services.platform.embedded import health, processes
from services.platform.embedded.supervisor import ProgramInfo

CHECK_TIMEOUT_S = 2.0


class StackRecord(Frozen):
    """`stack.json`: what was brought up. It is there from `up` until an orderly `down`."""

    port_base: int
    schedulers: int
    roles: bool
    supervisord_pid: int
    since_us: int
    """Microseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class ProgramStatus:
    """One program of the stack right now."""

    name: str
    tier: Tier
    state: str
    """supervisord's word: RUNNING, STOPPED, EXITED, BACKOFF, ...; PAUSED for a process stopped by a signal."""
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
    port_base: int
    since: datetime
    programs: tuple[ProgramStatus, ...]

    @property
    def healthy(self) -> bool:
        """Tell whether every program is."""
        return all(program.healthy for program in self.programs)

    @property
    def rss_bytes(self) -> int:
        """Resident memory of all programs."""
        return sum(program.rss_bytes for program in self.programs)

    def program(self, name: str) -> ProgramStatus | None:
        """Return one program."""
        return next((program for program in self.programs if program.name == name), None)


async def supervisor(record: StackRecord) -> ProgramStatus:
    """Return the state of supervisord itself, which has just answered."""
    return ProgramStatus(
        name="supervisord",
        tier="server",
        state="RUNNING",
        pid=record.supervisord_pid,
        healthy=True,
        detail="supervisord answers",
        rss_bytes=await asyncio.to_thread(processes.own_resident_bytes, record.supervisord_pid),
        since=datetime.fromtimestamp(record.since_us / 1_000_000, UTC),
        restarts=0,
    )


async def look(units: tuple[Unit, ...], infos: Mapping[str, ProgramInfo]) -> tuple[ProgramStatus, ...]:
    """Return the state of every program, all asked at once."""
    return tuple(await asyncio.gather(*(_program(unit, infos[unit.name]) for unit in units if unit.name in infos)))


async def _program(unit: Unit, info: ProgramInfo) -> ProgramStatus:
    answer = health.Health(False, False, info.detail or info.state.lower())
    frozen, rss = False, 0
    if info.pid is not None:
        answer = await health.check(unit.probe, HOST, unit.port, CHECK_TIMEOUT_S)
        frozen = await asyncio.to_thread(processes.is_frozen, info.pid)
        rss = await asyncio.to_thread(processes.resident_bytes, info.pid)
    return ProgramStatus(
        name=unit.name,
        tier=unit.tier,
        state="PAUSED" if frozen else info.state,
        pid=info.pid,
        healthy=answer.healthy,
        detail=answer.sentence,
        rss_bytes=rss,
        since=datetime.fromtimestamp(info.started_s, UTC) if info.pid is not None else None,
        restarts=max(0, info.starts - 1),
    )
