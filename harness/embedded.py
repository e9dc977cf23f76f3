"""The embedded stack as the harness sees it: processes under one home directory of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from broker import keyring
from broker.contracts.inventory import Inventory
from broker.errors import SchemaError
from broker.keyring import Keyring
from broker.runtime.settings import load_settings
from dashboard.built import NOT_BUILT, is_built
from deploy.embedded import keys, postgres, servers
from deploy.embedded.errors import StackError
from deploy.embedded.layout import layout
from deploy.embedded.programs import DASHBOARD, Plan
from deploy.embedded.stack import Stack
from deploy.embedded.status import StackRecord
from deploy.sockets import is_free
from deploy.status import StackStatus
from deploy.vault import read_secrets
from harness.errors import StackDownError
from harness.site import Finding, KeyPlace, Progress, Signal, Site
from injector.collateral import Witness
from injector.embedded import open_hand, open_injector, open_witness
from injector.hand import Hand
from injector.injector import Injector
from planner_svc.rulebook_files import load
from services.inventory.declared import HOST
from services.inventory.ports import OFFSETS, port


class Embedded:
    """The stack under `home`. `port_base` counts for `up`; the rest knows it from the home."""

    def __init__(self, home: Path, port_base: int) -> None:
        self.home = home
        self._port_base = port_base

    @property
    def _stack(self) -> Stack:
        return Stack(self.home, self._port_base)

    async def up(self, *, progress: Progress, schedulers: int | None = None) -> None:
        # With a wrong rule the planner would not start: said before anything is started.
        load(load_settings(role="planner", home=self.home).rulebook_dir)
        await self._stack.up(progress=progress, schedulers=schedulers or 1, page=True)

    async def down(self, *, wipe: bool = False) -> None:
        await self._stack.down(wipe=wipe)

    def is_up(self) -> bool:
        """Tell whether a stack was brought up and its process manager still lives."""
        try:
            record = StackRecord.decode(layout(self.home).stack.read_bytes())
            os.kill(record.supervisord_pid, 0)
        except (OSError, SchemaError):
            return False
        return True

    def site(self) -> Site:
        place = layout(self.home)
        try:
            record = StackRecord.decode(place.stack.read_bytes())
            inventory = Inventory.decode(place.inventory.read_bytes())
        except (OSError, SchemaError) as error:
            raise StackDownError(f"no stack is up under {self.home}; start one with: triage up") from error
        plan = Plan(place, record.port_base, read_secrets(place.secrets), record.schedulers, record.roles)
        return Site(
            inventory=inventory,
            nats_url=f"nats://{HOST}:{port(record.port_base, 'nats')}",
            audit_dsn=plan.audit_operator_dsn,
            runbooks_dsn=plan.runbooks_operator_dsn,
            keys=self.keys(),
            checkpoints=place.root / "audit-checkpoints.jsonl",
            monitor_url=f"http://{HOST}:{port(record.port_base, 'nats-monitoring')}",
        )

    def keys(self) -> KeyPlace:
        place = layout(self.home)
        return KeyPlace(place.keys, place.passphrase)

    async def status(self) -> StackStatus:
        return await self._stack.status()

    async def kill(self, name: str, signal: Signal = "KILL") -> None:
        await self._stack.kill(name, signal)

    def injector(self) -> Injector:
        self.site()
        if not self.is_up():
            raise StackDownError(
                f"the stack under {self.home} ended without `triage down`; start it again with: triage up"
            )
        return open_injector(self.home)

    def witness(self) -> Witness:
        return open_witness(self.home)

    def hand(self) -> Hand:
        self.site()
        return open_hand(self.home)

    def ring(self) -> Keyring:
        return keyring.load(self._master(), self.keys().passphrase())

    def changing_keys(self) -> AbstractContextManager[None]:
        self._master()
        return keys.changing_keys(layout(self.home))

    async def begin_rotation(self, *, force: bool = False) -> Keyring:
        return await keys.begin(layout(self.home), self.keys().passphrase(), force=force)

    async def finish_rotation(self) -> Keyring:
        return await keys.finish(layout(self.home), self.keys().passphrase())

    def _master(self) -> Path:
        place = layout(self.home)
        if not place.master_keys.exists():
            raise StackDownError(f"there are no keys under {place.root}; make them and a stack with: triage up")
        return place.master_keys

    def installed(self) -> list[Finding]:
        wanted: tuple[tuple[str, Callable[[], str]], ...] = (
            ("nats-server", lambda: servers.nats_command(Path("x"))[0]),
            ("postgres", lambda: str(postgres.binary("postgres"))),
            ("valkey-server", lambda: servers.valkey_command(Path("x"))[0]),
        )
        return [_binary(name, locate) for name, locate in wanted]

    async def running(self) -> list[Finding]:
        return await self._programs() if self.is_up() else [_ports(self._port_base)]

    async def _programs(self) -> list[Finding]:
        try:
            status = await self.status()
        except StackError as error:
            return [Finding("stack", False, str(error))]
        sick = [program for program in status.needed if not program.healthy]
        detail = "; ".join(f"{program.name} is {program.state}: {program.detail}" for program in sick)
        return [Finding("stack", not sick, detail or f"{len(status.needed)} programs are healthy"), *_page(status)]


def _binary(name: str, locate: Callable[[], str]) -> Finding:
    try:
        path = locate()
        return Finding(name, os.access(path, os.X_OK), path)
    except (StackError, OSError, ImportError) as error:
        return Finding(name, False, f"{error}; install the packages of requirements.lock")


def _page(status: StackStatus) -> list[Finding]:
    page = status.program(DASHBOARD)
    if page is None or status.dashboard is None:
        return []
    if not page.healthy:
        detail = f"it is {page.state}: {page.detail}; see logs/{DASHBOARD}.log in the home"
        return [Finding(DASHBOARD, False, detail, required=False)]
    detail = status.dashboard if is_built() else f"{status.dashboard}; {NOT_BUILT}"
    return [Finding(DASHBOARD, is_built(), detail, required=False)]


def _ports(base: int) -> Finding:
    wanted = {name: offset for name, offset in OFFSETS.items() if name != DASHBOARD}  # which waits for its own
    taken = [(name, base + offset) for name, offset in wanted.items() if not is_free(base + offset)]
    if not taken:
        return Finding("ports", True, f"{base}..{base + max(OFFSETS.values())} are free")
    name, number = taken[0]
    return Finding("ports", False, f"port {number} ({name}) is in use; set TRIAGE_PORT_BASE to another first port")
