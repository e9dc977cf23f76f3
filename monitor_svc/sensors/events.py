"""The platform's events as a fast signal: a device that died is looked at now, not at its next tick.

Without a platform that tells events, or while it is away, everything goes on as without this module.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter
from structlog.typing import FilteringBoundLogger

from broker.contracts.inventory import Device, Inventory
from monitor_svc.sensors.fates import Fates
from services.platform.proxy.client import FAST, Caller, PlatformError, WorkloadEvent

FIRST_WAIT_S: Final = 0.5
LAST_WAIT_S: Final = 15.0
CATCH_UP_S: Final = 0.05
"""Events of one death come in a bunch (oom, die, destroy): so long the sample waits for the last word."""


def events_of(url: str, token_file: Path) -> Callable[[], AsyncIterator[WorkloadEvent]]:
    """Return what opens the stream of the platform proxy at `url` with the token in a file."""
    return Caller(url, token_file).events


class EventMetrics:
    """What /metrics shows of the platform's events."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seen = Counter(
            "triage_platform_events_seen_total",
            "Events of the platform, by what happened.",
            ["happening"],
            registry=registry,
        )


class EventFollower:
    """Follows events and has devices sampled. `run` returns never but by cancellation."""

    def __init__(
        self,
        inventory: Inventory,
        events: Callable[[], AsyncIterator[WorkloadEvent]],
        fates: Fates,
        sample: Callable[[Device], Awaitable[None]],
        *,
        registry: CollectorRegistry,
        log: FilteringBoundLogger,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        """
        Args:
            events: opens the stream; it ends by an error.
            sample: takes and publishes one sample of a device; never raises.
            first_wait_s: how long to wait after the first failure; doubles up to LAST_WAIT_S.
        """
        self._inventory = inventory
        self._events = events
        self._fates = fates
        self._sample = sample
        self._log = log.bind(part="events")
        self._first_wait_s = first_wait_s
        self._running: dict[str, asyncio.Task[None]] = {}
        self._seen = EventMetrics(registry).seen

    async def run(self) -> None:
        """Follow until cancelled, through every absence of the platform."""
        wait_s, told = self._first_wait_s, False
        try:
            while True:
                try:
                    async for event in self._events():
                        wait_s, told = self._first_wait_s, False
                        self._take(event)
                except PlatformError as error:
                    if not told:  # once per absence, not once per attempt
                        self._log.warning("platform_events_lost", error=str(error))
                        told = True
                self._fates.forget()
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, LAST_WAIT_S)
        finally:
            for task in self._running.values():
                task.cancel()

    def _take(self, event: WorkloadEvent) -> None:
        self._seen.labels(event.happening).inc()
        device = self._inventory.get(event.name)
        if device is None:
            return
        self._fates.note(event.name, event.happening, event.at_us, event.exit_code)
        if event.happening in FAST and event.name not in self._running:
            task = asyncio.create_task(self._look(device))
            self._running[event.name] = task
            task.add_done_callback(lambda _task: self._running.pop(event.name, None))

    async def _look(self, device: Device) -> None:
        await asyncio.sleep(CATCH_UP_S)
        await self._sample(device)
