"""What the engine measures and lists inside a container, as values. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from services.platform.docker.container import microseconds

_HEADER, _PIECE = 8, 64 * 1024

INTERPRETER_WORDS = 3
"""The kernel puts an interpreter and at most one argument before the path of a script."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process inside a container, as the host numbers it."""

    pid: int
    ppid: int
    command: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a container uses right now."""

    cpu_cores: float
    """Cores in use over the last second."""
    memory_bytes: int
    """Without the page cache that the kernel can take back at once."""
    memory_limit_bytes: int | None
    processes: int


Signal = Literal["KILL", "STOP"]


@dataclass(frozen=True, slots=True)
class ContainerRow:
    """One container as it is right now."""

    name: str
    """`<service>-<number>`."""
    service: str
    kind: str | None
    """Kind of device, for a workload."""
    role: str | None
    """Role, for one of the control plane."""
    state: str
    """The engine's own word: created, running, paused, restarting, removing, exited, dead."""
    healthy: bool
    detail: str
    """Why it is (not) healthy, in a few words."""
    restarts: int
    """Restarts by the engine's restart policy."""
    started_at_us: int | None
    memory_bytes: int
    pid: int | None


def processes_of(top: Mapping[str, Any]) -> tuple[Process, ...]:
    """Read the engine's list of processes (`ps -eo pid,ppid,args`); those that have ended and wait for their parent to
    notice are left out."""
    rows = (row for row in top.get("Processes") or () if len(row) >= 3 and row[0].isdigit() and row[1].isdigit())
    found = (Process(int(row[0]), int(row[1]), " ".join(row[2:])) for row in rows)
    return tuple(item for item in found if not item.command.endswith("<defunct>"))


def foreign(found: tuple[Process, ...], main: int, health_command: tuple[str, ...]) -> tuple[Process, ...]:
    """Return the processes that do not descend from the main one, without the engine's own health checks.

    What is brought in from outside (`docker exec`) has a parent outside; the health check comes in the same way.
    """
    inside = {item.pid: item for item in found}
    tops = {item.pid: _top_of(item, inside, main) for item in found}
    checks = spared(health_command)
    return tuple(
        item for item in found if (top := tops[item.pid]) is not None and not is_spared(top.command.split(), checks)
    )


def spared(health_command: tuple[str, ...]) -> list[list[str]]:
    """Return the command lines of a health check in words: its own, and what `sh -c` may replace itself by."""
    lines = (health_command, health_command[2:])
    return [words for line in lines if (words := " ".join(line).split())]


def is_spared(words: list[str], checks: list[list[str]]) -> bool:
    """Tell whether a command line is one of the checks, by whatever path it was found, also if it is a script: then its
    interpreter stands in front."""
    tails = [words[start:] for start in range(min(INTERPRETER_WORDS, len(words)))]
    return any([_base(tail[0]), *tail[1:]] == [_base(check[0]), *check[1:]] for tail in tails for check in checks)


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _top_of(item: Process, inside: Mapping[int, Process], main: int) -> Process | None:
    """Return the outermost ancestor inside the container, or None if that is the main process."""
    seen: set[int] = set()
    while item.pid != main and item.ppid in inside and item.pid not in seen:
        seen.add(item.pid)
        item = inside[item.ppid]
    return None if item.pid == main else item


def usage_of(stats: Mapping[str, Any]) -> Usage:
    """Read the engine's measurement; a container that does not run uses nothing."""
    now, before = stats.get("cpu_stats") or {}, stats.get("precpu_stats") or {}
    memory = stats.get("memory_stats") or {}
    details = memory.get("stats") or {}
    cache = int(details.get("total_inactive_file") or details.get("inactive_file") or 0)  # cgroup v1, v2
    return Usage(
        cpu_cores=_cores(now, before),
        memory_bytes=max(0, int(memory.get("usage") or 0) - cache),
        memory_limit_bytes=int(memory.get("limit") or 0) or None,
        processes=int((stats.get("pids_stats") or {}).get("current") or 0),
    )


def _cores(now: Mapping[str, Any], before: Mapping[str, Any]) -> float:
    busy = _total(now) - _total(before)
    passed = int(now.get("system_cpu_usage") or 0) - int(before.get("system_cpu_usage") or 0)
    if busy <= 0 or passed <= 0:
        return 0.0
    return busy / passed * int(now.get("online_cpus") or 1)


def _total(cpu: Mapping[str, Any]) -> int:
    return int((cpu.get("cpu_usage") or {}).get("total_usage") or 0)


class Readable(Protocol):
    """An open stream of bytes."""

    def read(self, size: int, /) -> bytes: ...


def newest_bytes(stream: Readable, limit: int, *, framed: bool) -> bytes:
    """Read a log to its end, and keep no more than its last `limit` bytes; what is cut begins with a whole line.

    Args:
        framed: whether it comes in the engine's frames (8 bytes with the length, then so many), as without a terminal.
    """
    kept: deque[bytes] = deque()
    size, cut = 0, False
    while piece := _frame(stream) if framed else stream.read(_PIECE):
        kept.append(piece)
        size += len(piece)
        while size > limit:
            size -= len(kept.popleft())
            cut = True
    text = b"".join(kept)
    return text.partition(b"\n")[2] if cut and not framed else text


def _frame(stream: Readable) -> bytes:
    header = stream.read(_HEADER)
    return stream.read(int.from_bytes(header[4:], "big")) if len(header) == _HEADER else b""


def split_lines(data: bytes) -> list[tuple[int, str]]:
    """Take the engine's `time text` lines apart. One without a time it can read belongs to the line before it."""
    found: list[tuple[int, str]] = []
    for row in data.decode("utf-8", errors="replace").split("\n"):
        if not row:
            continue
        stamp, _, text = row.partition(" ")
        try:
            found.append((microseconds(stamp), text))
        except ValueError:
            found.append((found[-1][0] if found else 0, row))
    return found
