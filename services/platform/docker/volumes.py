"""Filling a container's small volume with a foreign file."""

from __future__ import annotations

from services.platform.docker.container import Container
from services.platform.docker.site import Site, must_run, run_tool, running_of
from services.platform.port import VerbFailedError

SMALL_VOLUME = "triage.small_volume"
"""Label with the path, inside the container, of a volume that is small enough to be filled."""
_VOLUME = "/opt/triage/volume.py"


class DockerVolumes:
    """Implements `services.platform.fault_port.Volumes`."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def fill_volume(self, name: str) -> None:
        """Fill the small volume of its first container.

        Raises:
            VerbFailedError: it declares none (label `triage.small_volume`), or that is not small.
        """
        container = (await must_run(self._site, name))[0]
        path = container.labels.get(SMALL_VOLUME)
        if path is None:
            raise VerbFailedError(f"{name} declares no small volume; label it with {SMALL_VOLUME}: <path>")
        await self._volume(container, "fill", path)

    async def free_volume(self, name: str) -> None:
        """Delete the filler; nothing happens if the container does not run: a volume in memory went with it."""
        for container in (await running_of(self._site, name))[:1]:
            if path := container.labels.get(SMALL_VOLUME):
                await self._volume(container, "free", path)

    async def filler(self, name: str) -> int:
        """Return the size of the filler, bytes; 0 if there is none, or no volume."""
        for container in (await running_of(self._site, name))[:1]:
            if path := container.labels.get(SMALL_VOLUME):
                return int(await self._volume(container, "size", path))
        return 0

    async def _volume(self, container: Container, verb: str, path: str) -> str:
        return await run_tool(self._site, container, (_VOLUME, verb, path), caps=("DAC_OVERRIDE",), volumes=True)
