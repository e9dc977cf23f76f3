"""What the monitor's decisions depend on, besides the journal. Stands in every recording."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

from pydantic import Field

from broker.contracts.base import Frozen
from broker.contracts.inventory import Device, Inventory

Seconds = Annotated[float, Field(gt=0)]
MICRO = 1_000_000


class MonitorConfig(Frozen):
    """Bounds of detection and verification. All times in seconds of broker time."""

    inventory: Inventory
    confirm_samples: Annotated[int, Field(ge=1)] = 2
    """Bad samples in a row before a deviation counts: one noisy sample is none."""
    report_grace_s: Seconds = 5.0
    """How long a deviation waits for somebody to report it before the monitor opens an incident itself."""
    down_after_s: Seconds = 3.0
    """A device silent this long while others speak is down."""
    verify_deadline_s: Seconds = 20.0
    """A check that did not pass by then has failed."""
    probe_lag_s: Seconds = 0.2
    """A sample's window ends when it was measured; the broker has it at most this much later."""
    min_requests: Annotated[int, Field(ge=1)] = 5
    """Fewer user requests than this in the window prove nothing."""
    degraded_samples: Annotated[int, Field(ge=1)] = 3
    """Samples in a row below OK that make a symptom which a check must not overlook."""
    cooldown_s: Seconds = 8.0
    """After an incident's end its own sliding window must not open the next one."""
    backoff_s: Seconds = 60.0
    """After an incident that ended without repair; doubles with each further one in a row."""
    backoff_doublings: Annotated[int, Field(ge=0)] = 4
    settle_s: Seconds = 10.0
    """Nothing deviates for this long: the trouble is gone and the back-off ends."""
    sensing_gap_s: Seconds = 2.0
    """No telemetry at all for this long: the sensors were away, so nobody's silence counts."""
    restart_gap_s: Seconds = 10.0
    """No telemetry at all for this long: the whole stack was away and starts anew."""
    startup_s: Seconds = 30.0
    """How long a device that was not yet healthy since the start may take before it counts as broken."""
    max_deviations: Annotated[int, Field(ge=1)] = 100
    """Most deviations said in one incident."""

    @cached_property
    def traffic(self) -> Device | None:
        """The device that measures what users see, or None."""
        return next((device for device in self.inventory.devices if device.kind == "traffic"), None)

    # Every sample of every device is held against these, in the broker's microseconds.

    @cached_property
    def down_after_us(self) -> int:
        """Return `down_after_s` in microseconds."""
        return micro(self.down_after_s)

    @cached_property
    def sensing_gap_us(self) -> int:
        """Return `sensing_gap_s` in microseconds."""
        return micro(self.sensing_gap_s)

    @cached_property
    def restart_gap_us(self) -> int:
        """Return `restart_gap_s` in microseconds."""
        return micro(self.restart_gap_s)

    @cached_property
    def window_us(self) -> int:
        """Return how long after a repair its first sample can be measured that proves it, in microseconds."""
        return micro(self.inventory.objective.window_s + self.probe_lag_s)


def micro(seconds: float) -> int:
    """Return whole microseconds."""
    return round(seconds * MICRO)
