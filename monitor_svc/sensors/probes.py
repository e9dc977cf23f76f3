"""Asking one device over the network, within `PROBE_TIMEOUT_S`. Every way to fail becomes telemetry with a code."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime

import httpx

from broker.bodies import whole
from broker.contracts.inventory import Device, Objective
from broker.contracts.telemetry import Telemetry
from monitor_svc.errors import ProbeError
from monitor_svc.sensors import mapping, protocols
from monitor_svc.sensors.mapping import HttpAnswer, ServerAnswer
from monitor_svc.sensors.protocols import MAX_ANSWER, CacheFacts

PROBE_TIMEOUT_S = 0.8
"""Less than the period, so that a hanging device costs its own sample and nobody else's."""

Dialogue = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[CacheFacts | None]]
DIALOGUES: dict[str, Dialogue] = {
    "postgres": protocols.postgres,
    "valkey": protocols.valkey,
    "nats": protocols.nats,
}


def name_of(error: BaseException) -> str:
    """Return the most telling name of a failure: the errno's where one lies underneath, else the class's."""
    cause: BaseException | None = error
    for _ in range(8):
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno in errno.errorcode:
            return errno.errorcode[cause.errno]
        cause = None if cause is None else cause.__cause__ or cause.__context__
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "TIMEOUT"
    if isinstance(error, EOFError):
        return "ECONNRESET"
    return type(error).__name__


class Prober:
    """Probes devices; holds the HTTP client and the last reading of processor time by device."""

    def __init__(
        self,
        objective: Objective,
        *,
        timeout_s: float = PROBE_TIMEOUT_S,
        explain: Callable[[str, ProbeError], ProbeError] = lambda device, failure: failure,
    ) -> None:
        """
        Args:
            explain: given a device and how its probe failed, returns what is to be said of it.
        """
        self._explain = explain
        self._objective = objective
        self._timeout_s = timeout_s
        self._cpu: dict[str, tuple[float, float]] = {}
        # A connection of its own for every probe: a kept one would hide a device that takes no new ones.
        self._client = httpx.AsyncClient(
            timeout=timeout_s,
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
            verify=False,  # noqa: S501 - plain HTTP; loading certificates would cost memory and start-up time
        )

    async def close(self) -> None:
        """Close the HTTP client."""
        await self._client.aclose()

    async def sample(self, device: Device, at: datetime) -> Telemetry:
        """Return a device's telemetry; whatever happens to the probe is the finding. Raises only cancellation."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._ask(device, at)
        except ProbeError as failure:
            return mapping.of_failure(device, at, self._explain(device.name, failure))
        except Exception as error:
            # Garbage from a device must cost its own sample only, whatever it makes our libraries raise.
            code = name_of(error)
            waited = f" within {self._timeout_s:g} s" if code == "TIMEOUT" else ""
            text = f"{device.name} at {device.host}:{device.port} did not answer its probe{waited}: {code}"
            return mapping.of_failure(device, at, self._explain(device.name, ProbeError(code, text)))

    async def _ask(self, device: Device, at: datetime) -> Telemetry:
        if device.probe == "http":
            return mapping.of_health(device, at, await self._get(device, "/healthz"), self._objective)
        if device.probe == "traffic":
            window = f"/stats?window_s={self._objective.window_s}"
            return mapping.of_stats(device, at, await self._get(device, window), self._objective)
        return mapping.of_server(device, at, await self._talk(device))

    async def _get(self, device: Device, path: str) -> HttpAnswer:
        started = time.perf_counter()
        too_long = ProbeError(mapping.BAD_ANSWER, f"{device.name} answered with more than {MAX_ANSWER} bytes")
        async with self._client.stream("GET", f"http://{device.host}:{device.port}{path}") as response:
            body = await whole(response.aiter_bytes(), MAX_ANSWER, too_long)
        return HttpAnswer(response.status_code, body, (time.perf_counter() - started) * 1_000)

    async def _talk(self, device: Device) -> ServerAnswer:
        started = time.perf_counter()
        reader, writer = await asyncio.open_connection(device.host, device.port, limit=MAX_ANSWER)
        try:
            facts = await DIALOGUES[device.probe](reader, writer)
        finally:
            await _hang_up(writer)
        latency_ms = (time.perf_counter() - started) * 1_000
        if facts is None:
            return ServerAnswer(latency_ms)
        return ServerAnswer(latency_ms, self._cores(device.name, facts.cpu_seconds), facts.mem_usage)

    def _cores(self, name: str, cpu_seconds: float | None) -> float | None:
        """Return the cores in use since the last reading; None the first time, or when the server was restarted."""
        now = time.monotonic()
        before = self._cpu.get(name)
        if cpu_seconds is None:
            return None
        self._cpu[name] = (now, cpu_seconds)
        if before is None or now <= before[0] or cpu_seconds < before[1]:
            return None
        return (cpu_seconds - before[1]) / (now - before[0])


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    """Close without waiting for a peer that may hang."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
