"""The platform port over the Docker engine: the containers of one compose project."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from broker.contracts.telemetry import LogLine
from broker.runtime.locks import exclusive
from services.platform.commands import COMMANDS
from services.platform.docker import logs
from services.platform.docker.asking import Asker
from services.platform.docker.container import Blueprint, Container, blueprint_of
from services.platform.docker.declaration import Declarations
from services.platform.docker.engine import Engine
from services.platform.docker.labels import Labelled
from services.platform.docker.netfault import NetFaults
from services.platform.docker.readings import Usage
from services.platform.docker.reconciling import Reconciler, as_declared
from services.platform.docker.view import Group, Member, View
from services.platform.ledger import Ledger
from services.platform.port import Effect, VerbFailedError, Workload
from services.platform.verbs import Act, Call, Needed, Verbs, when

SETTLE_TIMEOUT_S = 8.0
SETTLE_POLL_S = 0.05
MAX_TAIL = 20_000
"""The engine looks for the lines of a span among so many of the newest; a log itself has no end."""

_Call = Call[Group]


class DockerPlatform:
    """Implements `services.platform.port.Platform` for one compose project.

    A workload is a compose service; where it has several containers, a verb is carried out on each of them, and the
    workload is as well as the worst of them. A changing verb has its effect once per key (`services.platform.verbs`).
    """

    def __init__(
        self, engine: Engine, store: Path, tool_image: str, *, reachable: frozenset[str] = frozenset()
    ) -> None:
        """
        Args:
            store: folder for the ledger, the declarations and the locks; what must outlive this process.
            tool_image: image of the sidecars.
            reachable: networks on which this process can reach containers; empty: all of them (the engine's host).
        """
        self.engine = engine
        self.tool_image = tool_image
        self.net = NetFaults(engine, tool_image, store)
        self.view = View(engine, Declarations(store), self.net)
        self.store = store
        self._asker = Asker(self.view, reachable)
        self._reconciler = Reconciler(engine, self.view, self.net, self._asker, tool_image)
        (store / "run").mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(store / "effects.jsonl")
        self._verbs: Verbs[Group] = Verbs(self.ledger, self._lock, self._settled)

    async def list(self) -> tuple[Workload, ...]:
        """Return every workload in the order of declaration."""
        return await self.view.workloads()

    async def inspect(self, name: str) -> Workload:
        """Return one workload. A link that is not ok is drift of both its ends, since reconciling either heals it."""
        return await self.view.workload(name)

    async def inventory(self) -> Labelled:
        """Return the devices that the project's labels make."""
        return await self.view.labelled()

    async def logs(
        self, name: str, *, since_us: int, until_us: int | None = None, limit: int = 5_000
    ) -> tuple[LogLine, ...]:
        """Return the newest `limit` lines of a span, oldest first. Lines of PostgreSQL, Valkey and NATS keep the time
        and level of their own form; other text is INFO at the time at which the engine received it. What a removed
        container wrote is gone with it, and so is what lies before its newest `MAX_TAIL` lines or `MAX_LOG_BYTES`."""
        group = await self.view.group(name)
        until = None if until_us is None else until_us + logs.SLACK_US
        tail = limit if until_us is None else MAX_TAIL
        rows = await asyncio.gather(
            *(
                self.engine.logs(member.actual, since_us=since_us - logs.SLACK_US, until_us=until, tail=tail)
                for member in group.members
                if member.actual is not None
            )
        )
        merged = sorted((row for part in rows for row in part), key=lambda row: row[0])
        return await asyncio.to_thread(lambda: logs.newest(logs.read(merged, name), since_us, until_us, limit))

    async def stats(self, name: str) -> Usage:
        """Measure what a workload uses, all its containers together; takes about a second."""
        running = [m.actual for m in (await self.view.group(name)).members if m.actual is not None and m.running]
        found = await asyncio.gather(*(self.engine.stats(item) for item in running))
        limits = [item.memory_limit_bytes for item in found if item.memory_limit_bytes is not None]
        return Usage(
            sum(item.cpu_cores for item in found),
            sum(item.memory_bytes for item in found),
            sum(limits) if limits else None,
            sum(item.processes for item in found),
        )

    async def start(self, name: str, *, key: str) -> Effect:
        """Start a workload that does not run, and wait until it answers. A removed container is made again as it was
        declared."""

        async def act(call: _Call) -> str:
            await self._each(call.subject, self._start)
            return await self._asker.until_answering(name, "started")

        return await self._verb(name, "start", key, when(lambda w: w.pid is not None, f"{name} runs already"), act)

    async def stop(self, name: str, *, key: str) -> Effect:
        """Stop a workload, with everything inside."""

        async def act(call: _Call) -> str:
            await self._each(call.subject, self._stop)
            return f"{name} stopped"

        return await self._verb(name, "stop", key, when(_is_down, f"{name} does not run"), act)

    async def restart(self, name: str, *, key: str) -> Effect:
        """Stop and start a workload with the environment it has now, drifted or not."""

        def needed(call: _Call) -> str | None:
            return f"{name} was restarted by this order before" if call.restarted_since_intent else None

        async def restart(member: Member) -> None:
            await self._stop(member)
            await self._start(Member(member.declared, member.actual and await self.engine.inspect(member.actual)))

        async def act(call: _Call) -> str:
            await self._each(call.subject, restart)
            return await self._asker.until_answering(name, "restarted")

        return await self._verb(name, "restart", key, needed, act)

    async def pause(self, name: str, *, key: str) -> Effect:
        """Freeze a workload with everything inside."""

        async def act(call: _Call) -> str:
            await self._each(call.subject, self._pause)
            return f"{name} paused"

        return await self._verb(name, "pause", key, when(lambda w: w.state == "paused", f"{name} is paused"), act)

    async def resume(self, name: str, *, key: str) -> Effect:
        """Continue a paused workload."""

        async def act(call: _Call) -> str:
            await self._each(call.subject, self._thaw)
            return f"{name} resumed"

        return await self._verb(name, "resume", key, when(lambda w: w.state != "paused", f"{name} is not paused"), act)

    async def reconcile(self, name: str, *, key: str) -> Effect:
        """Bring a workload back to its declaration; a paused one is resumed, a stopped one started, a removed one made
        again. It is made anew only if its image, command, environment or limits drifted."""

        def needed(call: _Call) -> str | None:
            w = call.before
            return f"{name} is as declared" if not w.drift and w.state in ("running", "starting") else None

        async def act(call: _Call) -> str:
            done = await self._reconciler.reconcile(call.subject)
            await self._require_declared(name)
            return done

        return await self._verb(name, "reconcile", key, needed, act)

    async def exec(self, name: str, command: str, args: dict[str, str], *, key: str) -> Effect:
        """Run a catalogued command. All of them are idempotent by nature, so an unfinished one is simply run again.

        Raises:
            VerbFailedError: not in the catalogue, wrong arguments, or the workload did not carry it out.
        """
        server = self._asker.servers(await self.view.group(name))[0]
        entry = COMMANDS.get(command)
        fault = f"there are {', '.join(COMMANDS)}" if entry is None else entry.fault(server, args)
        if entry is None or fault is not None:
            raise VerbFailedError(f"{name} cannot run {command[:60]!r}: {fault}")

        async def act(call: _Call) -> str:
            said = [await asyncio.to_thread(entry.run, item, args) for item in self._asker.servers(call.subject)]
            return "; ".join(dict.fromkeys(sentence for _, sentence in said))

        return await self._verb(name, command, key, lambda call: None, act)

    async def health(self, name: str, timeout_s: float = 2.0) -> tuple[bool, str]:
        """Ask the workload itself; never raises for what the workload does."""
        return await self._asker.health(await self.view.group(name), timeout_s)

    async def effects(self) -> tuple[tuple[str, str, str], ...]:
        """Return (key, workload, verb) of every effect that was begun, oldest first."""
        return await self._verbs.effects()

    # -- for the injector's side of the adapter

    @asynccontextmanager
    async def locked(self, name: str) -> AsyncIterator[None]:
        """Hold a workload's lock: one change at a time, agents' verbs included.

        Raises:
            UnknownWorkloadError, PlatformDownError.
        """
        await self.view.group(name)  # first: the lock is a file of this name
        async with exclusive(self._lock(name)):
            yield

    async def containers(self, name: str) -> tuple[Container, ...]:
        """Return the containers of a workload that exist.

        Raises:
            UnknownWorkloadError, PlatformDownError.
        """
        return tuple(m.actual for m in (await self.view.group(name)).members if m.actual is not None)

    async def group(self, name: str) -> Group:
        """Return a workload with its declarations."""
        return await self.view.group(name)

    def declared(self, container: Container) -> Blueprint:
        """Return what it takes to make a container again as it was declared, with the volumes it has now."""
        found = self.view.declarations.of(container.service).get((container.service, container.number), container)
        return as_declared(found, container)

    # -- carrying out

    def _lock(self, name: str) -> Path:
        return self.store / "run" / f"verb-{name}.lock"

    async def _verb(self, name: str, verb: str, key: str, needed: Needed[Group], act: Act[Group]) -> Effect:
        group = await self.view.group(name)

        async def fresh(call: _Call) -> str:  # the lock may have been long in coming
            return await act(Call(await self.view.group(name), call.before, call.past))

        return await self._verbs.carry_out(group, name, group.managed, verb, key, needed, fresh)

    async def _each(self, group: Group, do: Callable[[Member], Awaitable[object]]) -> None:
        for member in group.members:
            await do(member)

    async def _settled(self, name: str) -> Workload:
        """Return a workload once the engine's restart policy has made up its mind."""
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while True:
            workload = await self.view.workload(name)
            if workload.state != "starting" or time.monotonic() > deadline:
                return workload
            await asyncio.sleep(SETTLE_POLL_S)

    async def _start(self, member: Member) -> None:
        if member.actual is None:
            await self.engine.create(blueprint_of(member.declared.raw))
        elif not member.running:
            await self.engine.start(member.actual)

    async def _stop(self, member: Member) -> None:
        if member.actual is None:
            return
        if member.actual.status == "paused":  # a frozen process would not hear SIGTERM
            await self.engine.unpause(member.actual)
        await self.engine.stop(member.actual)

    async def _pause(self, member: Member) -> None:
        if member.actual is None or not member.running:
            raise VerbFailedError(f"{member.declared.service} does not run")
        if member.actual.status != "paused":
            await self.engine.pause(member.actual)

    async def _thaw(self, member: Member) -> bool:
        if member.actual is None or member.actual.status != "paused":
            return False
        await self.engine.unpause(member.actual)
        return True

    async def _require_declared(self, name: str) -> None:
        after = await self._settled(name)
        if after.drift or after.state != "running":
            left = ", ".join(item.name for item in after.drift) or "nothing"
            raise VerbFailedError(f"{name} is {after.state} and still differs in {left}")


def _is_down(workload: Workload) -> bool:
    return workload.pid is None and workload.state != "starting"
