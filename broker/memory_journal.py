"""The server side of the in-memory broker: one journal, its timers, queues, connections and snapshots.

Nothing here waits for real time: `MemoryJournal.advance` moves the clock from one due instant to the next and lets the
woken tasks run at each of them.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from broker.errors import AlreadyExistsError, DuplicateError, FencedError, JournalFullError
from broker.memory_queue import MICROS, MemoryQueue
from broker.port import Connection, Fence, Stored
from broker.subjects import ACK_WAIT_S, DUPLICATE_WINDOW_S, MAX_DELIVERIES, ROOT, WORK_QUEUES, matches

START_US = 1_750_000_000 * MICROS
SOONEST_TIMER_US = 250_000
"""The real broker looks at its timers four times a second: a timer that is due at once fires after this."""
_SETTLE = 25
"""How often woken tasks get a turn at each instant; more than any chain of awaits in one reaction is long."""


@dataclass(frozen=True, slots=True)
class _Timer:
    """A timer that waits, beside the journal."""

    stored: Stored
    due_subject: str


@dataclass(frozen=True, slots=True)
class _Due:
    """Something that happens at an instant; ordered by time, then by when it was asked for."""

    at_us: int
    number: int
    run: Callable[[], None]

    def __lt__(self, other: _Due) -> bool:
        return (self.at_us, self.number) < (other.at_us, other.number)


@dataclass(slots=True)
class Client:
    """What the server knows of one connection."""

    name: str
    user: str
    number: int
    gone: str | None = None
    """Why the connection ended; None while it lives."""


@dataclass(slots=True)
class _Faults:
    """What tests switch on to see how callers take it."""

    down: bool = False
    full: bool = False
    lost_acks: int = 0
    """So many next publishes are stored, but their answer is lost."""
    lost_publishes: int = 0
    """So many next publishes get lost on the way to the server."""


@dataclass(slots=True)
class Snapshot:
    """The newest snapshot under one key."""

    seq: int
    data: bytes


class MemoryJournal:
    """The server side, shared by all `MemoryBroker`s of a test.

    Args:
        start_us: first instant of the clock, microseconds since the epoch.
        ack_wait_s, max_deliveries: of every work queue.
    """

    def __init__(
        self, *, start_us: int = START_US, ack_wait_s: float = ACK_WAIT_S, max_deliveries: int = MAX_DELIVERIES
    ) -> None:
        self.now_us = start_us
        self.faults = _Faults()
        self.queues = {
            rule.durable: MemoryQueue(rule, int(ack_wait_s * MICROS), max_deliveries) for rule in WORK_QUEUES
        }
        self.log: list[Stored] = []
        """Everything ever stored, the removed included, in order: `log[i].seq == i + 1`."""
        self.connection_log: list[Connection] = []
        self.snapshots: dict[str, Snapshot] = {}
        self.terminated: list[tuple[int, str]] = []
        """Orders that a worker refused for good: journal sequence and reason."""
        self.clients: list[Client] = []
        self._alive: set[int] = set()
        self._last: dict[str, list[int]] = {}
        self._ids: dict[str, tuple[int, int]] = {}
        self._timers: dict[str, _Timer] = {}
        self._timers_set = 0
        self._agenda: list[_Due] = []
        self._numbers = itertools.count(1)
        self._waiting: set[asyncio.Future[None]] = set()

    # the clock

    async def advance(self, seconds: float) -> None:
        """Move the clock on, instant by instant, letting everything that is due happen and be reacted to."""
        await settle()
        until = self.now_us + round(seconds * MICROS)
        while (at := self._next_instant(until)) is not None:
            self.now_us = max(self.now_us, at)
            self._run_due()
            self.wake()
            await settle()
        self.now_us = until
        self.wake()
        await settle()

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has moved on by so many seconds; stands in for `asyncio.sleep`."""
        until = self.now_us + round(seconds * MICROS)
        self.at(until, lambda: None)
        while self.now_us < until:
            await self.changed()

    def at(self, at_us: int, run: Callable[[], None]) -> None:
        """Have `run` called when the clock reaches `at_us`."""
        heapq.heappush(self._agenda, _Due(at_us, next(self._numbers), run))

    def _next_instant(self, until: int) -> int | None:
        instants = [queue.next_change(self.now_us) for queue in self.queues.values()]
        if self._agenda:
            instants.append(self._agenda[0].at_us)
        return min((at for at in instants if at is not None and at <= until), default=None)

    def _run_due(self) -> None:
        while self._agenda and self._agenda[0].at_us <= self.now_us:
            heapq.heappop(self._agenda).run()

    def wake(self) -> None:
        """Let everything that waits for a change look again."""
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def changed(self) -> None:
        """Wait until something happened, whatever it was."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    # faults that tests inject

    def stop(self) -> None:
        """Take the server away: every call fails or waits until `restart`."""
        self.faults.down = True

    def restart(self) -> None:
        """Bring the server back with everything it had stored."""
        self.faults.down = False
        self.wake()

    def kill(self, instance: str, reason: str = "Client Closed") -> None:
        """End every connection of an instance, as the death of its process does."""
        for client in self.clients:
            if client.name == instance and client.gone is None:
                self.disconnect(client, reason)

    # connections

    def connect(self, instance: str, role: str) -> Client:
        """Let a client in."""
        client = Client(instance, role, len(self.clients) + 1)
        self.clients.append(client)
        self._connection_event(client, "")
        return client

    def disconnect(self, client: Client, reason: str) -> None:
        """End a connection; nothing happens if it ended before."""
        if client.gone is None:
            client.gone = reason
            self._connection_event(client, reason)

    def _connection_event(self, client: Client, reason: str) -> None:
        kind: Literal["connect", "disconnect"] = "disconnect" if client.gone is not None else "connect"
        number = len(self.connection_log) + 1
        self.connection_log.append(Connection(kind, client.name, client.user, client.number, reason, number))
        self.wake()

    # the journal

    def store(self, subject: str, data: bytes, ttl_s: int | None = None) -> Stored:
        """Append a message and give it to the queues."""
        stored = Stored(len(self.log) + 1, self.now_us, subject, data)
        self.log.append(stored)
        self._alive.add(stored.seq)
        self._last.setdefault(subject, []).append(stored.seq)
        for queue in self.queues.values():
            queue.offer(stored)
        if ttl_s is not None:
            self.at(self.now_us + ttl_s * MICROS, lambda: self.remove(stored.seq))
        self.wake()
        return stored

    def remove(self, seq: int) -> None:
        """Drop a message: its time to live is over."""
        if seq in self._alive:
            self._alive.discard(seq)
            self._last[self.log[seq - 1].subject].remove(seq)

    def last(self, subject: str) -> Stored | None:
        """Return the newest message that stands on a subject, or the timer that waits there."""
        if (timer := self._timers.get(subject)) is not None:
            return timer.stored
        seqs = self._last.get(subject)
        return self.log[seqs[-1] - 1] if seqs else None

    def _last_sequence(self, subject: str) -> int:
        standing = self.last(subject)
        return 0 if standing is None else standing.seq

    def stands(self, seq: int) -> bool:
        """Tell whether the message at `seq` is still there."""
        return seq in self._alive

    def messages(self, pattern: str = ROOT) -> list[Stored]:
        """Return everything that stands now and fits a pattern, in order."""
        return [stored for stored in self.log if stored.seq in self._alive and matches(pattern, stored.subject)]

    def check(self, subject: str, once: bool, message_id: str | None, fence: Fence | None) -> None:
        """Refuse what must not be stored; in the real broker's order: message id first, then expectations."""
        seen = self._ids.get(message_id) if message_id is not None else None
        if seen is not None and self.now_us - seen[1] < DUPLICATE_WINDOW_S * MICROS:
            raise DuplicateError(subject, seen[0])
        if once and (standing := self.last(subject)) is not None:
            raise AlreadyExistsError(subject, standing.seq)
        if fence is not None and (newest := self._last_sequence(fence.subject)) != fence.seq:
            raise FencedError(f"{subject} is fenced on {fence.subject} at {fence.seq}, which is at {newest} now")
        if self.faults.full:
            raise JournalFullError(f"the journal is full; {subject} was not stored")

    def remember(self, message_id: str, seq: int) -> None:
        """Keep a message id for the duplicate window."""
        self._ids[message_id] = (seq, self.now_us)

    def set_timer(self, subject: str, due_subject: str, at_us: int, data: bytes) -> None:
        """Let a timer wait, once."""
        self._timers_set += 1
        timer = _Timer(Stored(self._timers_set, self.now_us, subject, data), due_subject)
        self._timers[subject] = timer
        self.at(max(at_us, self.now_us + SOONEST_TIMER_US), lambda: self._fire(timer))

    def cancel_timer(self, subject: str) -> None:
        """Take a timer back if it still waits."""
        self._timers.pop(subject, None)

    def waiting_timers(self) -> list[Stored]:
        """Return the timers that wait, oldest first."""
        return [timer.stored for timer in self._timers.values()]

    def _fire(self, timer: _Timer) -> None:
        if self._timers.get(timer.stored.subject) is timer:
            self.cancel_timer(timer.stored.subject)
            self.store(timer.due_subject, timer.stored.data)

    def give_back(self, queue: MemoryQueue, seq: int, delay_s: float) -> None:
        """Return a delivery to its queue after a delay in seconds."""
        queue.give_back(seq, self.now_us + round(delay_s * MICROS))
        self.wake()


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(_SETTLE):
        await asyncio.sleep(0)
