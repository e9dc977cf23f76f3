"""Talking to supervisord: XML-RPC over its Unix socket, in threads, every call with a time limit."""

from __future__ import annotations

import asyncio
import http.client
import shlex
import socket
import time
import xmlrpc.client
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.platform.embedded import processes
from services.platform.port import PlatformDownError, UnknownWorkloadError, VerbFailedError

CALL_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 15.0
"""Longer than supervisord's own wait before it sends SIGKILL (`stopwaitsecs`, 5 s)."""
POLL_S = 0.02

_ALREADY = {"ALREADY_STARTED", "NOT_RUNNING"}
_LIVE = frozenset({"STARTING", "RUNNING", "STOPPING", "BACKOFF"})


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """What supervisord knows of a program."""

    name: str
    state: str
    """STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL or UNKNOWN."""
    pid: int | None
    exit_status: int
    detail: str
    started_s: float
    """Last start, seconds since the epoch; 0.0 if there was none."""
    starts: int
    environment: dict[str, str]
    """The program's own variables at its next start."""
    command: tuple[str, ...] = ()
    """Its command line at its next start."""

    @property
    def live(self) -> bool:
        """Tell whether a process runs or supervisord is about to start one."""
        return self.state in _LIVE


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__()
        self._path = path
        self._timeout_s = timeout_s

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path, self._timeout_s)
        self._connection = (host, connection)  # what Transport.close() closes
        return connection


class Supervisor:
    """The process manager of one stack."""

    def __init__(self, socket_path: Path) -> None:
        self._path = str(socket_path)

    async def programs(self) -> dict[str, ProgramInfo]:
        """Return every program by name.

        Raises:
            PlatformDownError: supervisord does not answer.
        """
        rows = await self._call("triage.programs")
        return {row["name"]: _info(row) for row in rows}

    async def program(self, name: str) -> ProgramInfo:
        """Return one program.

        Raises:
            UnknownWorkloadError, PlatformDownError.
        """
        return _info(await self._call("triage.program", name))

    async def begin_start(self, name: str) -> None:
        """Ask for a start and do not wait; nothing happens if it runs."""
        await self._call("supervisor.startProcess", name, False)

    async def begin_stop(self, name: str) -> None:
        """Ask for a stop and do not wait; nothing happens if it does not run."""
        await self._call("supervisor.stopProcess", name, False)

    async def start_anyhow(self, name: str) -> ProgramInfo:
        """Start a program and wait until its process has replaced supervisord's own image, or has ended.

        Raises:
            VerbFailedError: it cannot be executed.
        """
        await self.begin_start(name)
        await self._until(name, lambda info: info.state not in ("STARTING", "STOPPING"))
        return await self._until(name, lambda info: info.pid is None or is_own_image(name, info.pid))

    async def start(self, name: str) -> ProgramInfo:
        """Start a program and wait until its process exists and has replaced supervisord's own image.

        Raises:
            VerbFailedError: it ended at once or cannot be executed.
        """
        info = await self.start_anyhow(name)
        if info.state != "RUNNING":
            raise VerbFailedError(f"{name} did not start: {info.detail or info.state.lower()}; see its log")
        return info

    async def stop(self, name: str) -> ProgramInfo:
        """Stop a program and wait until it is gone.

        Raises:
            VerbFailedError: it is still there after 15 s.
        """
        await self.begin_stop(name)
        return await self.until_down(name)

    async def until_down(self, name: str) -> ProgramInfo:
        """Wait until a program is not running and is not about to run."""
        return await self._until(name, lambda info: not info.live)

    async def configure(self, name: str, environment: dict[str, str]) -> None:
        """Replace the own environment of a stopped program."""
        await self._call("triage.configure", name, environment)

    async def set_command(self, name: str, command: tuple[str, ...]) -> None:
        """Replace the command line of a stopped program."""
        await self._call("triage.command", name, shlex.join(command))

    async def alive(self) -> bool:
        """Tell whether supervisord answers."""
        try:
            await self._call("supervisor.getState")
        except PlatformDownError:
            return False
        return True

    async def pid(self) -> int:
        """Return supervisord's own process id."""
        return int(await self._call("supervisor.getPID"))

    async def shutdown(self) -> None:
        """Ask supervisord to stop everything and end."""
        await self._call("supervisor.shutdown")

    async def _until(self, name: str, reached: Callable[[ProgramInfo], bool]) -> ProgramInfo:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while not reached(info := await self.program(name)):
            if time.monotonic() > deadline:
                raise VerbFailedError(f"{name} is still {info.state.lower()} after {STOP_TIMEOUT_S:g} s")
            await asyncio.sleep(POLL_S)
        return info

    async def _call(self, method: str, *arguments: Any) -> Any:
        return await asyncio.to_thread(self._call_now, method, arguments)

    def _call_now(self, method: str, arguments: tuple[Any, ...]) -> Any:
        transport = _UnixTransport(self._path, CALL_TIMEOUT_S)
        try:
            with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as server:
                return getattr(server, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            return _raise_fault(fault, arguments)
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise PlatformDownError(
                f"the process manager does not answer on {self._path} ({error}); is the stack up?"
            ) from error


def is_own_image(name: str, pid: int) -> bool:
    """Tell whether a program's process is past the instant between fork and exec, where it still shows supervisord's
    own command line and environment."""
    environment = processes.environment_of(pid)
    return environment is not None and environment.get("SUPERVISOR_PROCESS_NAME") == name


def _raise_fault(fault: xmlrpc.client.Fault, arguments: tuple[Any, ...]) -> None:
    kind, _, detail = fault.faultString.partition(":")
    name = arguments[0] if arguments else detail.strip()
    if kind in _ALREADY:
        return
    if kind == "BAD_NAME":
        raise UnknownWorkloadError(f"the process manager knows no program called {name!r}") from fault
    if kind == "SHUTDOWN_STATE":
        raise PlatformDownError("the stack is going down") from fault
    raise VerbFailedError(f"the process manager refused for {name}: {fault.faultString}") from fault


def _info(row: dict[str, Any]) -> ProgramInfo:
    return ProgramInfo(
        name=row["name"],
        state=row["statename"],
        pid=row["pid"] or None,
        exit_status=row["exitstatus"],
        detail=row["spawnerr"],
        started_s=row["started"],
        starts=row["starts"],
        environment=row["environment"],
        command=tuple(shlex.split(row["command"])),
    )
