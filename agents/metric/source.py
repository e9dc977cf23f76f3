"""The port behind which a metric's values lie: one question, two sources (Prometheus, the journal's telemetry)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from agents.metric.analysis import Sample
from broker.contracts.inventory import Device

SourceName = Literal["prometheus", "journal"]
BASELINE_US = 3_600 * 1_000_000
"""How far before the look-back the baseline reaches, as far as a source remembers: the hour before."""


@dataclass(frozen=True, slots=True)
class Question:
    """One metric of one device before one moment."""

    device: Device
    metric: str
    """One of `catalogue.METRIC_NAMES`."""
    lookback_us: int
    seq: int
    """Journal sequence of the order that asks."""
    time_us: int
    """Broker time of the order, microseconds since the epoch: the look-back ends here."""

    @property
    def since_us(self) -> int:
        """Where the baseline ends and the look-back begins."""
        return self.time_us - self.lookback_us


@dataclass(frozen=True, slots=True)
class Series:
    """What a source measured, in telemetry's units (docs/telemetry.json), oldest first."""

    recent: tuple[Sample, ...]
    """Of the look-back; at least one."""
    before: tuple[Sample, ...]
    """Of the baseline; may be empty."""
    query: str | None = None
    """What was asked, where the source has a language for it."""


class MetricSource(Protocol):
    """Where values come from."""

    @property
    def name(self) -> SourceName: ...

    async def series(self, question: Question) -> Series:
        """Return what was measured.

        Raises:
            SourceError: the source is away, answers wrongly or holds nothing for this question; another may.
            WorkError: the source is there and could not be read in time.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and background work."""
        ...
