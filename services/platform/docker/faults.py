"""Breaking a world of containers for real: the injector's side of the adapter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.platform.docker.container import (
    Blueprint,
    Container,
    Endpoint,
    blueprint_of,
    resources_of,
    variables,
)
from services.platform.docker.engine import Engine
from services.platform.docker.limits import limits_of, resources_with, with_limits
from services.platform.docker.netfault import OK, NetFaults, addresses_of
from services.platform.docker.netrules import NAMES
from services.platform.fault_port import Limits, LinkFault
from services.platform.port import NotOnThisPlatformError, UnknownWorkloadError, VerbFailedError

HOG_MARKER = "triage-hog"
MAX_HOGS = 16
SMALL_VOLUME = "triage.small_volume"
"""Label with the path, inside the container, of a volume that is small enough to be filled."""
END_DEADLINE_S = 8.0
POLL_S = 0.05
_BURN = ("sh", "-c", "while :; do :; done", HOG_MARKER)
_PROCESSES, _VOLUME = "/opt/triage/processes.py", "/opt/triage/volume.py"


class Site(Protocol):
    """What of the docker adapter is needed here."""

    @property
    def engine(self) -> Engine: ...

    @property
    def net(self) -> NetFaults: ...

    @property
    def tool_image(self) -> str: ...

    def locked(self, name: str) -> AbstractAsyncContextManager[None]:
        """Hold the workload's lock: one change at a time, agents' verbs included.

        Raises:
            UnknownWorkloadError: there is no such workload; no lock was made.
        """
        ...

    async def containers(self, name: str) -> tuple[Container, ...]:
        """Return the containers of a workload.

        Raises:
            UnknownWorkloadError: there is no such workload.
        """
        ...

    def declared(self, container: Container) -> Blueprint:
        """Return how a container should be."""
        ...


class DockerFaults:
    """Implements `services.platform.fault_port.FaultPort` for one compose project.

    No state of its own: every question is answered by looking at the world. A workload of several containers is broken
    in all of them. Raises the errors of `services.platform.port`.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    @property
    def _engine(self) -> Engine:
        return self._site.engine

    # -- processes

    async def kill(self, name: str) -> None:
        """SIGKILL. What is killed by hand is not brought back by the engine, whatever its restart policy."""
        for container in await self._running(name):
            await self._thaw(container)
            await self._engine.kill(container)
            await self._until(container, lambda now: not now.running, "die")

    async def stop(self, name: str) -> None:
        """Stop the workload in order, also if it is frozen."""
        async with self._site.locked(name):
            for container in await self._running(name):
                await self._thaw(container)
                await self._engine.stop(container)

    async def start(self, name: str) -> None:
        """Start the workload with whatever environment and limits it was given last."""
        async with self._site.locked(name):
            for container in await self._all(name):
                await self._engine.start(container)

    async def freeze(self, name: str) -> None:
        """Freeze every process of the workload (the kernel's freezer; connections are still accepted)."""
        found = await self._must_run(name)
        for container in found:
            if container.status != "paused":
                await self._engine.pause(container)

    async def thaw(self, name: str) -> None:
        """Let it go on; nothing happens if it does not run."""
        for container in await self._all(name):
            await self._thaw(container)

    async def is_frozen(self, name: str) -> bool:
        """Tell whether all its containers are frozen."""
        return all(container.status == "paused" for container in await self._all(name))

    async def is_running(self, name: str) -> bool:
        """Tell whether any of its containers runs, frozen or not."""
        return any(container.running for container in await self._all(name))

    async def hog(self, name: str, processes: int) -> None:
        """Bring the number of CPU burners in each of its containers up to `processes` (1..16). They come in from
        outside (`docker exec`), one by one, so that they are nobody's children inside."""
        if not 1 <= processes <= MAX_HOGS:
            raise VerbFailedError(f"between 1 and {MAX_HOGS} burners, not {processes}")
        for container in await self._must_run(name):
            for _ in range(processes - await self._hogs(container)):
                await self._engine.exec(container, _BURN, detach=True)

    async def hogs(self, name: str) -> int:
        """Return how many burners run in its containers."""
        return sum([await self._hogs(container) for container in await self._running(name)])

    async def unhog(self, name: str) -> None:
        """End all burners in its containers."""
        for container in await self._running(name):
            if await self._hogs(container):
                await self._tool(container, (_PROCESSES, HOG_MARKER), caps=("KILL",), namespace_pid=True)

    # -- configuration

    async def set_environment(self, name: str, changes: dict[str, str]) -> None:
        """Recreate its containers with changed variables, as a bad deployment would; nothing else differs."""
        await self._recreate_all(
            name, lambda now: blueprint_of(now.raw).with_environment({**now.environment, **changes})
        )

    async def reset_environment(self, name: str) -> None:
        """Recreate its containers with the declared variables; nothing happens to those that run with them already."""

        def wanted(now: Container) -> Blueprint:
            declared = variables(self._site.declared(now).config.get("Env"))
            return blueprint_of(now.raw).with_environment(declared)

        await self._recreate_all(name, wanted)

    async def environment(self, name: str) -> dict[str, str]:
        """Return the environment that the running container was given.

        Raises:
            VerbFailedError: it does not run.
        """
        return dict((await self._must_run(name))[0].environment)

    async def configured(self, name: str) -> dict[str, str]:
        """Return the environment that its first container was given, running or not."""
        return dict((await self._all(name))[0].environment)

    async def set_command(self, name: str, command: tuple[str, ...]) -> None:
        raise _not_here("another command for a container is a deployment, which is compose's business")

    async def reset_command(self, name: str) -> None:
        """Nothing is ever changed here."""

    async def command(self, name: str) -> tuple[str, ...]:
        """Return nothing: commands are never changed here."""
        return ()

    async def intrude(self, name: str, module: str, arguments: tuple[str, ...] = ()) -> None:
        raise _not_here("a workload's container holds none of the injector's programs")

    async def intruders(self, name: str, module: str) -> int:
        """Return that there are none."""
        return 0

    async def expel(self, name: str, module: str) -> None:
        """Nobody ever intrudes here."""

    async def revoke(self, name: str, role: str, privilege: str) -> None:
        raise _not_here("the platform does not hold the password of a database's administrator")

    async def restore_grants(self, name: str) -> None:
        """Nothing is ever revoked here."""

    async def missing_grants(self, name: str) -> tuple[str, ...]:
        """Return nothing: nothing is ever revoked here."""
        return ()

    async def set_limits(self, name: str, limits: Limits) -> None:
        """Change what its containers may use. The processor's share changes at once; another memory limit stops the
        container and starts it under the limit, where the kernel may kill it within the call: that is no error.

        Raises:
            NotOnThisPlatformError: descriptors.
        """
        if limits.open_files is not None:
            raise _not_here("a container's descriptors are limited when it is made, not while it runs")
        async with self._site.locked(name):
            for container in await self._all(name):
                await self._limit(container, limits)

    async def reset_limits(self, name: str) -> None:
        """Recreate its containers with the declared limits; those that run with them already are left alone."""

        def wanted(now: Container) -> Blueprint:
            return blueprint_of(now.raw).with_resources(resources_of(self._site.declared(now).host))

        await self._recreate_all(name, wanted)

    async def limits(self, name: str) -> Limits:
        """Return the limits that its first container has, running or not."""
        return limits_of((await self._all(name))[0].resources)

    # -- network

    async def set_link(self, source: str, destination: str, fault: LinkFault) -> None:
        """Change what happens to traffic from `source` to `destination`, in the source's network namespace. It lasts
        as long as the source's processes do: a restarted source has a new namespace, without rules.

        Raises:
            UnknownWorkloadError: the source does not declare that it depends on the destination.
        """
        async with self._site.locked(source):
            ends = await self._ends(source, destination)
            running = await self._running(source) if fault == OK else await self._must_run(source)
            for container in running:
                await self._site.net.set(container, ends, fault)

    async def link(self, source: str, destination: str) -> LinkFault:
        """Return what happens to the traffic now. Rules that name addresses which the destination has no longer do
        not count: it was restarted and got others."""
        ends = await self._ends(source, destination)
        for container in await self._running(source):
            present = set(addresses_of(container, ends))
            for rule in await self._site.net.rules(container):
                if rule.destination == destination and (not present or present & set(rule.addresses)):
                    return rule.fault
        return OK

    async def break_names(self, name: str) -> None:
        """Drop what it asks its name server. Connections that stand are not touched."""
        async with self._site.locked(name):
            for container in await self._must_run(name):
                await self._site.net.set_names(container, LinkFault("partition"))

    async def restore_names(self, name: str) -> None:
        """Let it ask again."""
        async with self._site.locked(name):
            for container in await self._running(name):
                await self._site.net.set_names(container, OK)

    async def names_broken(self, name: str) -> bool:
        """Tell whether its questions are dropped."""
        rules = [rule for container in await self._running(name) for rule in await self._site.net.rules(container)]
        return any(rule.destination == NAMES for rule in rules)

    async def disconnect(self, name: str) -> None:
        """Take its containers off all their networks while they run."""
        async with self._site.locked(name):
            for container in await self._all(name):
                for endpoint in container.networks:
                    await self._engine.disconnect(container, endpoint.network)

    async def reconnect(self, name: str) -> None:
        """Put its containers back on the declared networks, under the declared names."""
        async with self._site.locked(name):
            for container in await self._all(name):
                for endpoint in self._missing(container):
                    await self._engine.connect(container, endpoint.network, endpoint.aliases)

    async def disconnected(self, name: str) -> tuple[str, ...]:
        """Return the declared networks that any of its containers is not on."""
        missing = [endpoint.network for container in await self._all(name) for endpoint in self._missing(container)]
        return tuple(dict.fromkeys(missing))

    # -- volumes

    async def fill_volume(self, name: str) -> None:
        """Fill the small volume of its first container.

        Raises:
            VerbFailedError: it declares none (label `triage.small_volume`), or that is not small.
        """
        container = (await self._must_run(name))[0]
        path = container.labels.get(SMALL_VOLUME)
        if path is None:
            raise VerbFailedError(f"{name} declares no small volume; label it with {SMALL_VOLUME}: <path>")
        await self._volume(container, "fill", path)

    async def free_volume(self, name: str) -> None:
        """Delete the filler; nothing happens if the container does not run: a volume in memory went with it."""
        for container in (await self._running(name))[:1]:
            if path := container.labels.get(SMALL_VOLUME):
                await self._volume(container, "free", path)

    async def filler(self, name: str) -> int:
        """Return the size of the filler, bytes; 0 if there is none, or no volume."""
        for container in (await self._running(name))[:1]:
            if path := container.labels.get(SMALL_VOLUME):
                return int(await self._volume(container, "size", path))
        return 0

    # -- inside

    async def _all(self, name: str) -> tuple[Container, ...]:
        found = await self._site.containers(name)
        if not found:
            raise VerbFailedError(f"{name} has no container; start it first")
        return found

    async def _running(self, name: str) -> tuple[Container, ...]:
        return tuple(container for container in await self._all(name) if container.running)

    async def _must_run(self, name: str) -> tuple[Container, ...]:
        found = await self._running(name)
        if not found:
            raise VerbFailedError(f"{name} does not run")
        return found

    async def _ends(self, source: str, destination: str) -> tuple[Container, ...]:
        """Return the containers of a link's destination."""
        declared = (await self._all(source))[0].depends_on
        if destination not in declared:
            known = ", ".join(f"{source}--{name}" for name in declared) or "none that begins there"
            raise UnknownWorkloadError(f"there is no link '{source}--{destination}'; there are {known}")
        return await self._all(destination)

    async def _thaw(self, container: Container) -> None:
        if container.status == "paused":
            await self._engine.unpause(container)

    async def _hogs(self, container: Container) -> int:
        return sum(process.command.endswith(HOG_MARKER) for process in await self._engine.top(container))

    async def _recreate_all(self, name: str, wanted: Callable[[Container], Blueprint]) -> None:
        async with self._site.locked(name):
            for container in await self._all(name):
                blueprint = wanted(container)
                if _differs(blueprint, container):
                    await self._engine.recreate(container, blueprint)
                elif not container.running:
                    await self._engine.start(container)

    async def _limit(self, container: Container, limits: Limits) -> None:
        if limits_of(container.resources) == with_limits(limits_of(container.resources), limits):
            return
        wanted = resources_with(container.resources, limits)
        if limits.memory_bytes is None:
            await self._engine.update(container, wanted)
            return
        await self._thaw(container)
        await self._engine.stop(container)
        await self._engine.update(container, wanted)
        try:
            await self._engine.start(container)
        except VerbFailedError:
            if not (await self._engine.inspect(container)).oom_killed:
                raise

    def _missing(self, container: Container) -> Sequence[Endpoint]:
        present = {endpoint.network for endpoint in container.networks}
        return [endpoint for endpoint in self._site.declared(container).networks if endpoint.network not in present]

    async def _volume(self, container: Container, verb: str, path: str) -> str:
        return await self._tool(container, (_VOLUME, verb, path), caps=("DAC_OVERRIDE",), volumes=True)

    async def _tool(
        self,
        container: Container,
        command: Sequence[str],
        *,
        caps: Sequence[str],
        namespace_pid: bool = False,
        volumes: bool = False,
    ) -> str:
        """Run a script of the tool image beside a container.

        Raises:
            VerbFailedError: it failed; with its own words.
        """
        ran = await self._engine.run_sidecar(
            container,
            ["python3", *command],
            image=self._site.tool_image,
            caps=caps,
            namespace="pid" if namespace_pid else "network",
            volumes=volumes,
        )
        if ran.code != 0:
            raise VerbFailedError(f"{container.service}: {ran.output.strip()[:200]}")
        return ran.output.strip()

    async def _until(self, container: Container, reached: Callable[[Container], bool], what: str) -> None:
        deadline = time.monotonic() + END_DEADLINE_S
        while not reached(await self._engine.inspect(container)):
            if time.monotonic() > deadline:
                raise VerbFailedError(f"{container.service} did not {what} within {END_DEADLINE_S:g} s")
            await asyncio.sleep(POLL_S)


def _not_here(why: str) -> NotOnThisPlatformError:
    return NotOnThisPlatformError(f"the docker platform cannot do this: {why}; use the embedded platform")


def _differs(blueprint: Blueprint, container: Container) -> bool:
    same_environment = variables(blueprint.config.get("Env")) == dict(container.environment)
    return not same_environment or resources_of(blueprint.host) != container.resources
