"""Looking at workloads: the declarations, the engine's word and the links', put together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from broker.contracts.inventory import Device, Probe
from services.platform.docker import drift
from services.platform.docker.connection import ContainerGoneError
from services.platform.docker.container import Container
from services.platform.docker.declaration import Declarations
from services.platform.docker.engine import Engine
from services.platform.docker.labels import Labelled, device_of, read_labels
from services.platform.docker.netfault import NetFaults, NetRule
from services.platform.docker.readings import Process, foreign
from services.platform.port import Drift, PlatformDownError, State, UnknownWorkloadError, Workload

WELL_ENDED = frozenset({0, 129, 130, 143})
"""Exit codes of a program that was asked to end: by itself, SIGHUP, SIGINT, SIGTERM."""
SECOND_LOOK_S = 0.05
_WORST: tuple[State, ...] = ("failed", "stopped", "paused", "starting", "running")


@dataclass(frozen=True, slots=True)
class Member:
    """One container of a workload. `actual` is None if it was removed."""

    declared: Container
    actual: Container | None

    @property
    def running(self) -> bool:
        return self.actual is not None and self.actual.running


@dataclass(frozen=True, slots=True)
class Group:
    """One workload: the containers of a compose service that carries `triage.kind`."""

    device: Device
    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        return self.device.name

    @property
    def managed(self) -> bool:
        return self.device.managed

    @property
    def probe(self) -> Probe:
        return self.device.probe


class View:
    """Read access to one project."""

    def __init__(self, engine: Engine, declarations: Declarations, net: NetFaults) -> None:
        self.engine = engine
        self.declarations = declarations
        self.net = net

    async def labelled(self) -> Labelled:
        """Return the inventory that the project's labels make, removed containers included."""
        return read_labels(item for group in (await self._look()).values() for item in _declared(group))

    async def groups(self) -> tuple[Group, ...]:
        """Return every workload in the order of declaration.

        Raises:
            PlatformDownError: no engine, or no container of this project is a workload.
        """
        members = await self._look()
        devices = read_labels(item for group in members.values() for item in _declared(group)).inventory.devices
        if not devices:
            raise PlatformDownError(
                f"no stack has been brought up: no container of the compose project {self.engine.project!r} "
                "carries the label triage.kind"
            )
        return tuple(Group(device, tuple(members[device.name])) for device in devices)

    async def group(self, name: str) -> Group:
        """Return one workload.

        Raises:
            UnknownWorkloadError, PlatformDownError.
        """
        found = await self.engine.find(name)
        members = _members(found, await asyncio.to_thread(self._declared_of, name, found)).get(name)
        device = device_of(members[0].declared) if members else None
        if members and isinstance(device, Device):
            return Group(device, tuple(members))
        known = ", ".join(group.name for group in await self.groups())
        raise UnknownWorkloadError(f"no workload is called {name[:80]!r}; there are {known}")

    async def workloads(self) -> tuple[Workload, ...]:
        """Return every workload as it is, in the order of declaration."""
        groups = await self.groups()
        return tuple(await asyncio.gather(*(self.workload_of(group, groups) for group in groups)))

    async def workload(self, name: str) -> Workload:
        """Return one workload as it is.

        Raises:
            UnknownWorkloadError, PlatformDownError.
        """
        return await self.workload_of(await self.group(name))

    async def workload_of(self, group: Group, groups: Sequence[Group] | None = None) -> Workload:
        """Put together what is known of a workload."""
        rules, parts = await asyncio.gather(
            self._rules(group, groups), asyncio.gather(*(self._member_drift(member) for member in group.members))
        )
        found = [*(item for part in parts for item in part), *drift.of_links(rules)]
        return _workload(group, found, self._restarts(group))

    async def sources(self, name: str, groups: Sequence[Group] | None = None) -> tuple[Container, ...]:
        """Return the running containers whose traffic to a workload may be tampered with: those that depend on it."""
        if groups is None:
            dependents = {item.service for item in self.declarations.all().values() if name in item.depends_on}
            found = await asyncio.gather(*(self.engine.find(service) for service in sorted(dependents)))
            return tuple(item for items in found for item in items if item.running)
        members = (member for group in groups if name in group.device.depends_on for member in group.members)
        return tuple(member.actual for member in members if member.actual is not None and member.actual.running)

    # -- inside

    def _declared_of(self, name: str, found: Sequence[Container]) -> dict[tuple[str, int], Container]:
        self.declarations.adopt(found)
        return self.declarations.of(name)

    async def _look(self) -> dict[str, list[Member]]:
        found = [item for item in await self.engine.containers() if item.kind]
        await asyncio.to_thread(self.declarations.adopt, found)
        return _members(found, self.declarations.all())

    async def _rules(self, group: Group, groups: Sequence[Group] | None) -> tuple[NetRule, ...]:
        own = [member.actual for member in group.members if member.actual is not None]
        others = await self.sources(group.name, groups)
        mine, towards = await asyncio.gather(self._rules_of(own), self._rules_of(others))
        found = (*mine, *(rule for rule in towards if rule.destination == group.name))
        return tuple({rule.link: rule for rule in found}.values())

    async def _rules_of(self, containers: Iterable[Container]) -> list[NetRule]:
        found = await asyncio.gather(*(self._rules_in(item) for item in containers))
        return [rule for rules in found for rule in rules]

    async def _rules_in(self, container: Container) -> tuple[NetRule, ...]:
        try:
            return await self.net.rules(container)
        except ContainerGoneError:
            return ()

    async def _member_drift(self, member: Member) -> list[Drift]:
        if member.actual is None:
            return drift.removed(member.declared)
        return [
            *drift.of_container(member.declared, member.actual),
            *drift.of_processes(await self.foreign(member.actual)),
        ]

    async def foreign(self, container: Container) -> Sequence[Process]:
        """Return the processes inside a container that it did not start itself.

        Whatever is found is looked at twice: between fork and exec a health check of the engine looks like anything.
        """
        first = await self._brought_in(container)
        if not first:
            return ()
        await asyncio.sleep(SECOND_LOOK_S)
        return [item for item in await self._brought_in(container) if item in first]

    async def _brought_in(self, container: Container) -> Sequence[Process]:
        if container.pid is None:
            return ()
        try:
            return foreign(await self.engine.top(container), container.pid, container.health_command)
        except ContainerGoneError:
            return ()

    def _restarts(self, group: Group) -> int:
        starts = self.declarations.starts()
        keys = ((member.declared.service, member.declared.number) for member in group.members)
        return sum(starts[key].restarts for key in keys if key in starts)


def _declared(members: Iterable[Member]) -> Iterable[Container]:
    return (member.declared for member in members)


def _members(found: Iterable[Container], declared: dict[tuple[str, int], Container]) -> dict[str, list[Member]]:
    """Pair containers with their declarations. A removed one is remembered only if it was the last of its service:
    else it may as well have been scaled away."""
    groups: dict[str, list[Member]] = {}
    for item in found:
        groups.setdefault(item.service, []).append(Member(declared.get((item.service, item.number), item), item))
    gone: dict[str, list[Member]] = {}
    for (service, _), item in sorted(declared.items()):
        if service not in groups:
            gone.setdefault(service, []).append(Member(item, None))
    return groups | {service: members[:1] for service, members in gone.items()}


def _workload(group: Group, found: Sequence[Drift], restarts: int) -> Workload:
    actual = [member.actual for member in group.members]
    running = all(item is not None and item.running for item in actual)
    starts = [item.started_at_us for item in actual if item is not None and item.started_at_us is not None]
    first = actual[0]
    return Workload(
        name=group.name,
        managed=group.managed,
        state=min((state_of(item) for item in actual), key=_WORST.index),
        pid=first.pid if running and first is not None else None,
        started_at_us=min(starts) if running and starts else None,
        restarts=restarts,
        drift=tuple(found),
    )


def state_of(container: Container | None) -> State:
    """Return a container's state in the words of the port."""
    if container is None or container.status in ("created", "removing"):
        return "stopped"
    if container.status == "exited":
        return "stopped" if container.exit_code in WELL_ENDED and not container.oom_killed else "failed"
    return {"running": "running", "paused": "paused", "restarting": "starting"}.get(container.status, "failed")  # type: ignore[return-value]
