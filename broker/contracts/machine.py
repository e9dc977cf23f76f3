"""What a deterministic machine is (docs/adr/0002): `step(state, event) -> (state, commands)`.

Time is the broker's timestamp on the event. Identifiers are derived from the event. A machine reads no clock, no random
source, no environment and no network; the host feeds it and publishes what it returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from broker.contracts.base import Contract, Frozen
from broker.contracts.control import Timer
from broker.contracts.plan import DecisionTag


class Event(NamedTuple):
    """One trusted message of the journal."""

    seq: int
    """Place in the journal's total order."""
    time_us: int
    """Broker's timestamp, microseconds since the epoch."""
    subject: str
    payload: Contract
    sender: str
    """Instance that said it; only for display, never for a decision."""
    tag: DecisionTag = "DETERMINISTIC"


@dataclass(frozen=True, slots=True)
class Publish:
    """Say `message` once: its subject is created if absent."""

    message: Contract
    tag: DecisionTag = "DETERMINISTIC"


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Let the broker send `timer` back on its due subject at `timer.due_us`."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Take a timer back; harmless when it is gone."""

    machine: str
    timer_id: str


Command = Publish | SetTimer | CancelTimer

StateT = TypeVar("StateT", bound=Frozen)


class Machine(Protocol[StateT]):
    """A role's decisions. `name` and `version` stand in snapshots and recordings."""

    name: str
    version: int
    state_type: type[StateT]

    @property
    def config(self) -> Frozen:
        """What the machine was made with; stands in recordings, so that it can be made again."""
        ...

    def configured(self, config: bytes) -> Machine[StateT]:
        """Return the same machine with another configuration, given by its canonical bytes.

        Raises:
            SchemaError: they are no configuration of this machine.
        """
        ...

    def reads(self, subject: str) -> bool:
        """Tell whether messages on this subject are events for this machine."""
        ...

    def initial(self) -> StateT:
        """Return the state before the first event."""
        ...

    def step(self, state: StateT, event: Event) -> tuple[StateT, tuple[Command, ...]]:
        """Return the next state and the commands that follow. Never raises on a valid event."""
        ...
