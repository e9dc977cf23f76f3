"""Operating-system processes of a workload: its tree, its scope, whether it is frozen. Everything here is a look at
`/proc` through psutil, or a signal; processes that vanish meanwhile are simply gone."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Container, Iterable, Iterator, Mapping

import psutil

GONE = (psutil.NoSuchProcess, psutil.ZombieProcess)
UNREADABLE = (*GONE, psutil.AccessDenied)
WAIT_S = 3.0


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all its living descendants, parents first; empty if it is gone."""
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except GONE:
        return []


def carrying(variables: Mapping[str, str]) -> Iterator[psutil.Process]:
    """Find every process whose environment holds all these variables with these values; this process is left out."""
    wanted = {f"{name}={value}".encode() for name, value in variables.items()}
    for pid in psutil.pids():
        if pid == os.getpid():
            continue
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                found = wanted <= set(file.read().split(b"\0"))
            if found:
                yield psutil.Process(pid)
        except (OSError, *GONE):
            continue


def working_in(folders: Container[str], name: str) -> Iterator[psutil.Process]:
    """Find every process of this name whose working directory is one of these. PostgreSQL's children write their titles
    over their environment and lead sessions of their own, so that this is what tells whose they are."""
    for process in psutil.process_iter():
        try:
            if process.name() == name and process.cwd() in folders:
                yield process
        except (OSError, *UNREADABLE):
            continue


def environment_of(pid: int) -> dict[str, str] | None:
    """Return the environment a process was started with; None if it is gone or may not be looked at."""
    try:
        return dict(psutil.Process(pid).environ())
    except (OSError, *UNREADABLE):
        return None


def command_of(pid: int) -> tuple[str, ...] | None:
    """Return the command line of a process; None if it is gone."""
    try:
        return tuple(psutil.Process(pid).cmdline())
    except UNREADABLE:
        return None


def open_files_limit(pid: int) -> int | None:
    """Return how many descriptors a process may hold at once; None if it is gone."""
    try:
        return int(psutil.Process(pid).rlimit(resource.RLIMIT_NOFILE)[0])
    except UNREADABLE:
        return None


def inherited_open_files_limit(pid: int) -> int | None:
    """Return how many its parent may hold, which it began with; None if either is gone."""
    try:
        return open_files_limit(psutil.Process(pid).ppid())
    except UNREADABLE:
        return None


def limit_open_files(pid: int, files: int) -> None:
    """Let a process hold that many descriptors at once and no more; those it holds already stay open.

    Raises:
        psutil.Error: it is gone, or is somebody else's. ValueError: more than its hard limit.
    """
    process = psutil.Process(pid)
    _, hard = process.rlimit(resource.RLIMIT_NOFILE)
    process.rlimit(resource.RLIMIT_NOFILE, (files, hard))


def is_frozen(pid: int) -> bool:
    """Tell whether a process is stopped by a signal (state T)."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except GONE:
        return False


def signal_tree(pid: int, number: signal.Signals) -> None:
    """Signal a process and all its descendants, until no unsignalled one is left (a frozen parent forks no more)."""
    done: set[int] = set()
    while new := [process for process in tree(pid) if process.pid not in done]:
        for process in new:
            done.add(process.pid)
            send(process, number)


def send(process: psutil.Process, number: signal.Signals) -> None:
    """Signal one process; nothing happens if it is gone."""
    try:
        process.send_signal(number)
    except GONE:
        return


def end(processes: Iterable[psutil.Process], grace_s: float) -> None:
    """End processes: SIGTERM (and SIGCONT, for a frozen one would not hear it), then SIGKILL after `grace_s`."""
    found = list(processes)
    if grace_s > 0:
        for process in found:
            send(process, signal.SIGTERM)
            send(process, signal.SIGCONT)
        found = wait_gone(found, grace_s)
    for process in found:
        send(process, signal.SIGKILL)
    wait_gone(found, WAIT_S)


def wait_gone(found: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait until processes have ended; returns those that have not in time. A zombie has ended: reaping it is the
    business of its parent, and in a container there may be none that does."""
    left = list(found)
    deadline = time.monotonic() + timeout_s
    while left := [process for process in left if _lives(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    return left


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except GONE:
        return False


def wait_frozen(pid: int, frozen: bool, timeout_s: float = WAIT_S) -> bool:
    """Wait until a process is (not) frozen; False if it did not get there in time."""
    deadline = time.monotonic() + timeout_s
    while is_frozen(pid) is not frozen:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process tree, bytes. Shared pages count in proportion where the kernel tells
    (`smaps_rollup`), else in full."""
    return sum(own_resident_bytes(process.pid) for process in tree(pid))


def own_resident_bytes(pid: int) -> int:
    """Return the resident memory of one process without its descendants, bytes; 0 if it is gone."""
    return _proportional(pid) or _resident(pid)


def _proportional(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
    except OSError:
        return 0


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except UNREADABLE:
        return 0
