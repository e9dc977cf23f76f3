"""All containers of a project as people ask about them, and signals to those that are no workload."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from services.platform.docker.container import Container
from services.platform.docker.engine import Engine
from services.platform.docker.readings import ContainerRow, Signal
from services.platform.port import RefusedError, UnknownWorkloadError, VerbFailedError

DOWN_TIMEOUT_S = 5.0
POLL_S = 0.01


async def roster(engine: Engine) -> tuple[ContainerRow, ...]:
    """Return every container of the project, in the order of service and number."""
    found = await engine.containers()
    memory = await asyncio.gather(*(_memory(engine, item) for item in found))
    return tuple(row_of(item, used) for item, used in zip(found, memory, strict=True))


async def _memory(engine: Engine, container: Container) -> int:
    try:
        return await engine.memory_bytes(container)
    except VerbFailedError:
        return 0  # gone meanwhile


def row_of(container: Container, memory_bytes: int) -> ContainerRow:
    """Put a container into a row."""
    healthy, detail = wellness(container)
    return ContainerRow(
        name=name_of(container),
        service=container.service,
        kind=container.kind,
        role=container.role,
        state=container.status,
        healthy=healthy,
        detail=detail,
        restarts=container.restart_count,
        started_at_us=container.started_at_us,
        memory_bytes=memory_bytes,
        pid=container.pid,
    )


def name_of(container: Container) -> str:
    """Return what a container is called within its project."""
    return f"{container.service}-{container.number}"


def wellness(container: Container) -> tuple[bool, str]:
    """Tell whether a container is well by what the engine knows. One that was to run once and did so is well."""
    if container.status == "running":
        return container.health in (None, "healthy"), container.health or "running"
    if container.oom_killed:
        return False, "killed for want of memory"
    once = not container.kind and not container.role and not _restarts(container.raw)
    if container.status == "exited":
        return once and container.exit_code == 0, f"ended with exit code {container.exit_code}"
    return False, container.status


def _restarts(raw: Mapping[str, Mapping[str, Mapping[str, str]]]) -> bool:
    return raw["HostConfig"].get("RestartPolicy", {}).get("Name", "no") not in ("", "no")


async def kill_role(engine: Engine, instance: str, signal: Signal, own_id: str | None, notes: Path) -> None:
    """Signal a container of the control plane: KILL ends it and brings it back, as a process manager would (the engine
    takes a kill by hand for a wish); STOP freezes it until it is killed.

    Args:
        instance: `<service>-<number>`, or the service of which there is only one.
        own_id: the container that this process lives in; it may not be signalled.
        notes: folder that outlives this process: who dies between kill and start leaves a note there for
            `start_killed`.

    Raises:
        UnknownWorkloadError: there is no such container. RefusedError: it is a workload (the fault port breaks those),
            or this process's own.
    """
    container = await _found(engine, instance)
    if container.kind:
        raise RefusedError(f"{instance} is a workload, not a part of the control plane; break it by a fault")
    if own_id is not None and container.id.startswith(own_id):
        raise RefusedError(f"{instance} is the platform proxy itself; nobody signals it through itself")
    if signal == "STOP":
        await engine.pause(container)
        return
    note = notes / container.id
    await asyncio.to_thread(_put_down, note)
    try:
        await engine.kill(container)
    except VerbFailedError:  # it runs on, or was down already: for others to judge
        note.unlink(missing_ok=True)
        raise
    await _until_down(engine, container)
    await engine.start(container)
    note.unlink(missing_ok=True)


async def start_killed(engine: Engine, notes: Path) -> tuple[str, ...]:
    """Start the containers that were killed by `kill_role` and not started again; returns a sentence for each. One
    that cannot be started keeps its note; that of one which is gone is dropped.

    Raises:
        PlatformDownError: the engine does not answer.
    """
    said, known = [], {item.id: item for item in await engine.containers()}
    for note in await asyncio.to_thread(lambda: sorted(notes.glob("*"))):
        container = known.get(note.name)
        try:
            if container is not None and not container.running:
                await engine.start(container)
                said.append(f"{name_of(container)} started: it was killed and not brought back")
        except VerbFailedError as error:
            said.append(f"{note.name[:12]} stays down: {error}")
            continue
        note.unlink(missing_ok=True)
    return tuple(said)


def _put_down(note: Path) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    note.touch()


async def _found(engine: Engine, instance: str) -> Container:
    every = await engine.containers()
    found = [item for item in every if name_of(item) == instance] or [i for i in every if i.service == instance]
    if len(found) == 1:
        return found[0]
    known = ", ".join(name_of(item) for item in every)
    raise UnknownWorkloadError(f"no single container is called {instance[:80]!r}; there are {known}")


async def _until_down(engine: Engine, container: Container) -> None:
    deadline = time.monotonic() + DOWN_TIMEOUT_S
    while (await engine.inspect(container)).running:
        if time.monotonic() > deadline:
            raise VerbFailedError(f"{container.name} still runs {DOWN_TIMEOUT_S:g} s after it was killed")
        await asyncio.sleep(POLL_S)
