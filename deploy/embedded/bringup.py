"""Bringing every program to healthy, in the order that what needs what allows and otherwise all at once.

- the broker, then its streams, then the roles (the auditor and the runbook agent also wait for their databases)
- the shop's servers and links, its database prepared, then its services, then traffic
- the sensors last: what they would see of a shop that is still starting would be taken for an incident
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from agents.runbook.database import let_read as let_read_runbooks
from agents.runbook.database import prepare as prepare_runbooks
from auditor_svc.api import admit_operator, let_read_repaired
from auditor_svc.api import prepare as prepare_audit_store
from broker.jetstream import ensure
from broker.keyring import Keyring
from broker.subjects import ADMIN_USER, BROKER_USERS
from deploy.embedded import postgres
from deploy.embedded.daemon import tail
from deploy.embedded.errors import StartFailedError
from deploy.embedded.keys import role_files
from deploy.embedded.programs import HOST, Plan, Unit
from deploy.keyfiles import ensure_master, ensure_role_files
from deploy.nats.config import server_config, write_config
from deploy.status import Tier
from services.platform import health
from services.platform.embedded.supervisor import ProgramInfo, Supervisor
from services.platform.port import VerbFailedError

Progress = Callable[[str, str], None]
"""Told a program's name and what it does now: `preparing`, `starting`, `healthy`."""

DEADLINE_S = 90.0
PREPARE_TIMEOUT_S = 30.0
PROBE_TIMEOUT_S = 1.0
POLL_S: dict[Tier, float] = {"server": 0.05, "role": 0.2, "shop": 0.2, "page": 0.2}
"""Servers answer within a tenth of a second, Python programs after a second; asking oftener takes their time away."""
WATCH_S = 0.25
MAX_STARTS = 4
"""A program that supervisord had to start this often is not going to come up."""


@dataclass
class BringUp:
    """One run of `up`, once supervisord answers."""

    plan: Plan
    units: tuple[Unit, ...]
    passphrase: str
    environment: Mapping[str, str]
    supervisor: Supervisor
    progress: Progress
    _waiting: set[str] = field(default_factory=set)
    _started: float = field(default_factory=time.monotonic)

    async def run(self) -> None:
        """Return when every program is healthy.

        Raises:
            StartFailedError: one is not, or not in time. KeyringError: the passphrase is wrong.
        """
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch())
                await group.create_task(self._everything())
                watch.cancel()
            await self._page()
        except ExceptionGroup as failed:  # not `except*`: before Python 3.11.4 that wraps what is raised in it
            raise _first(failed) from None

    async def _page(self) -> None:
        """Start the dashboard last, when nobody else needs the processors; whether it comes up, `status` tells."""
        for unit in self.units:
            if unit.tier == "page":
                self.progress(unit.name, "starting")
                with suppress(VerbFailedError):
                    await self.supervisor.begin_start(unit.name)

    async def _everything(self) -> None:
        audit = asyncio.create_task(self._audit_database())
        shop = asyncio.create_task(self._shop())
        try:
            await self._broker()
            late = ("sensors-1", "auditor-1", "runbook-agent-1")
            roles = [unit for unit in self.units if unit.tier == "role" and unit.name not in late]
            await asyncio.gather(
                self._all_healthy(roles),
                self._after(audit, "auditor-1", "runbook-agent-1"),
                self._after(shop, "sensors-1", "loadgen"),
            )
        finally:
            for task in (audit, shop):
                task.cancel()

    async def _after(self, needed: Awaitable[None], *names: str) -> None:
        await needed
        await self._all_healthy([unit for unit in self.units if unit.name in names])

    # -- the control plane

    async def _broker(self) -> None:
        self.progress("keys", "preparing")
        master = await asyncio.to_thread(ensure_master, self.plan.layout.master_keys, self.passphrase)
        await asyncio.to_thread(self._write_broker_config, master)
        self.progress("keys", "healthy")
        files = asyncio.create_task(ensure_role_files(master, role_files(self.plan.layout, self.passphrase)))
        try:
            await self._healthy(self._unit("nats"))
            await ensure(self.plan.nats_url, password=master.broker_password(ADMIN_USER))
            await files
        finally:
            files.cancel()

    def _write_broker_config(self, master: Keyring) -> None:
        folder = self.plan.layout.data("nats")
        text = server_config(
            port=self.plan.port("nats"),
            monitoring_port=self.plan.port("nats-monitoring"),
            store_dir=folder,
            passwords={user: master.broker_password(user) for user in BROKER_USERS},
        )
        write_config(folder / "nats.conf", text)

    async def _audit_database(self) -> None:
        secrets = self.plan.secrets
        await self._cluster("audit-db", secrets.audit_admin_password)
        arguments = (self.plan.port("audit-db"), secrets.audit_admin_password, "auditor", secrets.audit_db_password)
        await asyncio.to_thread(postgres.ensure_database, *arguments)
        # The tables belong to the administrator: the auditor may add rows and nothing else (docs/security.md).
        await prepare_audit_store(self.plan.audit_admin_dsn, "auditor")
        await admit_operator(self.plan.audit_admin_dsn, "operator", secrets.audit_operator_password)
        await prepare_runbooks(self.plan.audit_admin_dsn, "runbooks", secrets.runbooks_db_password)
        await let_read_runbooks(self.plan.audit_admin_dsn, "operator")
        await let_read_repaired(self.plan.audit_admin_dsn, "runbooks")

    async def _cluster(self, name: str, admin_password: str) -> None:
        self.progress(name, "preparing")
        await asyncio.to_thread(postgres.ensure_cluster, self.plan.layout.data(name), admin_password)
        await self._healthy(self._unit(name))

    # -- the shop

    async def _shop(self) -> None:
        servers = [self._unit(name) for name in ("shop-cache", "shop-mq", "links")]
        await asyncio.gather(self._shop_database(), self._all_healthy(servers))
        services = [unit for unit in self.units if unit.tier == "shop" and unit.probe != "traffic"]
        await self._all_healthy(services)

    async def _shop_database(self) -> None:
        await self._cluster("shop-db", self.plan.secrets.shop_admin_password)
        self.progress("shop-db", "preparing")
        await asyncio.to_thread(self._prepare_shop)

    def _prepare_shop(self) -> None:
        secrets = self.plan.secrets
        done = subprocess.run(
            [sys.executable, "-m", "services.shop.prepare"],
            env={
                **self.environment,
                "SHOP_ADMIN_DSN": self.plan.shop_admin_dsn,
                "ORDERS_DB_PASSWORD": secrets.orders_db_password,
                "CATALOG_DB_PASSWORD": secrets.catalog_db_password,
            },
            capture_output=True,
            text=True,
            timeout=PREPARE_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            reason = f"its databases could not be prepared (exit {done.returncode})"
            raise StartFailedError("shop-db", reason, tuple(done.stderr.splitlines()[-10:]))

    # -- one program

    def _unit(self, name: str) -> Unit:
        return next(unit for unit in self.units if unit.name == name)

    async def _all_healthy(self, units: list[Unit]) -> None:
        await asyncio.gather(*(self._healthy(unit) for unit in units))

    async def _healthy(self, unit: Unit) -> None:
        """Start a program and return when it says that it is healthy; `_watch` sees to it that this ends."""
        self.progress(unit.name, "starting")
        await self.supervisor.begin_start(unit.name)
        self._waiting.add(unit.name)
        while True:
            answer = await health.check(unit.probe, HOST, unit.port, PROBE_TIMEOUT_S)
            if answer.healthy:
                break
            if time.monotonic() - self._started > DEADLINE_S:
                raise self._failed(unit.name, f"not healthy after {DEADLINE_S:g} s ({answer.sentence})")
            await asyncio.sleep(POLL_S[unit.tier])
        self._waiting.discard(unit.name)
        self.progress(unit.name, "healthy")

    async def _watch(self) -> None:
        """Notice programs that end while they are waited for.

        Raises:
            StartFailedError: one did, for good.
        """
        while True:
            started = sorted(self._waiting)  # before the look: a later one may not have been started at that time
            infos = await self.supervisor.programs()
            for name in started:
                reason = _lost(infos[name])
                if reason is not None:
                    raise self._failed(name, reason)
            await asyncio.sleep(WATCH_S)

    def _failed(self, name: str, reason: str) -> StartFailedError:
        return StartFailedError(name, reason, tail(self.plan.layout.log(name)))


def _lost(info: ProgramInfo) -> str | None:
    """Return why a program will not come up any more, or None while it may."""
    if not info.live:
        return f"it ended ({info.detail or f'exit status {info.exit_status}'})"
    if info.starts >= MAX_STARTS:
        return f"it ended {info.starts - 1} times"
    return None


def _first(failed: BaseExceptionGroup[Exception]) -> Exception:
    """Return the failure that a person should read: the first, without the cancellations it caused."""
    error: BaseException = failed
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, Exception):
        raise error
    return error


def caller_path() -> str:
    """Return the search path for the stack's programs: that of this Python first."""
    return os.pathsep.join((os.path.dirname(sys.executable), os.defpath))
