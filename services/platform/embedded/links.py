"""Client of the links' admin API (`services/platform/links`): blocking calls, made in threads by the adapter."""

from __future__ import annotations

import asyncio
import http.client
import json
from dataclasses import asdict
from typing import Any

from services.platform.embedded.world import Link, World
from services.platform.fault_port import LinkFault
from services.platform.links.model import OK
from services.platform.port import PlatformDownError, UnknownWorkloadError, VerbFailedError

HOST = "127.0.0.1"
TIMEOUT_S = 5.0


class LinkClient:
    """Reads and changes what the links of one world do."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def all(self) -> dict[str, LinkFault]:
        """Return what every link does, by link name; empty if this world has no links.

        Raises:
            PlatformDownError: the proxy does not answer.
        """
        if not self._world.links:
            return {}
        body = await asyncio.to_thread(self._call, "GET", "/links", None)
        return {row["name"]: _fault(row) for row in body["links"]}

    async def set(self, link: Link, fault: LinkFault) -> None:
        """Change one link; nothing happens if it does that already.

        Raises:
            PlatformDownError, VerbFailedError.
        """
        await asyncio.to_thread(self._call, "PUT", f"/links/{link.name}", asdict(fault))

    async def heal(self, links: tuple[Link, ...]) -> list[str]:
        """Set links to ok; returns the names of those that were not."""
        now = await self.all()
        broken = [link for link in links if now.get(link.name, OK) != OK]
        for link in broken:
            await self.set(link, OK)
        return [link.name for link in broken]

    def named(self, source: str, destination: str) -> Link:
        """Return a declared link.

        Raises:
            UnknownWorkloadError: no traffic of this direction is declared.
        """
        wanted = f"{source}--{destination}"
        found = next((link for link in self._world.links if link.name == wanted), None)
        if found is None:
            known = ", ".join(link.name for link in self._world.links)
            raise UnknownWorkloadError(f"there is no link {wanted!r}; there are {known}")
        return found

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        connection = http.client.HTTPConnection(HOST, self._world.links_port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body=None if body is None else json.dumps(body))
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise PlatformDownError(
                f"the link proxy on port {self._world.links_port} does not answer: {error}"
            ) from error
        finally:
            connection.close()
        if response.status != 200:
            raise VerbFailedError(f"the link proxy refused {method} {path}: {answer.get('error', response.status)}")
        return answer


def _fault(row: dict[str, Any]) -> LinkFault:
    return LinkFault(row["mode"], row["latency_ms"], row["drop_ratio"], row["seed"])
