"""Processor time and memory of a service and of everything that runs in its scope, as a container's cgroup would count.

In scope is every process of this user whose environment has `SHOP_SCOPE=<service>` (and, if it names a `SHOP_PORT`,
the same one: two stacks may run side by side).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

YOUNG_S = 10.0
"""A process may change its environment when it executes its program, so a new one is looked at again for this long."""
RESCAN_S = 2.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a scope uses."""

    cores: float
    """Cores in use since the last sample (1.0 = one core busy)."""
    mem_bytes: int


@dataclass(slots=True)
class _Known:
    first_seen_s: float
    member: bool


def in_scope(environment: Mapping[str, str], scope: str, port: int) -> bool:
    """Tell whether a process with this environment belongs to the scope."""
    return environment.get("SHOP_SCOPE") == scope and environment.get("SHOP_PORT", str(port)) == str(port)


def cores(before: Mapping[int, float], after: Mapping[int, float], elapsed_s: float) -> float:
    """Return the cores in use between two readings of CPU seconds by process.

    A process that appeared in between brought all its time with it; one that ended takes its last slice along.
    """
    if elapsed_s <= 0:
        return 0.0
    return max(0.0, sum(spent - before.get(pid, 0.0) for pid, spent in after.items())) / elapsed_s


class ScopeUsage:
    """Samples a scope. `sample` is cheap enough for once a second: only new processes' environments are read."""

    def __init__(self, scope: str, port: int) -> None:
        self._scope = scope
        self._port = port
        self._known: dict[int, _Known] = {}
        self._scanned_s = float("-inf")
        self._times: dict[int, float] | None = None
        self._sampled_s = 0.0

    def sample(self, now_s: float) -> Usage:
        """Return the usage since the sample before; `now_s` is a steady clock's reading in seconds."""
        if now_s - self._scanned_s >= RESCAN_S:
            self._rescan(now_s)
        times: dict[int, float] = {}
        memory = 0
        for pid, known in self._known.items():
            if known.member:
                memory += self._read(pid, times)
        used = 0.0 if self._times is None else cores(self._times, times, now_s - self._sampled_s)
        self._times, self._sampled_s = times, now_s
        return Usage(used, memory)

    def _read(self, pid: int, times: dict[int, float]) -> int:
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                spent = process.cpu_times()
                memory = int(process.memory_info().rss)
        except psutil.Error:
            return 0
        times[pid] = spent.user + spent.system
        return memory

    def _rescan(self, now_s: float) -> None:
        self._scanned_s = now_s
        alive = set(psutil.pids())
        self._known = {pid: known for pid, known in self._known.items() if pid in alive}
        for pid in alive:
            known = self._known.setdefault(pid, _Known(now_s, False))
            if now_s - known.first_seen_s <= YOUNG_S:
                known.member = self._belongs(pid)

    def _belongs(self, pid: int) -> bool:
        if pid == os.getpid():
            return True
        try:
            return in_scope(psutil.Process(pid).environ(), self._scope, self._port)
        except (psutil.Error, OSError):
            return False
