"""The work queues of the in-memory broker: ack wait, redelivery, delays, used-up deliveries.

Modelled on what the real broker was measured to do: an acknowledgement, a nak or an extension on an *old* reply subject
is honoured (fencing is the claim's business, not the queue's), and used-up deliveries are only reported while somebody
waits for work.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.port import Stored
from broker.subjects import ACK_WAIT_S, MAX_DELIVERIES, STREAM, WorkQueue, matches

MICROS = 1_000_000


@dataclass(slots=True)
class Order:
    """One message of a queue and where its delivery stands."""

    stored: Stored
    deliveries: int = 0
    not_before_us: int = 0
    """Not available earlier: the delay of a nak."""
    held_until_us: int | None = None
    """Held by a worker until then; None while nobody holds it."""

    def available_at(self) -> int:
        """Return when the next delivery may happen, microseconds."""
        return self.not_before_us if self.held_until_us is None else self.held_until_us


@dataclass(slots=True)
class MemoryQueue:
    """One shared pull consumer."""

    rule: WorkQueue
    ack_wait_us: int = int(ACK_WAIT_S * MICROS)
    max_deliveries: int = MAX_DELIVERIES
    open: dict[int, Order] = field(default_factory=dict)
    """Orders that nobody has ended, by journal sequence."""
    exhausted: list[int] = field(default_factory=list)
    """Journal sequences whose deliveries are used up, in order."""

    def offer(self, stored: Stored) -> None:
        """Take a new message of the journal if it belongs here."""
        if matches(self.rule.filter, stored.subject):
            self.open[stored.seq] = Order(stored)

    def take(self, now_us: int) -> Order | None:
        """Hand out the next order, redeliveries first; reports what is used up on the way, as a waiting pull does."""
        ready = [order for order in self.open.values() if order.available_at() <= now_us]
        for order in sorted(ready, key=lambda order: (order.deliveries == 0, order.available_at(), order.stored.seq)):
            if order.deliveries >= self.max_deliveries:
                del self.open[order.stored.seq]
                self.exhausted.append(order.stored.seq)
                continue
            order.deliveries += 1
            order.held_until_us = now_us + self.ack_wait_us
            return order
        return None

    def reply_of(self, order: Order) -> str:
        """Return the subject that acknowledges the current delivery."""
        return f"$JS.ACK.{STREAM}.{self.rule.durable}.{order.deliveries}.{order.stored.seq}.0.0.0"

    def end(self, seq: int) -> None:
        """Acknowledge or terminate: no further delivery."""
        self.open.pop(seq, None)

    def give_back(self, seq: int, not_before_us: int) -> None:
        """Nak: available again at `not_before_us`, whoever holds it."""
        order = self.open.get(seq)
        if order is not None:
            order.held_until_us = None
            order.not_before_us = not_before_us

    def extend(self, seq: int, now_us: int) -> None:
        """In progress: the ack wait starts again."""
        order = self.open.get(seq)
        if order is not None and order.held_until_us is not None:
            order.held_until_us = now_us + self.ack_wait_us

    def next_change(self, now_us: int) -> int | None:
        """Return the next instant after `now_us` at which an order becomes available."""
        return min((at for order in self.open.values() if (at := order.available_at()) > now_us), default=None)


def parse_reply(reply: str) -> tuple[str, int]:
    """Return durable and journal sequence of a reply subject.

    Raises:
        ValueError: it is no reply subject of a delivery.
    """
    parts = reply.split(".")
    if len(parts) < 6 or parts[:2] != ["$JS", "ACK"] or not parts[5].isdigit():
        raise ValueError(f"{reply!r} is not the reply subject of a delivery")
    return parts[3], int(parts[5])
