"""What the injector's side needs of the docker adapter, and looking its containers up there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.platform.docker.container import Blueprint, Container
from services.platform.docker.engine import Engine
from services.platform.docker.netfault import NetFaults
from services.platform.port import VerbFailedError


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


async def all_of(site: Site, name: str) -> tuple[Container, ...]:
    """Return the containers of a workload, at least one.

    Raises:
        UnknownWorkloadError: there is no such workload. VerbFailedError: it has none.
    """
    found = await site.containers(name)
    if not found:
        raise VerbFailedError(f"{name} has no container; start it first")
    return found


async def running_of(site: Site, name: str) -> tuple[Container, ...]:
    """Return those that run. Raises as `all_of`."""
    return tuple(container for container in await all_of(site, name) if container.running)


async def must_run(site: Site, name: str) -> tuple[Container, ...]:
    """Return those that run, at least one.

    Raises:
        UnknownWorkloadError: there is no such workload. VerbFailedError: none runs.
    """
    found = await running_of(site, name)
    if not found:
        raise VerbFailedError(f"{name} does not run")
    return found


async def run_tool(
    site: Site,
    container: Container,
    command: Sequence[str],
    *,
    caps: Sequence[str],
    namespace_pid: bool = False,
    volumes: bool = False,
) -> str:
    """Run a script of the tool image beside a container; returns what it said.

    Raises:
        VerbFailedError: it failed; with its own words.
    """
    ran = await site.engine.run_sidecar(
        container,
        ["python3", *command],
        image=site.tool_image,
        caps=caps,
        namespace="pid" if namespace_pid else "network",
        volumes=volumes,
    )
    if ran.code != 0:
        raise VerbFailedError(f"{container.service}: {ran.output.strip()[:200]}")
    return ran.output.strip()
