"""Asking containers themselves whether they are well, at the address they have right now."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from broker.contracts.inventory import Probe
from services.platform.docker.container import Container
from services.platform.docker.view import Group, Member, View
from services.platform.health import Health, check
from services.platform.port import VerbFailedError

ANSWER_TIMEOUT_S = 8.0
"""How long a started workload has until it answers its health check (in whatever words)."""
PROBE_TIMEOUT_S = 0.5
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Server:
    """Where a container answers, for a catalogued command."""

    name: str
    probe: Probe
    host: str
    port: int


class Asker:
    """Reaches the containers of one project over the networks that this process is on."""

    def __init__(self, view: View, reachable: frozenset[str]) -> None:
        """
        Args:
            reachable: networks to prefer; empty: any will do (on the engine's own host).
        """
        self._view = view
        self._reachable = reachable

    def servers(self, group: Group) -> list[Server]:
        """Return where each container of a workload answers; one that does not run stands under its name, which leads
        nowhere."""
        device = group.device
        hosts = [self._address(member.actual) or device.host for member in group.members]
        return [Server(device.name, device.probe, host, device.port) for host in hosts]

    async def health(self, group: Group, timeout_s: float) -> tuple[bool, str]:
        """Ask every container of a workload; the worst answer counts."""
        answers = [await self._ask(group, member, timeout_s) for member in group.members]
        worst = next((answer for answer in answers if not answer.healthy), answers[0])
        return worst.healthy, worst.sentence

    async def until_answering(self, name: str, what: str) -> str:
        """Wait until a started workload answers, also if it says that it is not well: that may be a dependency's fault.

        Args:
            what: what was done to it, for the sentence: `started`.

        Raises:
            VerbFailedError: it ended meanwhile, or was removed.
        """
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            group = await self._view.group(name)
            down = next((member for member in group.members if not member.running), None)
            if down is not None and (down.actual is None or down.actual.status != "restarting"):
                raise VerbFailedError(_ended(name, down.actual, what))
            answers = [await self._ask(group, member, PROBE_TIMEOUT_S) for member in group.members]
            silent = next((answer for answer in answers if not answer.answered), None)
            if silent is None:
                return f"{name} {what}: {answers[0].sentence}"
            if time.monotonic() > deadline:
                return f"{name} {what}, silent so far: {silent.sentence}"
            await asyncio.sleep(POLL_S)

    async def _ask(self, group: Group, member: Member, timeout_s: float) -> Health:
        address = self._address(member.actual) if member.running else None
        if address is None:
            return Health(False, False, f"{group.name} does not run")
        return await check(group.probe, address, group.device.port, timeout_s)

    def _address(self, container: Container | None) -> str | None:
        """Return a container's address of the moment: they wander from one to another at restarts."""
        places = [] if container is None else [place for place in container.networks if place.address]
        preferred = [place for place in places if place.network in self._reachable]
        return next((place.address for place in (*preferred, *places)), None)


def _ended(name: str, container: Container | None, what: str) -> str:
    if container is None:
        return f"{name} was removed by somebody else right after it was {what}; `start` makes it again as declared"
    why = "it was killed for want of memory" if container.oom_killed else f"exit code {container.exit_code}"
    return f"{name} ended right after it was {what}: {why}; see its log"
