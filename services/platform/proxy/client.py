"""The platform and the fault port over the platform proxy, for whoever may not see the engine.

Errors come back as what they were. A call that never reached the proxy is tried again; one that did is not: it may
have had its effect, and the caller repeats it with the same key if it wants to know.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import stamina
from pydantic import ValidationError

from broker.contracts.telemetry import LogLine
from broker.errors import SchemaError, SettingsError
from broker.runtime.settings import first_line
from services.platform.docker import lacking
from services.platform.docker.events import FAST, WorkloadEvent
from services.platform.docker.readings import Usage
from services.platform.fault_port import Limits, LinkFault
from services.platform.port import Effect, PlatformDownError, PlatformError, RefusedError, Workload
from services.platform.proxy.policy import FAULT
from services.platform.proxy.wire import FAULT_VERBS, PLATFORM_VERBS, ContainerRow, Signal, Verb, error_of

__all__ = ["FAST", "Caller", "PlatformError", "RemoteFaults", "RemotePlatform", "WorkloadEvent"]

CONNECT_S: Final = 2.0
ANSWER_S: Final = 60.0
"""Longer than any verb takes; orders have their own, shorter time."""
RETRY_S: Final = 5.0
"""How long a call is tried again while nobody listens: the proxy may be starting."""
SILENCE_S: Final = 8.0
"""A stream of events that says nothing for so long, not even that it is there, is dead."""
NEVER_ARRIVED: Final = (httpx.ConnectError, httpx.ConnectTimeout)


class Caller:
    """Makes calls with one token. A connection for each: calls come from different event loops."""

    def __init__(self, url: str, token_file: Path, *, retry_s: float = RETRY_S) -> None:
        self._url = url.rstrip("/")
        self._token_file = token_file
        self._retry_s = retry_s

    async def call(self, verb: Verb, arguments: dict[str, Any]) -> Any:
        """Make a call and return its result.

        Raises:
            PlatformError: what went wrong there, as the same kind; or the arguments are not what the verb takes.
            PlatformDownError: the proxy does not answer, or not in words that are known. RefusedError: the token is
                missing or not known.
        """
        body = verb.written(arguments)
        try:
            async for attempt in stamina.retry_context(
                on=NEVER_ARRIVED, attempts=None, timeout=self._retry_s, wait_initial=0.1, wait_max=1.0
            ):
                with attempt:
                    answer = await self._post(verb.name, body)
        except httpx.HTTPError as error:
            raise self._away(verb.name, error) from error
        if answer.status_code != 200:
            raise self._error(answer)
        try:
            return verb.result.validate_json(answer.content)
        except ValidationError as error:
            raise PlatformDownError(
                f"the platform proxy at {self._url} answers {verb.name} in unknown words"
            ) from error

    async def events(self) -> AsyncIterator[WorkloadEvent]:
        """Follow what happens to workloads, from now on. Ends never but by an error.

        Raises:
            PlatformDownError, RefusedError: as `call`.
        """
        timeout = httpx.Timeout(CONNECT_S, read=SILENCE_S)
        try:
            async with (
                httpx.AsyncClient(timeout=timeout, trust_env=False, verify=False) as client,  # noqa: S501 - plain HTTP
                client.stream("GET", f"{self._url}/v1/events", headers=self._headers()) as answer,
            ):
                if answer.status_code != 200:
                    await answer.aread()
                    raise self._error(answer)
                async for line in answer.aiter_lines():
                    if line:
                        yield WorkloadEvent.decode(line.encode())
        except (httpx.HTTPError, SchemaError) as error:
            raise self._away("events", error) from error
        raise PlatformDownError(f"the platform proxy at {self._url} ended its stream of events")

    async def _post(self, verb: str, body: bytes) -> httpx.Response:
        timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
        async with httpx.AsyncClient(timeout=timeout, trust_env=False, verify=False) as client:  # noqa: S501 - plain HTTP
            return await client.post(f"{self._url}/v1/{verb}", content=body, headers=self._headers())

    def _headers(self) -> dict[str, str]:
        """Read the token anew each time: it may have been changed."""
        try:
            token = first_line(self._token_file, "the token for the platform proxy")
        except SettingsError as error:
            raise RefusedError(str(error)) from error
        return {"authorization": f"Bearer {token}", "content-type": "application/json"}

    def _error(self, answer: httpx.Response) -> Exception:
        try:
            found = error_of(answer.json())
        except ValueError:
            return PlatformDownError(f"the platform proxy at {self._url} answers {answer.status_code} without a reason")
        if isinstance(found, RefusedError) and "does not know this token" in str(found):
            return RefusedError(f"the token in {self._token_file} is not valid: {found}")
        return found

    def _away(self, verb: str, error: Exception) -> PlatformDownError:
        if isinstance(error, NEVER_ARRIVED):
            return PlatformDownError(f"the platform proxy does not answer at {self._url}; is the stack up?")
        what = str(error) or type(error).__name__
        return PlatformDownError(
            f"the platform proxy at {self._url} broke off {verb} ({what}); look before repeating it"
        )


class RemotePlatform:
    """Implements `services.platform.port.Platform` over the proxy."""

    def __init__(self, url: str, token_file: Path, *, retry_s: float = RETRY_S) -> None:
        """
        Args:
            url: address of the proxy, http://host:port.
            token_file: file whose first line is the caller's token.
            retry_s: how long a call is tried again while nobody listens there.
        """
        self._caller = Caller(url, token_file, retry_s=retry_s)

    async def list(self) -> tuple[Workload, ...]:
        """Return every workload in the order of declaration."""
        found: tuple[Workload, ...] = await self._call("list")
        return found

    async def inspect(self, name: str) -> Workload:
        """Return one workload."""
        found: Workload = await self._call("inspect", name=name)
        return found

    async def logs(
        self, name: str, *, since_us: int, until_us: int | None = None, limit: int = 5_000
    ) -> tuple[LogLine, ...]:
        """Return the newest `limit` lines of a span, oldest first."""
        found: tuple[LogLine, ...] = await self._call(
            "logs", name=name, since_us=since_us, until_us=until_us, limit=limit
        )
        return found

    async def stats(self, name: str) -> Usage:
        """Measure what a workload uses; takes about a second."""
        found: Usage = await self._call("stats", name=name)
        return found

    async def start(self, name: str, *, key: str) -> Effect:
        """Start a workload that does not run."""
        return await self._change("start", name=name, key=key)

    async def stop(self, name: str, *, key: str) -> Effect:
        """Stop a workload."""
        return await self._change("stop", name=name, key=key)

    async def restart(self, name: str, *, key: str) -> Effect:
        """Stop and start a workload."""
        return await self._change("restart", name=name, key=key)

    async def pause(self, name: str, *, key: str) -> Effect:
        """Freeze a workload."""
        return await self._change("pause", name=name, key=key)

    async def resume(self, name: str, *, key: str) -> Effect:
        """Continue a paused workload."""
        return await self._change("resume", name=name, key=key)

    async def reconcile(self, name: str, *, key: str) -> Effect:
        """Bring a workload back to its declaration."""
        return await self._change("reconcile", name=name, key=key)

    async def exec(self, name: str, command: str, args: dict[str, str], *, key: str) -> Effect:
        """Run a catalogued command."""
        return await self._change("exec", name=name, command=command, args=args, key=key)

    async def health(self, name: str, timeout_s: float = 2.0) -> tuple[bool, str]:
        """Ask the workload itself."""
        found: tuple[bool, str] = await self._call("health", name=name, timeout_s=timeout_s)
        return found

    async def effects(self) -> tuple[tuple[str, str, str], ...]:
        """Return the ledger of effects."""
        found: tuple[tuple[str, str, str], ...] = await self._call("effects")
        return found

    async def containers(self) -> tuple[ContainerRow, ...]:
        """Return every container of the project, workload or not."""
        found: tuple[ContainerRow, ...] = await self._call("containers")
        return found

    def events(self) -> AsyncIterator[WorkloadEvent]:
        """Follow what happens to workloads, from now on."""
        return self._caller.events()

    async def _change(self, verb: str, **arguments: Any) -> Effect:
        effect: Effect = await self._call(verb, **arguments)
        return effect

    async def _call(self, verb: str, **arguments: Any) -> Any:
        return await self._caller.call(PLATFORM_VERBS[verb], arguments)


class _FaultCalls:
    """Calls of the fault port's verbs."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def _call(self, verb: str, **arguments: Any) -> Any:
        return await self._caller.call(FAULT_VERBS[f"{FAULT}{verb}"], arguments)


class RemoteNetworks(_FaultCalls):
    """Implements `services.platform.fault_port.Networks` over the proxy."""

    async def disconnect(self, name: str) -> None:
        await self._call("disconnect", name=name)

    async def reconnect(self, name: str) -> None:
        await self._call("reconnect", name=name)

    async def disconnected(self, name: str) -> tuple[str, ...]:
        found: tuple[str, ...] = await self._call("disconnected", name=name)
        return found


class RemoteNames(_FaultCalls):
    """Implements `services.platform.fault_port.Names` over the proxy."""

    async def break_names(self, name: str) -> None:
        await self._call("break_names", name=name)

    async def restore_names(self, name: str) -> None:
        await self._call("restore_names", name=name)

    async def names_broken(self, name: str) -> bool:
        return bool(await self._call("names_broken", name=name))


class RemoteVolumes(_FaultCalls):
    """Implements `services.platform.fault_port.Volumes` over the proxy."""

    async def fill_volume(self, name: str) -> None:
        await self._call("fill_volume", name=name)

    async def free_volume(self, name: str) -> None:
        await self._call("free_volume", name=name)

    async def filler(self, name: str) -> int:
        return int(await self._call("filler", name=name))


class RemoteFaults(_FaultCalls):
    """Implements `services.platform.fault_port.FaultPort` over the proxy; only the injector's token opens it."""

    commands = lacking.COMMANDS
    intruders = lacking.INTRUDERS
    grants = lacking.GRANTS

    def __init__(self, url: str, token_file: Path, *, retry_s: float = RETRY_S) -> None:
        """Args: as `RemotePlatform`."""
        super().__init__(Caller(url, token_file, retry_s=retry_s))
        self.networks = RemoteNetworks(self._caller)
        self.names = RemoteNames(self._caller)
        self.volumes = RemoteVolumes(self._caller)

    async def kill_role(self, instance: str, signal: Signal = "KILL") -> None:
        """Signal a container of the control plane; KILL brings it back."""
        await self._call("kill_role", instance=instance, signal=signal)

    async def kill(self, name: str) -> None:
        await self._call("kill", name=name)

    async def stop(self, name: str) -> None:
        await self._call("stop", name=name)

    async def start(self, name: str) -> None:
        await self._call("start", name=name)

    async def freeze(self, name: str) -> None:
        await self._call("freeze", name=name)

    async def thaw(self, name: str) -> None:
        await self._call("thaw", name=name)

    async def set_environment(self, name: str, changes: dict[str, str]) -> None:
        await self._call("set_environment", name=name, changes=changes)

    async def reset_environment(self, name: str) -> None:
        await self._call("reset_environment", name=name)

    async def environment(self, name: str) -> dict[str, str]:
        found: dict[str, str] = await self._call("environment", name=name)
        return found

    async def configured(self, name: str) -> dict[str, str]:
        found: dict[str, str] = await self._call("configured", name=name)
        return found

    async def set_link(self, source: str, destination: str, fault: LinkFault) -> None:
        await self._call("set_link", source=source, destination=destination, fault=fault)

    async def link(self, source: str, destination: str) -> LinkFault:
        found: LinkFault = await self._call("link", source=source, destination=destination)
        return found

    async def hog(self, name: str, processes: int) -> None:
        await self._call("hog", name=name, processes=processes)

    async def hogs(self, name: str) -> int:
        return int(await self._call("hogs", name=name))

    async def unhog(self, name: str) -> None:
        await self._call("unhog", name=name)

    async def is_frozen(self, name: str) -> bool:
        return bool(await self._call("is_frozen", name=name))

    async def is_running(self, name: str) -> bool:
        return bool(await self._call("is_running", name=name))

    async def set_limits(self, name: str, limits: Limits) -> None:
        await self._call("set_limits", name=name, limits=limits)

    async def reset_limits(self, name: str) -> None:
        await self._call("reset_limits", name=name)

    async def limits(self, name: str) -> Limits:
        found: Limits = await self._call("limits", name=name)
        return found
