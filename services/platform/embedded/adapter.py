"""The platform port over supervisord: processes instead of containers, on one machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from broker.contracts.telemetry import LogLine
from services.platform import health
from services.platform.commands import COMMANDS
from services.platform.embedded import processes
from services.platform.embedded.consumers import restore_consumers
from services.platform.embedded.freezing import freeze, thaw
from services.platform.embedded.grants import restore_grants
from services.platform.embedded.home import Home
from services.platform.embedded.indexes import restore_indexes
from services.platform.embedded.logs import read_lines
from services.platform.embedded.messages import set_aside
from services.platform.embedded.view import View, foreign_processes
from services.platform.embedded.world import Program
from services.platform.ledger import Ledger
from services.platform.port import Effect, VerbFailedError, Workload
from services.platform.verbs import Act, Call, Needed, Verbs, when

ANSWER_TIMEOUT_S = 8.0
"""How long a started workload has until it answers its health check (in whatever words)."""
PROBE_TIMEOUT_S = 0.5
SETTLE_POLL_S = 0.02
AT_START = frozenset({"command", "environment", "limits", "settings"})
"""What a process is given when it starts: only another start gives it back."""

_Call = Call[Program]


class EmbeddedPlatform:
    """Implements `services.platform.port.Platform` for the stack under a home.

    A changing verb has its effect once per key (`services.platform.verbs`)."""

    def __init__(self, home: Path) -> None:
        self._home = Home(home.resolve())
        self._view = View(self._home)
        self._verbs: Verbs[Program] = Verbs(Ledger(self._home.effects), self._home.verb_lock, self._settled)

    async def list(self) -> tuple[Workload, ...]:
        """Return every workload in the order of declaration."""
        return await self._view.workloads()

    async def inspect(self, name: str) -> Workload:
        """Return one workload. A link that is not ok is drift of both its ends, since reconciling either heals it."""
        return await self._view.workload(name)

    async def logs(
        self, name: str, *, since_us: int, until_us: int | None = None, limit: int = 5_000
    ) -> tuple[LogLine, ...]:
        """Return the newest `limit` lines of a span, oldest first. Lines of PostgreSQL, Valkey and NATS keep the time
        and level of their own form; other text is INFO at the time of the line before it."""
        path = self._home.log(self._view.world.program(name).name)
        return await asyncio.to_thread(read_lines, path, name, since_us=since_us, until_us=until_us, limit=limit)

    async def start(self, name: str, *, key: str) -> Effect:
        """Start a workload that does not run, and wait until it answers."""

        async def act(call: _Call) -> str:
            await self._view.supervisor.start(name)
            return await self._until_answering(call.subject, "started")

        return await self._verb(name, "start", key, when(lambda w: w.pid is not None, f"{name} runs already"), act)

    async def stop(self, name: str, *, key: str) -> Effect:
        """Stop a workload, with everything in its process tree."""

        async def act(call: _Call) -> str:
            await self._stop(call.before)
            return f"{name} stopped"

        return await self._verb(name, "stop", key, when(lambda w: w.pid is None, f"{name} does not run"), act)

    async def restart(self, name: str, *, key: str) -> Effect:
        """Stop and start a workload with the environment it has now, drifted or not."""

        def needed(call: _Call) -> str | None:
            return f"{name} was restarted by this order before" if call.restarted_since_intent else None

        async def act(call: _Call) -> str:
            await self._stop(call.before)
            await self._view.supervisor.start(name)
            return await self._until_answering(call.subject, "restarted")

        return await self._verb(name, "restart", key, needed, act)

    async def pause(self, name: str, *, key: str) -> Effect:
        """Freeze a workload with everything in its process tree."""

        async def act(call: _Call) -> str:
            await freeze(name, _pid(call.before))
            return f"{name} paused"

        return await self._verb(name, "pause", key, when(lambda w: w.state == "paused", f"{name} is paused"), act)

    async def resume(self, name: str, *, key: str) -> Effect:
        """Continue a paused workload."""

        async def act(call: _Call) -> str:
            await thaw(name, _pid(call.before))
            return f"{name} resumed"

        return await self._verb(name, "resume", key, when(lambda w: w.state != "paused", f"{name} is not paused"), act)

    async def reconcile(self, name: str, *, key: str) -> Effect:
        """Bring a workload back to its declaration; a paused one is resumed, a stopped one started."""

        def needed(call: _Call) -> str | None:
            w = call.before
            return f"{name} is as declared" if not w.drift and w.state in ("running", "starting") else None

        return await self._verb(name, "reconcile", key, needed, self._reconcile)

    async def exec(self, name: str, command: str, args: dict[str, str], *, key: str) -> Effect:
        """Run a catalogued command.

        All of them are idempotent by nature, so an unfinished one is simply run again.

        Raises:
            VerbFailedError: not in the catalogue, wrong arguments, or the workload did not carry it out.
        """
        entry = COMMANDS.get(command)
        fault = (
            f"there are {', '.join(COMMANDS)}" if entry is None else entry.fault(self._view.world.program(name), args)
        )
        if entry is None or fault is not None:
            raise VerbFailedError(f"{name} cannot run {command[:60]!r}: {fault}")

        async def act(call: _Call) -> str:
            _, sentence = await asyncio.to_thread(entry.run, call.subject, args)
            return sentence

        return await self._verb(name, command, key, lambda call: None, act)

    async def health(self, name: str, timeout_s: float = 2.0) -> tuple[bool, str]:
        """Ask the workload itself; never raises for what the workload does."""
        program = self._view.world.program(name)
        answer = await health.check(program.probe, program.host, program.port, timeout_s)
        return answer.healthy, answer.sentence

    async def effects(self) -> tuple[tuple[str, str, str], ...]:
        """Return (key, workload, verb) of every effect that was begun, oldest first."""
        return await self._verbs.effects()

    # -- carrying out

    async def _verb(self, name: str, verb: str, key: str, needed: Needed[Program], act: Act[Program]) -> Effect:
        program = self._view.world.program(name)
        return await self._verbs.carry_out(program, name, program.managed, verb, key, needed, act)

    async def _settled(self, name: str) -> Workload:
        """Return a workload once its process is past the instant between fork and exec, where nothing can be told."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            workload = await self._view.workload(name)
            if workload.state != "starting" or time.monotonic() > deadline:
                return workload
            await asyncio.sleep(SETTLE_POLL_S)

    async def _reconcile(self, call: _Call) -> str:
        name, before = call.subject.name, call.before
        done: list[str] = []
        if before.state == "paused":
            await thaw(name, _pid(before))
            done.append("resumed")
        done += [f"link {link} healed" for link in await self._view.links.heal(self._view.world.links_of(name))]
        done += await asyncio.to_thread(self._end_foreign, name, before.pid)
        if before.pid is None or any(item.what in AT_START for item in before.drift):
            await self._stop(before)
            await self._view.supervisor.configure(name, call.subject.environment)
            await self._view.supervisor.set_command(name, call.subject.command)
            await self._view.supervisor.start(name)
            done.append(await self._until_answering(call.subject, "started as declared"))
        if any(item.what == "grants" for item in before.drift):
            done += await restore_grants(call.subject)
        if any(item.what == "indexes" for item in before.drift):
            done += await restore_indexes(call.subject)
        if any(item.what == "messages" for item in before.drift):
            done += await set_aside(call.subject)
        if any(item.what == "consumer" for item in before.drift):
            done += await restore_consumers(call.subject)
        await self._require_declared(name)
        return "; ".join(done)

    async def _require_declared(self, name: str) -> None:
        after = await self._settled(name)
        if after.drift or after.state != "running":
            left = ", ".join(item.name for item in after.drift) or "nothing"
            raise VerbFailedError(f"{name} is {after.state} and still differs in {left}")

    def _end_foreign(self, name: str, pid: int | None) -> Sequence[str]:
        foreign = foreign_processes(self._home, name, pid)
        processes.end((p for item in foreign for p in processes.tree(item.pid)), grace_s=0.0)
        return [f"foreign process {item.pid} ended" for item in foreign]

    async def _stop(self, before: Workload) -> None:
        if before.state == "paused":  # a frozen process would not hear SIGTERM
            await thaw(before.name, _pid(before))
        await self._view.supervisor.stop(before.name)

    async def _until_answering(self, program: Program, what: str) -> str:
        """Wait until a started workload answers, also if it says that it is not well: that may be a dependency's fault.

        Raises:
            VerbFailedError: it ended meanwhile.
        """
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            answer = await health.check(program.probe, program.host, program.port, PROBE_TIMEOUT_S)
            if answer.answered:
                return f"{program.name} {what}: {answer.sentence}"
            info = await self._view.supervisor.program(program.name)
            if not info.live:
                raise VerbFailedError(f"{program.name} ended right after it was {what}: {info.detail}; see its log")
            if time.monotonic() > deadline:
                return f"{program.name} {what}, silent so far: {answer.sentence}"
            await asyncio.sleep(0.05)


def _pid(workload: Workload) -> int:
    if workload.pid is None:
        raise VerbFailedError(f"{workload.name} does not run")
    return workload.pid
