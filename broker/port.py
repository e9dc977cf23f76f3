"""What the system needs of a broker. `jetstream.py` is the real thing, `memory.py` the fake; one contract suite holds
for both (`tests/contract/test_broker.py`).

Everything here speaks bytes: signing and verifying happen above (`envelope.py`, `gate.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Stored:
    """One message of the journal as the broker keeps it."""

    seq: int
    time_us: int
    """When the broker took it, microseconds since the epoch."""
    subject: str
    data: bytes
    relayed: bool = False
    """It did not come by a publish: the broker put the answer to a read there, since a reader named this subject as its
    reply. Brokers do not check permissions on replies (facts of NATS), so whoever may read could speak anywhere."""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """Said once by `Broker.read`: everything that stood in the journal when reading began has been given."""

    seq: int
    """Last sequence of the journal at that moment; 0 if it was empty."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Store only if the last message on `subject` is the one at `seq`."""

    subject: str
    seq: int


@dataclass(frozen=True, slots=True)
class Connection:
    """A client came or went, as the broker itself saw it."""

    kind: Literal["connect", "disconnect"]
    client: str
    """The client's name: the instance."""
    user: str
    """The broker's user: the role."""
    number: int
    """The broker's number of the connection."""
    reason: str
    event: int
    """Sequence in the captured system events: a stable id of this event."""


class Delivery(Protocol):
    """One message handed to one worker. Exactly one of `ack`, `nak`, `term` ends it."""

    @property
    def stored(self) -> Stored: ...

    @property
    def deliveries(self) -> int:
        """How often it has been delivered, this time included; 1 the first time."""
        ...

    @property
    def reply(self) -> str:
        """The subject that acknowledges this delivery; `Broker.hand_on` takes it."""
        ...

    async def ack(self) -> None: ...

    async def nak(self, delay_s: float = 0.0) -> None: ...

    async def in_progress(self) -> None:
        """Tell the broker that work goes on: the ack wait starts again."""
        ...

    async def term(self, reason: str) -> None: ...


class Broker(Protocol):
    """A connection of one instance of one role."""

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        once: bool = False,
        message_id: str | None = None,
        fence: Fence | None = None,
        ttl_s: int | None = None,
        cancel_timer: str | None = None,
        lasting: bool = False,
    ) -> int:
        """Store a message and return its sequence; it is durable on return.

        Args:
            once: create only if the subject holds nothing yet.
            message_id: a second publish with the same id inside the duplicate window stores nothing.
            fence: refuse if the claim moved on.
            ttl_s: whole seconds after which the journal drops the message.
            cancel_timer: a timer's subject, taken back if and only if the message is stored. A crash between the two
                leaves a timer that comes due for something that has ended; machines ignore it.
            lasting: the journal's maximal age does not drop it: for what holds until somebody says otherwise.

        Raises:
            AlreadyExistsError, FencedError, DuplicateError, NotAllowedError, JournalFullError: definite, not stored.
            UnknownOutcomeError: no answer after retries with the same message id.
        """
        ...

    async def schedule(self, subject: str, due_subject: str, at_us: int, data: bytes) -> None:
        """Store a timer that the broker turns into a message on `due_subject` at `at_us`. Setting it again while it
        waits raises AlreadyExistsError. It waits beside the journal (`last` finds it, `read` gives only what is
        due)."""
        ...

    async def cancel(self, subject: str) -> None:
        """Take a timer back; nothing happens if it is gone."""
        ...

    async def last(self, subject: str) -> Stored | None:
        """Return the newest message on exactly this subject."""
        ...

    def read(
        self, start: int = 1, pattern: str = "triage.>", *, follow: bool = True
    ) -> AsyncIterator[Stored | CaughtUp]:
        """Read the journal in order from sequence `start`, without loss or repetition, also across a broker restart.

        Gives one `CaughtUp` when the end as of the call is reached; ends there unless `follow`.
        """
        ...

    async def pull(self, durable: str, timeout_s: float) -> Delivery | None:
        """Wait for the next message of a work queue; None if there was none in time. At most one at a time."""
        ...

    async def hand_on(self, reply: str) -> None:
        """Give a delivery back to its queue in the name of the worker that held it."""
        ...

    def connections(self) -> AsyncIterator[Connection]:
        """Follow clients coming and going, from now on."""
        ...

    def exhausted(self, durable: str) -> AsyncIterator[int]:
        """Follow journal sequences whose deliveries are used up."""
        ...

    async def save_snapshot(self, key: str, data: bytes, seq: int) -> None:
        """Keep a snapshot unless one of a later `seq` is already kept."""
        ...

    async def load_snapshot(self, key: str) -> bytes | None:
        """Return the newest snapshot under `key`."""
        ...

    async def last_sequence(self) -> int:
        """Return the journal's last sequence; 0 if it is empty."""
        ...

    async def close(self) -> None:
        """Drain and disconnect."""
        ...
