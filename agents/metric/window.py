"""Telemetry of the last minutes, from the journal: the source that is always there.

Followed lazily: an agent that is never asked costs nothing. Start-up reads only what lies shortly before the first
order, not the whole journal.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import Iterator

from agents.errors import SourceError, WorkError
from agents.metric.analysis import Sample
from agents.metric.source import BASELINE_US, Question, Series, SourceName
from broker.contracts.telemetry import Telemetry
from broker.errors import Refusal
from broker.gate import Gate
from broker.port import Broker, CaughtUp
from broker.tasks import end

PATTERN = "triage.telemetry.>"
LOOK_BEHIND = 12_000
"""Journal sequences before the first order that are read: about twenty minutes of a shop of nine devices."""
SAMPLES_PER_DEVICE = 1_200
CATCH_UP_TIMEOUT_S = 8.0
SLACK_US = 2_000_000
"""Telemetry taken shortly after the order still belongs to it."""


class TelemetryWindow:
    """Bounded history of every device, kept up to date in the background once `follow` was called."""

    def __init__(self, broker: Broker, gate: Gate) -> None:
        self._broker = broker
        self._gate = gate
        self._history: dict[str, deque[tuple[int, Telemetry]]] = defaultdict(lambda: deque(maxlen=SAMPLES_PER_DEVICE))
        self._task: asyncio.Task[None] | None = None
        self._caught_up = asyncio.Event()

    async def follow(self, seq: int) -> None:
        """Make sure that telemetry up to about sequence `seq` has been read.

        Raises:
            WorkError: the journal could not be read in time.
        """
        if self._task is None or self._task.done():
            self._caught_up.clear()
            self._task = asyncio.create_task(self._read(max(1, seq - LOOK_BEHIND)))
        try:
            async with asyncio.timeout(CATCH_UP_TIMEOUT_S):
                await self._caught_up.wait()
        except TimeoutError as error:
            raise WorkError("the telemetry in the journal could not be read in time") from error

    async def _read(self, start: int) -> None:
        async for item in self._broker.read(start, PATTERN):
            if isinstance(item, CaughtUp):
                self._caught_up.set()
                continue
            with contextlib.suppress(Refusal):  # counted by the gate; the auditor names it
                message = self._gate.admit(item).message
                if isinstance(message, Telemetry):
                    self._history[message.device_id].append((item.time_us, message))

    def samples(self, device: str, metric: str, since_us: int, until_us: int) -> list[Sample]:
        """Return the measured values of a metric in [since_us, until_us), oldest first."""
        return list(self._values(device, metric, since_us, until_us))

    def _values(self, device: str, metric: str, since_us: int, until_us: int) -> Iterator[Sample]:
        for time_us, message in self._history.get(device, ()):
            value = getattr(message.metrics, metric)
            if since_us <= time_us < until_us and value is not None:
                yield Sample(time_us, value)

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            await end(self._task)


class JournalSource:
    """The journal's telemetry as a source: one sample a second, of about the last twenty minutes."""

    name: SourceName = "journal"

    def __init__(self, window: TelemetryWindow) -> None:
        self._window = window

    async def series(self, question: Question) -> Series:
        """Return what the sensors measured.

        Raises:
            SourceError: nothing of that metric in the look-back.
            WorkError: the journal could not be read in time.
        """
        await self._window.follow(question.seq)
        device, since = question.device.name, question.since_us
        recent = self._window.samples(device, question.metric, since, question.time_us + SLACK_US)
        if not recent:
            raise SourceError("holds no value of that time")
        before = self._window.samples(device, question.metric, since - BASELINE_US, since)
        return Series(tuple(recent), tuple(before))

    async def close(self) -> None:
        """Stop following."""
        await self._window.close()
