"""Taking containers off their networks, or away from their name server."""

from __future__ import annotations

from collections.abc import Sequence

from services.platform.docker.container import Container, Endpoint
from services.platform.docker.netfault import OK
from services.platform.docker.netrules import NAMES
from services.platform.docker.site import Site, all_of, must_run, running_of
from services.platform.fault_port import LinkFault


class DockerNetworks:
    """Implements `services.platform.fault_port.Networks`."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def disconnect(self, name: str) -> None:
        """Take its containers off all their networks while they run."""
        async with self._site.locked(name):
            for container in await all_of(self._site, name):
                for endpoint in container.networks:
                    await self._site.engine.disconnect(container, endpoint.network)

    async def reconnect(self, name: str) -> None:
        """Put its containers back on the declared networks, under the declared names."""
        async with self._site.locked(name):
            for container in await all_of(self._site, name):
                for endpoint in self._missing(container):
                    await self._site.engine.connect(container, endpoint.network, endpoint.aliases)

    async def disconnected(self, name: str) -> tuple[str, ...]:
        """Return the declared networks that any of its containers is not on."""
        found = await all_of(self._site, name)
        missing = [endpoint.network for container in found for endpoint in self._missing(container)]
        return tuple(dict.fromkeys(missing))

    def _missing(self, container: Container) -> Sequence[Endpoint]:
        present = {endpoint.network for endpoint in container.networks}
        return [endpoint for endpoint in self._site.declared(container).networks if endpoint.network not in present]


class DockerNames:
    """Implements `services.platform.fault_port.Names`: rules in the container's network namespace."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def break_names(self, name: str) -> None:
        """Drop what it asks its name server. Connections that stand are not touched."""
        async with self._site.locked(name):
            for container in await must_run(self._site, name):
                await self._site.net.set_names(container, LinkFault("partition"))

    async def restore_names(self, name: str) -> None:
        """Let it ask again."""
        async with self._site.locked(name):
            for container in await running_of(self._site, name):
                await self._site.net.set_names(container, OK)

    async def names_broken(self, name: str) -> bool:
        """Tell whether its questions are dropped."""
        found = await running_of(self._site, name)
        rules = [rule for container in found for rule in await self._site.net.rules(container)]
        return any(rule.destination == NAMES for rule in rules)
