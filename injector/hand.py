"""A hand that changes the world without a plan: what the cheating planners of `triage scenario validate` act with, and
what puts the world back after them. No agent imports this."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Collection
from pathlib import Path

from broker.contracts.inventory import Inventory, Objective
from services.platform.fault_port import FaultPort
from services.platform.port import Platform, VerbFailedError

NO_PROMISE = Objective(success_ratio=0.0, latency_ms=3_600_000.0)
"""An objective that everything meets."""


class Hand:
    """Acts through the agents' verbs, and where those would refuse, through the injector's.

    Every call may raise the platform's errors; `put_back` is right after any of them.
    """

    def __init__(self, platform: Platform, port: FaultPort, inventory_file: Path) -> None:
        self._platform = platform
        self._port = port
        self._inventory = inventory_file
        self._kept = inventory_file.with_name(inventory_file.name + ".kept")

    async def managed(self) -> tuple[str, ...]:
        """Return the workloads that an agent may change, in the order of declaration."""
        return tuple(workload.name for workload in await self._platform.list() if workload.managed)

    async def stop(self, name: str) -> None:
        """Stop a workload in order, as an agent's verb does."""
        await self._platform.stop(name, key=_key())

    async def restart(self, name: str) -> None:
        """Restart a workload, as an agent's verb does."""
        await self._platform.restart(name, key=_key())

    async def destroy(self, name: str) -> None:
        """End a workload by SIGKILL, so that nobody brings it back. No platform's verb deletes a declaration."""
        await self._port.kill(name)

    async def silence(self, name: str) -> None:
        """Stop what no agent may touch, such as the users' traffic."""
        await self._port.stop(name)

    def loosen(self) -> None:
        """Write an objective that everything meets into the inventory, so that nothing is an alert any more.

        Raises:
            OSError: it cannot be written.
        """
        kept = self._inventory.read_bytes()
        easy = Inventory.decode(kept).model_copy(update={"objective": NO_PROMISE}).encode()
        if not self._kept.exists():
            _write(self._kept, kept, self._inventory)
        _write(self._inventory, easy, self._inventory)

    def tighten(self) -> None:
        """Put the inventory back that `loosen` found, also if that was another process, which died."""
        if self._kept.exists():
            os.replace(self._kept, self._inventory)

    async def idle(self) -> frozenset[str]:
        """Return the workloads that do not run, paused ones among them."""
        return frozenset(workload.name for workload in await self._platform.list() if workload.state != "running")

    async def put_back(self, *, but: Collection[str] = ()) -> tuple[str, ...]:
        """Let everything run again: the inventory as it was, paused workloads continued, stopped ones started.

        Args:
            but: workloads that are left as they are, since it is the fault that keeps them from running.

        Returns:
            A sentence for every workload that could not be let run; all the others run.

        Raises:
            PlatformDownError: there is no world. OSError: the inventory cannot be written.
        """
        await asyncio.to_thread(self.tighten)
        left = []
        for workload in await self._platform.list():
            if workload.state == "running" or workload.name in but:
                continue
            try:
                await (self._port.thaw if workload.state == "paused" else self._port.start)(workload.name)
            except VerbFailedError as error:
                left.append(str(error))
        return tuple(left)


def _key() -> str:
    return f"cheat-{secrets.token_hex(8)}"


def _write(path: Path, data: bytes, like: Path) -> None:
    """Write a file whole or not at all, as readable as another one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(data)
    temporary.chmod(like.stat().st_mode & 0o777)
    os.replace(temporary, path)
