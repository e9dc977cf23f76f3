"""Limits of a container between the port's units and the engine's. Pure."""

from __future__ import annotations

from dataclasses import replace

from services.platform.docker.container import Resources
from services.platform.fault_port import Limits

CPU_PERIOD_US = 100_000
NANO = 1_000_000_000


def limits_of(resources: Resources) -> Limits:
    """Return limits in the port's units."""
    quota = resources.cpu_quota / (resources.cpu_period or CPU_PERIOD_US) if resources.cpu_quota > 0 else None
    return Limits(
        cpu_cores=resources.nano_cpus / NANO if resources.nano_cpus else quota,
        memory_bytes=resources.memory or None,
    )


def resources_with(now: Resources, limits: Limits) -> Resources:
    """Return what `docker update` is to be told for other limits: only fields that change; the processor's share in
    the words it was given in before, for the engine refuses the other ones; never memory without swap."""
    wanted = Resources()
    if limits.cpu_cores is not None and now.cpu_quota > 0:
        period = now.cpu_period or CPU_PERIOD_US
        wanted = replace(wanted, cpu_quota=round(limits.cpu_cores * period), cpu_period=period)
    elif limits.cpu_cores is not None:
        wanted = replace(wanted, nano_cpus=round(limits.cpu_cores * NANO))
    if limits.memory_bytes is not None:
        wanted = replace(wanted, memory=limits.memory_bytes, memory_swap=limits.memory_bytes)
    return wanted


def with_limits(now: Limits, changed: Limits) -> Limits:
    """Return limits after a change: fields that are None stay as they are."""
    return Limits(
        now.cpu_cores if changed.cpu_cores is None else changed.cpu_cores,
        now.memory_bytes if changed.memory_bytes is None else changed.memory_bytes,
    )
