"""Bringing containers back to their declaration."""

from __future__ import annotations

from services.platform.docker import drift
from services.platform.docker.asking import Asker
from services.platform.docker.container import Blueprint, Container, blueprint_of
from services.platform.docker.engine import Engine
from services.platform.docker.foreign import end_foreign
from services.platform.docker.netfault import NetFaults
from services.platform.docker.view import Group, Member, View


class Reconciler:
    """Reconciles the workloads of one project. Callers hold the workload's lock."""

    def __init__(self, engine: Engine, view: View, net: NetFaults, asker: Asker, tool_image: str) -> None:
        self._engine = engine
        self._view = view
        self._net = net
        self._asker = asker
        self._tool_image = tool_image

    async def reconcile(self, group: Group) -> str:
        """Do what is missing on each container, and heal the links that end at the workload; returns a sentence.

        Raises:
            VerbFailedError: something could not be done.
        """
        done: list[str] = []
        for member in group.members:
            done += await self._member(group.name, member)
        for source in await self._view.sources(group.name):
            done += [f"link {link} healed" for link in await self._net.heal(source, group.name)]
        return "; ".join(dict.fromkeys(done))

    async def _member(self, name: str, member: Member) -> list[str]:
        """A container is made anew only if its image, command, environment or limits drifted."""
        actual = member.actual
        if actual is None:
            await self._engine.create(blueprint_of(member.declared.raw))
            return [await self._asker.until_answering(name, "made again as declared")]
        done: list[str] = []
        if actual.status == "paused":
            await self._engine.unpause(actual)
            done.append("resumed")
        if drift.needs_recreation(drift.of_container(member.declared, actual)):
            blueprint = await self._with_image(as_declared(member.declared, actual), member.declared)
            await self._engine.recreate(await self._engine.inspect(actual), blueprint)
            return [*done, await self._asker.until_answering(name, "started as declared")]
        done += await self._networks(member.declared, actual)
        if not actual.running:
            await self._engine.start(actual)
            return [*done, await self._asker.until_answering(name, "started as declared")]
        done += [f"link {link} healed" for link in await self._net.heal(actual)]
        return [*done, *await self._end_foreign(actual)]

    async def _end_foreign(self, container: Container) -> list[str]:
        if not await self._view.foreign(container):
            return []
        ended = await end_foreign(self._engine, container, self._tool_image)
        return [f"foreign process ended: {command}" for command in ended]

    async def _networks(self, declared: Container, actual: Container) -> list[str]:
        """Bring a container's networks back without making it anew."""
        done: list[str] = []
        should, does = ({item.network: item for item in container.networks} for container in (declared, actual))
        for name, place in should.items():
            if name in does and set(place.aliases) <= set(does[name].aliases):
                continue
            if name in does:
                await self._engine.disconnect(actual, name)
            await self._engine.connect(actual, name, place.aliases)
            done.append(f"connected to {name}")
        for name in does.keys() - should.keys():
            await self._engine.disconnect(actual, name)
            done.append(f"disconnected from {name}")
        return done

    async def _with_image(self, blueprint: Blueprint, declared: Container) -> Blueprint:
        """Name the declared image by its identity where its name has come to mean another one."""
        if await self._engine.image_id(declared.image) == declared.image_id:
            return blueprint
        return blueprint.with_image(declared.image_id)


def as_declared(declared: Container, actual: Container) -> Blueprint:
    """Return the declared blueprint with the volumes that the container has now: its data must outlive it."""
    return blueprint_of(declared.raw).with_volumes_of(blueprint_of(actual.raw))
