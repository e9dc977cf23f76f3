"""The platform over its proxy, for whoever may not see the engine. The fault port stands in `fault_client.py`, apart.

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
from services.platform.docker.events import FAST, WorkloadEvent
from services.platform.docker.readings import Usage
from services.platform.port import Effect, PlatformDownError, PlatformError, RefusedError, Workload
from services.platform.proxy.wire import PLATFORM_VERBS, ContainerRow, Verb, error_of

__all__ = ["FAST", "Caller", "PlatformError", "RemotePlatform", "WorkloadEvent"]

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
