"""A broker in memory that keeps every promise of `port.py`, on a clock that only tests move.

`MemoryJournal` is the server, `MemoryBroker` one client of it. The contract suite holds for this and for the real
broker alike, so what passes here is worth something.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import get_args

from broker.errors import BrokerDownError, NotAllowedError, UnknownOutcomeError
from broker.memory_journal import Client, MemoryJournal, Snapshot, settle
from broker.memory_queue import MICROS, MemoryQueue, parse_reply
from broker.port import CaughtUp, Connection, Delivery, Fence, Stored
from broker.subjects import ROOT, Role, matches, rules_for

__all__ = ["MemoryBroker", "MemoryDelivery", "MemoryJournal", "settle"]


@dataclass(slots=True)
class MemoryDelivery:
    """One message handed to one worker (see `port.Delivery`)."""

    broker: MemoryBroker
    queue: MemoryQueue
    stored: Stored
    deliveries: int
    reply: str

    async def ack(self) -> None:
        self.broker.server()
        self.queue.end(self.stored.seq)

    async def nak(self, delay_s: float = 0.0) -> None:
        journal = self.broker.server()
        journal.give_back(self.queue, self.stored.seq, delay_s)

    async def in_progress(self) -> None:
        self.queue.extend(self.stored.seq, self.broker.server().now_us)

    async def term(self, reason: str) -> None:
        self.broker.server().terminated.append((self.stored.seq, reason))
        self.queue.end(self.stored.seq)


class MemoryBroker:
    """One client of a `MemoryJournal`; implements `port.Broker`.

    Args:
        instance: the client's name, seen in connection events.
        role: whose publishing permissions it has (`subjects.RULES`); a name that is no role, such as `admin`, may
            publish anywhere.
    """

    def __init__(self, journal: MemoryJournal, instance: str, role: str) -> None:
        self.journal = journal
        self.instance = instance
        self.role = role
        self._client: Client = journal.connect(instance, role)

    def server(self) -> MemoryJournal:
        """Return the server if it can be reached.

        Raises:
            BrokerDownError: it is down, or this client's connection has ended.
        """
        if self.journal.faults.down or self._client.gone is not None:
            raise BrokerDownError(f"{self.instance} has no connection to the broker")
        return self.journal

    def _permit(self, subject: str) -> None:
        roles: tuple[Role, ...] = get_args(Role)
        if self.role in roles and not any(self.role in rule.senders for rule in rules_for(subject)):
            raise NotAllowedError(f"{self.role} may not publish on {subject}")

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
        if once and fence is not None:
            raise ValueError(
                "a publish is created once or fenced, not both: the broker has one expectation per message"
            )
        journal = self.server()
        self._permit(subject)
        if journal.faults.lost_publishes > 0:
            journal.faults.lost_publishes -= 1
            raise UnknownOutcomeError(f"no answer to the publish on {subject}")
        journal.check(subject, once, message_id, fence)
        stored = journal.store(subject, data, ttl_s)
        if message_id is not None:
            journal.remember(message_id, stored.seq)
        if cancel_timer is not None:
            journal.cancel_timer(cancel_timer)
        if journal.faults.lost_acks > 0:
            journal.faults.lost_acks -= 1
            raise UnknownOutcomeError(f"no answer to the publish on {subject}")
        return stored.seq

    async def schedule(self, subject: str, due_subject: str, at_us: int, data: bytes) -> None:
        journal = self.server()
        self._permit(subject)
        journal.check(subject, True, None, None)
        journal.set_timer(subject, due_subject, at_us, data)

    async def cancel(self, subject: str) -> None:
        self.server().cancel_timer(subject)

    async def last(self, subject: str) -> Stored | None:
        return self.server().last(subject)

    def read(self, start: int = 1, pattern: str = ROOT, *, follow: bool = True) -> AsyncIterator[Stored | CaughtUp]:
        return self._read(start, pattern, follow, len(self.journal.log))

    async def _read(self, start: int, pattern: str, follow: bool, end: int) -> AsyncIterator[Stored | CaughtUp]:
        journal, position, said = self.journal, max(start, 1), False
        while True:
            await self._reachable()
            if position > end and not said:
                said = True
                yield CaughtUp(end)
                if not follow:
                    return
            elif position <= len(journal.log):
                stored = journal.log[position - 1]
                position += 1
                if journal.stands(stored.seq) and matches(pattern, stored.subject):
                    yield stored
            else:
                await journal.changed()

    async def _reachable(self) -> None:
        """Wait out a server that is down; a connection that has ended never comes back."""
        while self.journal.faults.down and self._client.gone is None:
            await self.journal.changed()
        self.server()

    async def pull(self, durable: str, timeout_s: float) -> Delivery | None:
        journal = self.journal
        queue = journal.queues[durable]
        until = journal.now_us + round(timeout_s * MICROS)
        journal.at(until, lambda: None)
        while True:
            if self._client.gone is not None:
                raise BrokerDownError(f"{self.instance} has no connection to the broker")
            order = None if journal.faults.down else queue.take(journal.now_us)
            if order is not None:
                return MemoryDelivery(self, queue, order.stored, order.deliveries, queue.reply_of(order))
            if journal.now_us >= until:
                return None
            await journal.changed()

    async def hand_on(self, reply: str) -> None:
        durable, seq = parse_reply(reply)
        journal = self.server()
        journal.give_back(journal.queues[durable], seq, 0.0)

    def connections(self) -> AsyncIterator[Connection]:
        return self._connections(len(self.journal.connection_log))

    async def _connections(self, position: int) -> AsyncIterator[Connection]:
        while True:
            await self._reachable()
            if position < len(self.journal.connection_log):
                position += 1
                yield self.journal.connection_log[position - 1]
            else:
                await self.journal.changed()

    def exhausted(self, durable: str) -> AsyncIterator[int]:
        return self._exhausted(self.journal.queues[durable])

    async def _exhausted(self, queue: MemoryQueue) -> AsyncIterator[int]:
        position = 0
        while True:
            await self._reachable()
            if position < len(queue.exhausted):
                position += 1
                yield queue.exhausted[position - 1]
            else:
                await self.journal.changed()

    async def save_snapshot(self, key: str, data: bytes, seq: int) -> None:
        snapshots = self.server().snapshots
        kept = snapshots.get(key)
        if kept is None or kept.seq <= seq:
            snapshots[key] = Snapshot(seq, data)

    async def load_snapshot(self, key: str) -> bytes | None:
        kept = self.server().snapshots.get(key)
        return None if kept is None else kept.data

    async def last_sequence(self) -> int:
        return len(self.server().log)

    async def close(self) -> None:
        self.journal.disconnect(self._client, "Client Closed")
