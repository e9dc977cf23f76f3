"""Differences between what is declared and what runs. Pure: observations in, drift out, secrets masked."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.platform.differences import describe, environment
from services.platform.embedded.world import Link, Program
from services.platform.fault_port import LinkFault
from services.platform.links.model import OK
from services.platform.port import Drift

IGNORED = re.compile(r"SUPERVISOR_\w+|LC_CTYPE")
"""Set by supervisord and by Python's start-up; nobody declares them."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A process inside a workload's scope that the workload did not start."""

    pid: int
    command: str


def environment_drift(program: Program, base: Mapping[str, str], actual: Mapping[str, str]) -> list[Drift]:
    """Compare every variable a process has with what it should have. A difference in a secret says only that."""
    seen = {name: value for name, value in actual.items() if not IGNORED.fullmatch(name)}
    declared = {name: value for name, value in {**base, **program.environment}.items() if not IGNORED.fullmatch(name)}
    return environment(declared, seen, frozenset(program.secrets))


def command_drift(program: Program, actual: tuple[str, ...]) -> list[Drift]:
    """Compare the command line a process shows with the declared one."""
    if actual in program.may_run_as():
        return []
    return [Drift("command", program.name, shlex.join(program.command), shlex.join(actual))]


def network_drift(links: Iterable[Link], faults: Mapping[str, LinkFault]) -> list[Drift]:
    """Name the links that are not ok. A broken link is drift of both its ends: whichever end is reconciled heals it."""
    broken = ((link, faults.get(link.name, OK)) for link in links)
    return [Drift("network", link.name, "ok", describe(fault)) for link, fault in broken if fault != OK]


def limits_drift(open_files: int | None, inherited: int | None) -> list[Drift]:
    """Name a limit that is lower than what the process began with. A server that raised its own is as declared."""
    if open_files is None or inherited is None or open_files >= inherited:
        return []
    return [Drift("limits", "open files", str(inherited), str(open_files))]


def process_drift(program: Program, foreign: Iterable[Foreign]) -> list[Drift]:
    """Name the foreign processes in a workload's scope."""
    return [Drift("process", f"pid {item.pid}", "(none)", item.command[:200]) for item in foreign]
