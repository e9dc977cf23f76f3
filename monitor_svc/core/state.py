"""The monitor's memory: bounded by the inventory and by the one incident that is worked on.

Every value is frozen and survives JSON: a snapshot is `MonitorState.encode()`.
"""

from __future__ import annotations

from pydantic import Field

from broker.contracts.base import Frozen, Token
from broker.contracts.monitor import DeviationKind
from broker.contracts.telemetry import Status


class Streak(Frozen):
    """Bad samples of one device in a row."""

    kind: DeviationKind
    first_us: int
    """Broker time of the first of them: the deviation's `t_trigger_us`."""
    count: int
    detail: str


class DeviceState(Frozen):
    """What the last sample of a device said, and since when it is bad."""

    last_us: int | None = None
    status: Status = "OK"
    success_ratio: float | None = None
    latency_ms: float | None = None
    request_rate: float | None = None
    error_code: str | None = None
    note: str | None = None
    below_ok: int = 0
    """Samples in a row whose status was not OK."""
    seen_ok: bool = False
    """Was healthy since the stack started."""
    streak: Streak | None = None


class OpenIncident(Frozen):
    """A reported incident that is not closed, with the monitor's counters in it."""

    incident: Token
    deviations: int = 0
    rounds: int = 0
    said: tuple[str, ...] = ()
    """`device/kind` of what was said already: once per incident."""
    targets: dict[str, str] = Field(default_factory=dict)
    """Target of every task, by task id: a result does not name it."""


class Check(Frozen):
    """A running verification."""

    incident: Token
    n: int
    plan_version: int
    started_us: int
    """Broker time of `plan.executed`."""
    timer_id: Token
    samples: int = 0
    """Samples of the users' traffic since then."""


class MonitorState(Frozen):
    """Everything the machine knows."""

    devices: dict[str, DeviceState] = Field(default_factory=dict)
    """Every device of the inventory that ever spoke, or should have."""
    open: tuple[OpenIncident, ...] = ()
    """Open incidents as the journal ordered them; the first is the one worked on, the others will be merged."""
    closed: tuple[Token, ...] = ()
    """The last incidents that ended: an id that is reported again must not be counted from one again, since what was
    said in it stands in the journal."""
    opening: Token | None = None
    """An incident this machine has reported and not yet read back."""
    check: Check | None = None
    heard_us: int | None = None
    """Last telemetry of anybody."""
    sensing_since_us: int = 0
    """Since when the sensors speak without a gap."""
    started_us: int = 0
    """Since when the stack runs, as far as telemetry tells."""
    calm_since_us: int | None = None
    """Since when nothing deviates; None while something does."""
    quiet_until_us: int = 0
    backoff_until_us: int = 0
    unrepaired: int = 0
    """Incidents in a row that ended without repair."""

    @property
    def current(self) -> OpenIncident | None:
        """The incident that is worked on, or None."""
        return self.open[0] if self.open else None

    def find(self, incident: str) -> OpenIncident | None:
        """Return an open incident by its id, or None."""
        return next((item for item in self.open if item.incident == incident), None)

    def with_incident(self, changed: OpenIncident) -> MonitorState:
        """Return this state with one open incident replaced by its successor."""
        items = tuple(changed if item.incident == changed.incident else item for item in self.open)
        return self.model_copy(update={"open": items})
