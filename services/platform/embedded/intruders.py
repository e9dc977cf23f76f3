"""Foreign programs in a workload's scope: what somebody started there by hand and nobody declared."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

from broker.runtime.locks import exclusive
from services.platform.embedded import processes
from services.platform.embedded.home import Home, scope_of
from services.platform.embedded.view import View
from services.platform.embedded.world import Program, World

MODULE = "TRIAGE_INTRUDER"
"""Each carries this variable with the name of its module, beside the scope of its victim."""
TARGET = "TRIAGE_INTRUDER_TARGET"
"""Tells it how its victim is reached: a database's connection string, else `host:port`."""
READY = "TRIAGE_INTRUDER_READY"
"""The file that it makes once it does its harm."""
BEGIN_S = 3.0
POLL_S = 0.01


class EmbeddedIntruders:
    """Implements `services.platform.fault_port.Intruders`: starts, counts and ends them."""

    def __init__(self, home: Home, view: View) -> None:
        self._home = home
        self._view = view

    async def intrude(self, name: str, module: str, arguments: tuple[str, ...] = ()) -> None:
        """Start a module in the workload's scope. It is an orphan, as the burners are, and writes to its own log.

        One caller looks and starts at a time, and leaves an intruder that the next one's look finds.
        """
        program = self._view.world.program(name)
        async with exclusive(self._home.intruder_lock(program.name)):
            if not await asyncio.to_thread(self._find, name, module):
                await asyncio.to_thread(self._spawn, program, self._view.world, module, arguments)
                await asyncio.to_thread(self._await_begun, name, module)

    async def harmful(self, name: str, module: str) -> int:
        """Return how many there are once one has said that it does its harm, else 0."""
        return await asyncio.to_thread(self._count_harmful, name, module)

    async def expel(self, name: str, module: str) -> None:
        """End them, and those that are just becoming one."""
        await asyncio.to_thread(self._end, name, module)

    def _spawn(self, program: Program, world: World, module: str, arguments: tuple[str, ...]) -> None:
        """Start `python -m <module> <arguments>` in a session of its own, as an orphan: it outlives its caller."""
        ready = self._ready(program.name, module)
        ready.unlink(missing_ok=True)
        shell = shutil.which("sh") or "/bin/sh"
        command = shlex.join((sys.executable, "-m", module, *arguments))
        log = shlex.quote(str(self._home.log(f"intruder-{program.name}")))
        subprocess.run(
            [shell, "-c", f"{command} >>{log} 2>&1 </dev/null &"],
            env={
                **world.base_environment,
                **scope_of(self._home, program.name),
                MODULE: module,
                TARGET: program.admin or f"{program.host}:{program.port}",
                READY: str(ready),
            },
            cwd=self._home.root,
            start_new_session=True,
            check=True,
        )

    def _await_begun(self, name: str, module: str) -> None:
        """Wait until the shell has become the intruder; one that ended before it was seen did no harm (`harmful`)."""
        deadline = time.monotonic() + BEGIN_S
        while not self._find(name, module) and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def _find(self, name: str, module: str) -> list[psutil.Process]:
        """Return the living processes of a module in a workload's scope, harmful already or not."""
        marks = {**scope_of(self._home, name), MODULE: module}
        return [found for found in processes.carrying(marks) if _runs(found, module)]

    def _count_harmful(self, name: str, module: str) -> int:
        return len(self._find(name, module)) if self._ready(name, module).exists() else 0

    def _end(self, name: str, module: str) -> None:
        processes.end(processes.carrying({**scope_of(self._home, name), MODULE: module}), grace_s=0.0)
        self._ready(name, module).unlink(missing_ok=True)

    def _ready(self, name: str, module: str) -> Path:
        return self._home.run / f"intruder-{name}-{module.rpartition('.')[2]}.ready"


def _runs(process: psutil.Process, module: str) -> bool:
    """Tell whether a marked process runs the module by now; before, it is the shell that starts it."""
    try:
        words: list[str] = process.cmdline()
    except psutil.Error:
        return False
    return words[1:3] == ["-m", module]
