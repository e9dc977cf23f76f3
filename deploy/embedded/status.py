"""What an embedded stack looks like from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from broker.contracts.base import Frozen
from deploy.embedded.programs import HOST, Unit
from deploy.status import ProgramStatus
from services.platform import health
from services.platform.embedded import processes
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
    page: bool = False
    """Whether the dashboard belongs to it."""


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
