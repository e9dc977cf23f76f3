"""The embedded stack: up, down, status. Everything on one machine, no Docker, no root, no network."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from broker.errors import SchemaError
from broker.runtime.locks import try_lock
from deploy.embedded import daemon, ports, servers, status
from deploy.embedded.bringup import BringUp, Progress, caller_path
from deploy.embedded.errors import AlreadyUpError, HomeError, NotUpError, StackError
from deploy.embedded.layout import Layout, layout
from deploy.embedded.programs import Plan, base_environment, units, world
from deploy.embedded.status import StackRecord
from deploy.nats.config import queue_config
from deploy.status import StackStatus
from deploy.vault import ensure_passphrase, ensure_secrets, read_secrets, write_private
from services.inventory.declared import inventory
from services.inventory.ports import DEFAULT_BASE
from services.platform.embedded import processes
from services.platform.embedded.supervisor import Supervisor
from services.platform.port import PlatformDownError

STOP_TIMEOUT_S = 12.0
"""Longer than supervisord's own patience with a program that does not hear SIGTERM (5 s)."""
POLL_S = 0.05
MAY_STAND_BEFORE = frozenset({"triage.toml", "passphrase", "rulebook", "runbooks"})
"""What a person may have put into a home before its first `up`."""


def _quiet(program: str, state: str) -> None:
    """Progress that nobody watches."""


class Stack:
    """One stack under one home directory. `port_base` counts for `up`; `down` and `status` know it from the home."""

    def __init__(self, home: Path, port_base: int = DEFAULT_BASE) -> None:
        self.layout = layout(home)
        self.port_base = port_base
        self._supervisor = Supervisor(self.layout.supervisor_socket)

    async def up(
        self, *, progress: Progress = _quiet, schedulers: int = 1, roles: bool = True, page: bool = False
    ) -> None:
        """Bring everything up; returns when every program that is needed is healthy.

        Args:
            progress: told a program's name and what it does.
            schedulers: 1 or 2.
            roles: False leaves the control plane's roles out: broker, audit store and shop only.
            page: True starts the dashboard last and waits for nothing of it.

        Raises:
            AlreadyUpError, PortInUseError, HomeError, StartFailedError: what was started is stopped again.
            KeyringError: wrong passphrase; likewise.
        """
        if schedulers not in (1, 2):
            raise StackError(f"1 or 2 schedulers, not {schedulers}")
        ports.require_base(self.port_base)
        _make_home(self.layout)
        async with self._changing():
            if await self._supervisor.alive():
                raise AlreadyUpError(self.layout.root)
            await self._clean_up(progress)
            plan = await asyncio.to_thread(self._plan, schedulers, roles, page)
            await self._start(plan, progress)

    async def down(self, *, wipe: bool = False) -> None:
        """Stop everything, also what a dead supervisord left behind; `wipe` then deletes the home with all data.

        Raises:
            NotUpError: nothing is up (and nothing is to be wiped). HomeError: the folder is no home of ours.
        """
        if not self.layout.marker.exists():
            raise NotUpError(self.layout.root)
        async with self._changing():
            was_up = await self._tear_down()
            if wipe:
                await asyncio.to_thread(shutil.rmtree, self.layout.root)
            elif not was_up:
                raise NotUpError(self.layout.root)

    async def status(self) -> StackStatus:
        """Return the state of every program, each asked for its health.

        Raises:
            NotUpError: nothing is up.
        """
        try:
            record = StackRecord.decode(self.layout.stack.read_bytes())
            infos = await self._supervisor.programs()
        except (OSError, SchemaError, PlatformDownError) as error:
            raise NotUpError(self.layout.root) from error
        secrets = read_secrets(self.layout.secrets)
        plan = Plan(self.layout, record.port_base, secrets, record.schedulers, record.roles, page=record.page)
        return StackStatus(
            home=self.layout.root,
            port_base=record.port_base,
            since=datetime.fromtimestamp(record.since_us / 1_000_000, UTC),
            programs=(await status.supervisor(record), *await status.look(units(plan), infos)),
            dashboard=plan.dashboard_url if record.page else None,
        )

    async def alive(self) -> bool:
        """Tell whether a stack is up here, healthy or not."""
        return await self._supervisor.alive()

    async def kill(self, name: str, signal_name: Literal["KILL", "STOP"] = "KILL") -> int:
        """Signal one program's process tree and return its pid. Killed programs of the control plane are started again
        by supervisord, the shop's stay down; a stopped one hangs until it is killed.

        Raises:
            NotUpError, StackError: nothing is up, or it does not run.
        """
        try:
            info = (await self._supervisor.programs()).get(name)
        except PlatformDownError as error:
            raise NotUpError(self.layout.root) from error
        if info is None or info.pid is None:
            raise StackError(f"{name} does not run; see `triage status`")
        await asyncio.to_thread(processes.signal_tree, info.pid, signal.Signals[f"SIG{signal_name}"])
        return info.pid

    # -- going up

    def _plan(self, schedulers: int, roles: bool, page: bool) -> Plan:
        """Check the ports and write every file that can be written before anything runs."""
        home = self.layout
        secrets = ensure_secrets(home.secrets)
        plan = Plan(home, self.port_base, secrets, schedulers, roles, dict(os.environ), page)
        ports.require_free(units(plan))
        write_private(home.inventory, inventory(plan.port_base, secrets.model_dump()).encode())
        world(plan, self._environment()).save(home.world)
        mq, cache = home.data("shop-mq"), home.data("shop-cache")
        text = queue_config(port=plan.port("shop-mq"), monitoring_port=plan.port("shop-mq-monitoring"), store=mq)
        write_private(mq / "nats.conf", text.encode())
        write_private(cache / "valkey.conf", servers.valkey_config(plan.port("shop-cache"), cache).encode())
        text = daemon.render_config(home, (unit.section for unit in units(plan)))
        write_private(home.supervisor_config, text.encode())
        return plan

    async def _start(self, plan: Plan, progress: Progress) -> None:
        passphrase = ensure_passphrase(self.layout.passphrase)
        try:
            await asyncio.to_thread(daemon.start_supervisord, self.layout, self._environment())
            await self._write_record(plan)
            await BringUp(plan, units(plan), passphrase, self._environment(), self._supervisor, progress).run()
        except BaseException:  # also when the caller gives up: nothing half up is left behind
            await asyncio.shield(self._tear_down())
            raise

    async def _write_record(self, plan: Plan) -> None:
        record = StackRecord(
            port_base=plan.port_base,
            schedulers=plan.schedulers,
            roles=plan.roles,
            page=plan.page,
            supervisord_pid=await self._supervisor.pid(),
            since_us=time.time_ns() // 1_000,
        )
        write_private(self.layout.stack, record.encode())

    def _environment(self) -> dict[str, str]:
        user_home = os.path.expanduser("~")
        return base_environment(self.layout, caller_path(), user_home, os.environ.get("PYTHONPATH"))

    # -- going down

    async def _tear_down(self) -> bool:
        """Stop whatever runs of this stack; tell whether anything did."""
        was_up = await self._stop_all()
        ended = await asyncio.to_thread(daemon.end_leftovers, self.layout)
        self._forget()
        return was_up or ended > 0

    async def _stop_all(self) -> bool:
        try:
            supervisord = processes.tree(await self._supervisor.pid())[:1]
            for wave in _waves(await self._supervisor.programs()):
                await self._stop_wave(wave)
            await self._supervisor.shutdown()
        except PlatformDownError:
            return False
        await self._until_silent()
        await asyncio.to_thread(processes.wait_gone, supervisord, STOP_TIMEOUT_S)
        return True

    async def _until_silent(self) -> None:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < deadline:
            if not await self._supervisor.alive():  # the question wakes supervisord, which else sleeps for a second
                break
            await asyncio.sleep(POLL_S)

    async def _stop_wave(self, names: Iterable[str]) -> None:
        waiting = set(names)
        infos = await self._supervisor.programs()
        for name in waiting:
            if (pid := infos[name].pid) is not None:  # a frozen process would not hear SIGTERM
                await asyncio.to_thread(processes.signal_tree, pid, signal.SIGCONT)
            await self._supervisor.begin_stop(name)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < deadline:
            infos = await self._supervisor.programs()
            if not any(infos[name].live for name in waiting):
                return
            await asyncio.sleep(POLL_S)

    async def _clean_up(self, progress: Progress) -> None:
        """End what a dead supervisord left running, and forget its run."""
        found = await asyncio.to_thread(daemon.end_leftovers, self.layout)
        if found:
            progress("leftovers", f"{found} processes of an earlier stack ended")
        self._forget()

    def _forget(self) -> None:
        self.layout.stack.unlink(missing_ok=True)
        for entry in self.layout.run.iterdir():
            entry.unlink()

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        """Be the only one who brings this stack up or down.

        Raises:
            AlreadyUpError: another one is doing so.
        """
        descriptor = os.open(self.layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not try_lock(descriptor):
                raise AlreadyUpError(self.layout.root, "going up or down")
            yield
        finally:
            os.close(descriptor)


def _waves(names: Iterable[str]) -> tuple[list[str], ...]:
    """Group programs in the order they are stopped: who watches and sends traffic first, servers last, so that nobody
    takes the way down for an incident."""
    first = {"sensors-1", "loadgen", "monitor-1"}
    last = {"nats", "audit-db", "shop-db", "shop-cache", "shop-mq", "links"}
    known = list(names)
    return (
        [name for name in known if name in first],
        [name for name in known if name not in first | last],
        [name for name in known if name in last],
    )


def _make_home(home: Layout) -> None:
    """Make the folders of a home.

    Raises:
        HomeError: it cannot be written, or the folder holds something else.
    """
    try:
        home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        strangers = {entry.name for entry in home.root.iterdir()} - MAY_STAND_BEFORE
        if strangers and not home.marker.exists():
            raise HomeError(
                f"{home.root} holds other files ({sorted(strangers)[0]}); set TRIAGE_HOME to a folder of its own"
            )
        home.marker.touch(mode=0o600)
        for folder in home.folders():
            folder.mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise HomeError(f"the home directory {home.root} cannot be used: {error.strerror}; set TRIAGE_HOME") from error
