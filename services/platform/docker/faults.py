"""Breaking a world of containers for real: the injector's side of the adapter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from services.platform.docker import lacking
from services.platform.docker.container import Blueprint, Container, blueprint_of, resources_of, variables
from services.platform.docker.engine import Engine
from services.platform.docker.limits import limits_of, resources_with, with_limits
from services.platform.docker.netfault import OK, addresses_of
from services.platform.docker.networks import DockerNames, DockerNetworks
from services.platform.docker.site import Site, all_of, must_run, run_tool, running_of
from services.platform.docker.volumes import DockerVolumes
from services.platform.fault_port import Limits, LinkFault
from services.platform.port import UnknownWorkloadError, VerbFailedError

HOG_MARKER = "triage-hog"
MAX_HOGS = 16
END_DEADLINE_S = 8.0
POLL_S = 0.05
_BURN = ("sh", "-c", "while :; do :; done", HOG_MARKER)
_PROCESSES = "/opt/triage/processes.py"


class DockerFaults:
    """Implements `services.platform.fault_port.FaultPort` for one compose project.

    No state of its own: every question is answered by looking at the world. A workload of several containers is broken
    in all of them. Raises the errors of `services.platform.port`.

    What replaces, starts or stops a container, or sets the rules of a link, holds the workload's lock as agents' verbs
    do. `kill`, `freeze`, `thaw`, `hog` and `unhog` do not, on purpose: a crash or a hang comes in the middle of a
    repair, and one that waited for the repair's end would be another fault than the scenario's. None of them changes
    what a container is made of, so nothing half made is left by two at once. A container that a repair replaces between
    the look and the call makes the call fail; the fault stays noted, and healing it looks anew.
    """

    commands = lacking.COMMANDS
    intruders = lacking.INTRUDERS
    grants = lacking.GRANTS
    indexes = lacking.INDEXES
    messages = lacking.MESSAGES
    consumers = lacking.CONSUMERS

    def __init__(self, site: Site) -> None:
        self._site = site
        self.networks = DockerNetworks(site)
        self.names = DockerNames(site)
        self.volumes = DockerVolumes(site)

    @property
    def _engine(self) -> Engine:
        return self._site.engine

    # -- processes

    async def kill(self, name: str) -> None:
        """SIGKILL. What is killed by hand is not brought back by the engine, whatever its restart policy."""
        for container in await running_of(self._site, name):
            await self._thaw(container)
            await self._engine.kill(container)
            await self._until(container, lambda now: not now.running, "die")

    async def stop(self, name: str) -> None:
        """Stop the workload in order, also if it is frozen."""
        async with self._site.locked(name):
            for container in await running_of(self._site, name):
                await self._thaw(container)
                await self._engine.stop(container)

    async def start(self, name: str) -> None:
        """Start the workload with whatever environment and limits it was given last."""
        async with self._site.locked(name):
            for container in await all_of(self._site, name):
                await self._engine.start(container)

    async def freeze(self, name: str) -> None:
        """Freeze every process of the workload (the kernel's freezer; connections are still accepted)."""
        found = await must_run(self._site, name)
        for container in found:
            if container.status != "paused":
                await self._engine.pause(container)

    async def thaw(self, name: str) -> None:
        """Let it go on; nothing happens if it does not run."""
        for container in await all_of(self._site, name):
            await self._thaw(container)

    async def is_frozen(self, name: str) -> bool:
        """Tell whether all its containers are frozen."""
        return all(container.status == "paused" for container in await all_of(self._site, name))

    async def is_running(self, name: str) -> bool:
        """Tell whether any of its containers runs, frozen or not."""
        return any(container.running for container in await all_of(self._site, name))

    async def hog(self, name: str, processes: int) -> None:
        """Bring the number of CPU burners in each of its containers up to `processes` (1..16). They come in from
        outside (`docker exec`), one by one, so that they are nobody's children inside."""
        if not 1 <= processes <= MAX_HOGS:
            raise VerbFailedError(f"between 1 and {MAX_HOGS} burners, not {processes}")
        for container in await must_run(self._site, name):
            for _ in range(processes - await self._hogs(container)):
                await self._engine.exec(container, _BURN, detach=True)
            await self._until_burning(container, processes)

    async def hogs(self, name: str) -> int:
        """Return how many burners run in its containers."""
        return sum([await self._hogs(container) for container in await running_of(self._site, name)])

    async def unhog(self, name: str) -> None:
        """End all burners in its containers."""
        for container in await running_of(self._site, name):
            if await self._hogs(container):
                await run_tool(self._site, container, (_PROCESSES, HOG_MARKER), caps=("KILL",), namespace_pid=True)

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
        return dict((await must_run(self._site, name))[0].environment)

    async def configured(self, name: str) -> dict[str, str]:
        """Return the environment that its first container was given, running or not."""
        return dict((await all_of(self._site, name))[0].environment)

    async def set_limits(self, name: str, limits: Limits) -> None:
        """Change what its containers may use. The processor's share changes at once; another memory limit stops the
        container and starts it under the limit, where the kernel may kill it within the call: that is no error.

        Raises:
            NotOnThisPlatformError: descriptors.
        """
        if limits.open_files is not None:
            raise lacking.DESCRIPTORS.refusal()
        async with self._site.locked(name):
            for container in await all_of(self._site, name):
                await self._limit(container, limits)

    async def reset_limits(self, name: str) -> None:
        """Recreate its containers with the declared limits; those that run with them already are left alone."""

        def wanted(now: Container) -> Blueprint:
            return blueprint_of(now.raw).with_resources(resources_of(self._site.declared(now).host))

        await self._recreate_all(name, wanted)

    async def limits(self, name: str) -> Limits:
        """Return the limits that its first container has, running or not."""
        return limits_of((await all_of(self._site, name))[0].resources)

    # -- network

    async def set_link(self, source: str, destination: str, fault: LinkFault) -> None:
        """Change what happens to traffic from `source` to `destination`, in the source's network namespace. It lasts
        as long as the source's processes do: a restarted source has a new namespace, without rules.

        Raises:
            UnknownWorkloadError: the source does not declare that it depends on the destination.
        """
        async with self._site.locked(source):
            ends = await self._ends(source, destination)
            running = await running_of(self._site, source) if fault == OK else await must_run(self._site, source)
            for container in running:
                await self._site.net.set(container, ends, fault)

    async def link(self, source: str, destination: str) -> LinkFault:
        """Return what happens to the traffic now. Rules that name addresses which the destination has no longer do
        not count: it was restarted and got others."""
        ends = await self._ends(source, destination)
        for container in await running_of(self._site, source):
            present = set(addresses_of(container, ends))
            for rule in await self._site.net.rules(container):
                if rule.destination == destination and (not present or present & set(rule.addresses)):
                    return rule.fault
        return OK

    # -- inside

    async def _ends(self, source: str, destination: str) -> tuple[Container, ...]:
        """Return the containers of a link's destination."""
        declared = (await all_of(self._site, source))[0].depends_on
        if destination not in declared:
            known = ", ".join(f"{source}--{name}" for name in declared) or "none that begins there"
            raise UnknownWorkloadError(f"there is no link '{source}--{destination}'; there are {known}")
        return await all_of(self._site, destination)

    async def _thaw(self, container: Container) -> None:
        if container.status == "paused":
            await self._engine.unpause(container)

    async def _hogs(self, container: Container) -> int:
        return sum(process.command.endswith(HOG_MARKER) for process in await self._engine.top(container))

    async def _until_burning(self, container: Container, processes: int) -> None:
        """The engine answers for a detached command before the program has begun: whoever counts then counts too few,
        and would start too many the next time."""
        deadline = time.monotonic() + END_DEADLINE_S
        while await self._hogs(container) < processes:
            if time.monotonic() > deadline:
                raise VerbFailedError(f"{container.service}'s burners did not begin within {END_DEADLINE_S:g} s")
            await asyncio.sleep(POLL_S)

    async def _recreate_all(self, name: str, wanted: Callable[[Container], Blueprint]) -> None:
        async with self._site.locked(name):
            for container in await all_of(self._site, name):
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

    async def _until(self, container: Container, reached: Callable[[Container], bool], what: str) -> None:
        deadline = time.monotonic() + END_DEADLINE_S
        while not reached(await self._engine.inspect(container)):
            if time.monotonic() > deadline:
                raise VerbFailedError(f"{container.service} did not {what} within {END_DEADLINE_S:g} s")
            await asyncio.sleep(POLL_S)


def _differs(blueprint: Blueprint, container: Container) -> bool:
    same_environment = variables(blueprint.config.get("Env")) == dict(container.environment)
    return not same_environment or resources_of(blueprint.host) != container.resources
