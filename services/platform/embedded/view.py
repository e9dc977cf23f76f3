"""Looking at workloads: supervisord's word, the kernel's word and the links', put together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

import psutil

from services.platform.embedded import drift, processes
from services.platform.embedded.consumers import consumers_drift
from services.platform.embedded.grants import grants_drift
from services.platform.embedded.home import Home, scope_of
from services.platform.embedded.indexes import indexes_drift
from services.platform.embedded.links import LinkClient
from services.platform.embedded.messages import messages_drift
from services.platform.embedded.settings import settings_drift
from services.platform.embedded.supervisor import ProgramInfo, Supervisor
from services.platform.embedded.world import Program, World, load_world
from services.platform.fault_port import LinkFault
from services.platform.port import Drift, State, Workload

_STATES: dict[str, State] = {
    "STARTING": "starting",
    "BACKOFF": "starting",
    "RUNNING": "running",
    "STOPPING": "running",
    "STOPPED": "stopped",
}


@dataclass(frozen=True, slots=True)
class _Kernel:
    """What the kernel shows of a workload. `command` and `environment` are None while nothing of ours runs."""

    command: tuple[str, ...] | None
    environment: dict[str, str] | None
    frozen: bool
    foreign: tuple[drift.Foreign, ...]
    limits: tuple[Drift, ...] = ()


class View:
    """Read access to one world."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.supervisor = Supervisor(home.supervisor_socket)
        self._world: World | None = None

    @property
    def world(self) -> World:
        """The declaration, read once.

        Raises:
            PlatformDownError: no stack was brought up here.
        """
        if self._world is None:
            self._world = load_world(self.home.world)
        return self._world

    @property
    def links(self) -> LinkClient:
        """The links of this world."""
        return LinkClient(self.world)

    async def workloads(self) -> tuple[Workload, ...]:
        """Return every workload in the order of declaration."""
        world = self.world
        infos, faults = await asyncio.gather(self.supervisor.programs(), self.links.all())
        found = await asyncio.to_thread(
            lambda: tuple(
                _workload(self.home, world, program, infos[program.name], faults) for program in world.programs
            )
        )
        return tuple([await _with_own_word(*pair) for pair in zip(world.programs, found, strict=True)])

    async def workload(self, name: str) -> Workload:
        """Return one workload.

        Raises:
            UnknownWorkloadError, PlatformDownError.
        """
        world, program = self.world, self.world.program(name)
        info, faults = await asyncio.gather(self.supervisor.program(name), self.links.all())
        return await _with_own_word(
            program, await asyncio.to_thread(_workload, self.home, world, program, info, faults)
        )


async def _with_own_word(program: Program, workload: Workload) -> Workload:
    """Add what a running database or queue says itself."""
    if workload.state != "running":
        return workload
    asked = (
        (grants_drift, program.grants),
        (indexes_drift, program.indexes),
        (messages_drift, program.messages),
        (consumers_drift, program.consumers),
    )
    # At once: one that does not answer costs each of them its time-out.
    told = await asyncio.gather(*(ask(program) for ask, declared in asked if declared))
    return replace(workload, drift=(*workload.drift, *(item for found in told for item in found)))


def foreign_processes(home: Home, name: str, pid: int | None) -> tuple[drift.Foreign, ...]:
    """Return the processes that carry a workload's scope and do not descend from its supervised process."""
    own = {process.pid for process in processes.tree(pid)} if pid else set()
    found = []
    for process in processes.carrying(scope_of(home, name)):
        if process.pid in own or pid in _ancestors(process.pid):
            continue
        found.append(drift.Foreign(process.pid, " ".join(processes.command_of(process.pid) or ("(ending)",))))
    return tuple(found)


def _ancestors(pid: int) -> set[int]:
    try:
        return {parent.pid for parent in psutil.Process(pid).parents()}
    except processes.UNREADABLE:
        return set()


def _look(home: Home, program: Program, info: ProgramInfo) -> _Kernel:
    foreign = foreign_processes(home, program.name, info.pid)
    if info.pid is None:
        return _Kernel(None, None, False, foreign)
    command, environment = processes.command_of(info.pid), processes.environment_of(info.pid)
    if not command or environment is None or environment.get("SUPERVISOR_PROCESS_NAME") != program.name:
        # Between fork and exec the child still shows supervisord's own image: nothing of ours runs yet.
        return _Kernel(None, None, False, foreign)
    limits = drift.limits_drift(processes.open_files_limit(info.pid), processes.inherited_open_files_limit(info.pid))
    return _Kernel(command, environment, processes.is_frozen(info.pid), foreign, tuple(limits))


def _workload(
    home: Home, world: World, program: Program, info: ProgramInfo, faults: Mapping[str, LinkFault]
) -> Workload:
    kernel = _look(home, program, info)
    return Workload(
        name=program.name,
        managed=program.managed,
        state=_state(info, kernel),
        pid=info.pid,
        started_at_us=int(info.started_s * 1_000_000) if info.pid else None,
        restarts=max(0, info.starts - 1),
        drift=_drift(world, program, info, kernel, faults),
    )


def _state(info: ProgramInfo, kernel: _Kernel) -> State:
    if kernel.frozen:
        return "paused"
    if info.pid is not None and kernel.environment is None:
        return "starting"
    if info.state == "EXITED":
        return "stopped" if info.exit_status == 0 else "failed"
    return _STATES.get(info.state, "failed")


def _drift(
    world: World, program: Program, info: ProgramInfo, kernel: _Kernel, faults: Mapping[str, LinkFault]
) -> tuple[Drift, ...]:
    """Compare what runs with what is declared; where nothing of ours runs at this moment, what it was given to start
    with: a process that ends at once, at every start, is seldom met alive."""
    base = world.base_environment
    actual = kernel.environment if kernel.environment is not None else {**base, **info.environment}
    return (
        *drift.command_drift(
            program, kernel.command if kernel.command is not None else info.command or program.command
        ),
        *drift.environment_drift(program, base, actual),
        *drift.network_drift(world.links_of(program.name), faults),
        *drift.process_drift(program, kernel.foreign),
        *kernel.limits,
        *(settings_drift(program) if kernel.environment is not None and not kernel.frozen else ()),
    )
