"""The compose stack as the harness sees it from inside: names that Docker's DNS knows, files that volumes hold."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from agents.runbook.opening import runbooks_dsn
from broker.contracts.inventory import Inventory
from broker.errors import SchemaError
from broker.keyring import Keyring
from broker.runtime.settings import Settings, audit_dsn, load_settings
from deploy.status import ProgramStatus, StackStatus, Tier
from harness.errors import RefusedError, StackDownError
from harness.site import Finding, KeyPlace, Progress, Signal, Site
from injector import remote
from injector.collateral import Witness
from injector.errors import world_exit_code
from injector.hand import Hand
from injector.injector import Injector

MONITORING_PORT = 8_222
"""Of every NATS node (`deploy/docker/setup.py`), in the network `control`."""
CHECKPOINTS = Path("/run/triage/audit/audit-checkpoints.jsonl")
"""The auditor's own volume, for reading."""
STATES = {"RESTARTING": "BACKOFF", "CREATED": "STOPPED", "DEAD": "EXITED"}
"""The engine's words that `triage status` has another one for."""


class Containers:
    """The stack around this container."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def _settings(self) -> Settings:
        return load_settings(home=self.home, role="operator")

    async def up(self, *, progress: Progress, schedulers: int | None = None) -> None:
        self._for_the_host("up")

    async def down(self, *, wipe: bool = False) -> None:
        self._for_the_host("down")

    def is_up(self) -> bool:
        """Tell whether the platform has written the inventory: the first thing it does."""
        return self._settings.inventory_file.is_file()

    def site(self) -> Site:
        settings = self._settings
        try:
            inventory = Inventory.decode(settings.inventory_file.read_bytes())
        except (OSError, SchemaError) as error:
            raise StackDownError(
                f"the platform has written no inventory ({settings.inventory_file}); on the host see: docker compose ps"
            ) from error
        return Site(
            inventory=inventory,
            nats_url=settings.nats_url,
            audit_dsn=audit_dsn(settings),
            runbooks_dsn=runbooks_dsn(settings) or "",
            keys=self.keys(),
            checkpoints=CHECKPOINTS,
            monitor_url=f"http://{urlsplit(settings.nats_url).hostname}:{MONITORING_PORT}",
        )

    def keys(self) -> KeyPlace:
        settings = self._settings
        return KeyPlace(settings.keys_file.parent, settings.passphrase_file)

    async def status(self) -> StackStatus:
        rows = await remote.containers(self._settings)
        programs = tuple(
            ProgramStatus(
                name=row.name if row.role else row.service,
                tier=_tier(row.role, row.kind),
                state=STATES.get(row.state.upper(), row.state.upper()),
                pid=row.pid,
                healthy=row.healthy,
                detail=row.detail,
                rss_bytes=row.memory_bytes,
                since=None if row.started_at_us is None else datetime.fromtimestamp(row.started_at_us / 1e6, UTC),
                restarts=row.restarts,
            )
            for row in rows
        )
        started = [program.since for program in programs if program.since is not None]
        return StackStatus(self.home, None, min(started, default=None), programs)

    async def kill(self, name: str, signal: Signal = "KILL") -> None:
        instance = name if name.rpartition("-")[2].isdigit() else f"{name}-1"
        await remote.open_faults(self._settings).kill_role(instance, signal)

    def injector(self) -> Injector:
        self.site()
        return remote.open_injector(self._settings)

    def witness(self) -> Witness:
        return remote.open_witness(self._settings)

    def hand(self) -> Hand:
        self.site()
        return remote.open_hand(self._settings)

    def ring(self) -> Keyring:
        """Return the operator's ring, which holds every channel; the master stays with `setup`."""
        return self.keys().load("operator")

    def changing_keys(self) -> AbstractContextManager[None]:
        self._for_the_host("keys rotate")

    async def begin_rotation(self, *, force: bool = False) -> Keyring:
        self._for_the_host("keys rotate")

    async def finish_rotation(self) -> Keyring:
        self._for_the_host("keys rotate")

    def installed(self) -> list[Finding]:
        return []

    async def running(self) -> list[Finding]:
        try:
            status = await self.status()
        except Exception as error:
            if world_exit_code(error) is None:
                raise
            return [Finding("stack", False, str(error))]
        sick = [program for program in status.programs if not program.healthy]
        detail = "; ".join(f"{program.name} is {program.state}: {program.detail}" for program in sick)
        return [Finding("stack", not sick, detail or f"{len(status.programs)} containers are healthy")]

    def _for_the_host(self, command: str) -> NoReturn:
        raise RefusedError(f"this is a container of the stack; on its host: triage --platform docker {command}")


def _tier(role: str | None, kind: str | None) -> Tier:
    return "role" if role else "shop" if kind else "server"
