"""All links of a stack together: their proxies, and what they do kept on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from services.platform.embedded.world import Link
from services.platform.fault_port import LinkFault
from services.platform.links.model import OK
from services.platform.links.proxy import LinkProxy
from services.platform.links.state import load_faults, save_faults


class LinkBoard:
    """The switchboard behind the admin API."""

    def __init__(self, links: Iterable[Link], state: Path) -> None:
        faults = load_faults(state)
        self._state = state
        self._links = {link.name: link for link in links}
        self._proxies = {
            link.name: LinkProxy(link.name, link.port, link.target_port, faults.get(link.name, OK))
            for link in self._links.values()
        }
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Listen on every link.

        Raises:
            OSError: a port is taken.
        """
        for proxy in self._proxies.values():
            await proxy.start()

    async def set(self, name: str, fault: LinkFault) -> None:
        """Change a link; it is on disk before the traffic feels it, so a crash in between repeats it."""
        async with self._lock:
            proxy = self._proxies[name]
            save_faults(self._state, {n: p.fault for n, p in self._proxies.items()} | {name: fault})
            await proxy.set(fault)

    def table(self) -> list[dict[str, Any]]:
        """Return every link as one flat row."""
        return [
            {
                "name": name,
                "source": link.source,
                "destination": link.destination,
                "port": link.port,
                "target_port": link.target_port,
                "connections": self._proxies[name].connections,
                **asdict(self._proxies[name].fault),
            }
            for name, link in self._links.items()
        ]

    async def close(self) -> None:
        """Close every link."""
        for proxy in self._proxies.values():
            await proxy.close()
