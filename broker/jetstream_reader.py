"""Reading a stream in order, without loss or repetition, across gaps, silences and restarts of the server.

An ephemeral push consumer with flow control: fast, and bounded in memory because the server is told to go on only when
what it sent has been consumed. The filter stands in the subject of the create, where permissions can bound it.

The consumer counts what it delivers. A number that is missing, a heartbeat that names another number, or silence for
longer than three heartbeats means that something was lost: the reader then makes a new consumer from the sequence after
the last one it gave.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from broker.errors import BrokerDownError
from broker.jetstream_link import Link, NoAnswerError, Received, Subscription, persist
from broker.port import Stored

HEARTBEAT_S: Final = 0.5
_SILENCE_S: Final = 3 * HEARTBEAT_S
_FORGET_CONSUMER_S: Final = 5.0
_CREATE_S: Final = 10.0
_TRY_S: Final = 1.0
_NANOS: Final = 1_000_000_000
_STREAM_MISSING: Final = 10059


@dataclass(frozen=True, slots=True)
class Place:
    """What the broker says of a delivery in its reply subject."""

    stream_seq: int
    consumer_seq: int
    time_us: int
    pending: int
    """Messages that fit the filter and stand behind this one."""
    deliveries: int


def parse_place(reply: str) -> Place:
    """Read `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<ns>.<pending>`, short or long form.

    Raises:
        ValueError: it is no such subject.
    """
    parts = reply.split(".")
    if parts[:2] != ["$JS", "ACK"] or len(parts) < 9:
        raise ValueError(f"{reply!r} is no reply subject of a delivery")
    # The long form has domain and account before, and a random token behind.
    numbers = parts[4:9] if len(parts) == 9 else parts[6:11]
    deliveries, stream_seq, consumer_seq, nanos, pending = (int(number) for number in numbers)
    return Place(stream_seq, consumer_seq, nanos // 1_000, pending, deliveries)


@dataclass(frozen=True, slots=True)
class Idle:
    """Everything that fits the filter has been given for now."""


@dataclass(frozen=True, slots=True)
class Read:
    """A message, and how many fitting ones stood behind it when it was sent."""

    stored: Stored
    pending: int


class _Wake:
    """Put into the mailbox when the connection came back or was closed."""


@dataclass(slots=True)
class _Run:
    """One consumer's life."""

    mailbox: asyncio.Queue[Received | _Wake]
    subscription: Subscription
    pending: int
    count: int = 0
    """Deliveries seen of this consumer."""


class OrderedReader:
    """Reads one stream, from one place on, for ever. One iteration per reader."""

    def __init__(self, link: Link, stream: str, pattern: str, start: int | None) -> None:
        """
        Args:
            pattern: subjects to read; one filter.
            start: first sequence wanted; None for what comes from now on.
        """
        self._link = link
        self._stream = stream
        self._pattern = pattern
        self._next = None if start is None else max(start, 1)

    async def items(self) -> AsyncIterator[Read | Idle]:
        """Give messages in order, and `Idle` whenever there is none left for now (repeated while it stays so).

        Raises:
            NotAllowedError: this user may not read that.
            BrokerDownError: the connection was closed for good, or the stream does not exist.
        """
        while True:
            run = await self._begin()
            wake = _Wake()

            def on_return(mailbox: asyncio.Queue[Received | _Wake] = run.mailbox, wake: _Wake = wake) -> None:
                mailbox.put_nowait(wake)

            self._link.on_return.add(on_return)
            try:
                if run.pending == 0:
                    yield Idle()
                while (message := await self._hear(run)) is not None:
                    item = await self._take(run, message)
                    if isinstance(item, str):
                        break
                    if item is not None:
                        yield item
            finally:
                self._link.on_return.discard(on_return)
                await run.subscription.end()

    async def _hear(self, run: _Run) -> Received | None:
        """Return the next message, or None if this consumer is no good any more."""
        try:
            message = run.mailbox.get_nowait()
        except asyncio.QueueEmpty:
            try:
                async with asyncio.timeout(_SILENCE_S):
                    message = await run.mailbox.get()
            except TimeoutError:
                return None
        return None if isinstance(message, _Wake) else message

    async def _take(self, run: _Run, message: Received) -> Read | Idle | str | None:
        """Return what a message means: an item, nothing, or (as text) why this consumer is no good any more."""
        status = message.status
        if not status:
            return self._advance(run, message)
        if status != "100":
            return f"status {status} {message.description}"
        if message.reply:
            # Flow control: everything before it has been consumed, the server may go on.
            await self._link.send(message.reply)
            return None
        if stalled := message.headers.get("Nats-Consumer-Stalled"):
            await self._link.send(stalled)
            return None
        told = message.headers.get("Nats-Last-Consumer")
        return "gap before a heartbeat" if told is not None and int(told) != run.count else Idle()

    def _advance(self, run: _Run, message: Received) -> Read | str:
        place = parse_place(message.reply)
        if place.consumer_seq != run.count + 1:
            return "gap"
        run.count = place.consumer_seq
        self._next = place.stream_seq + 1
        stored = Stored(place.stream_seq, place.time_us, message.subject, message.data, message.relayed)
        return Read(stored, place.pending)

    async def _begin(self) -> _Run:
        mailbox: asyncio.Queue[Received | _Wake] = asyncio.Queue()
        inbox = self._link.new_inbox()
        while True:
            await self._link.until_up(_CREATE_S)
            subscription = await self._link.listen(inbox, mailbox.put_nowait)
            try:
                created = await self._create(inbox)
            except NoAnswerError:
                await subscription.end()
                continue
            except BaseException:
                await subscription.end()
                raise
            if self._next is None:
                self._next = int(created["delivered"]["stream_seq"]) + 1
            return _Run(mailbox, subscription, int(created["num_pending"]))

    async def _create(self, inbox: str) -> dict[str, Any]:
        name = secrets.token_hex(10)
        start: dict[str, Any] = (
            {"deliver_policy": "new"}
            if self._next is None
            else {"deliver_policy": "by_start_sequence", "opt_start_seq": self._next}
        )
        config = {
            "name": name,
            "deliver_subject": inbox,
            "filter_subject": self._pattern,
            **start,
            "ack_policy": "none",
            "max_deliver": 1,
            "replay_policy": "instant",
            "flow_control": True,
            "idle_heartbeat": round(HEARTBEAT_S * _NANOS),
            "inactive_threshold": round(_FORGET_CONSUMER_S * _NANOS),
            "num_replicas": 1,
            "mem_storage": True,
        }
        subject = f"$JS.API.CONSUMER.CREATE.{self._stream}.{name}.{self._pattern}"
        body = json.dumps({"stream_name": self._stream, "config": config, "action": "create"}).encode()
        answer, _ = await persist(
            self._link,
            lambda within_s: self._link.request(subject, body, timeout_s=within_s),
            total_s=_CREATE_S,
            try_s=_TRY_S,
        )
        return self._created(json.loads(answer.data))

    def _created(self, answer: dict[str, Any]) -> dict[str, Any]:
        error = answer.get("error")
        if error is None:
            return answer
        if error.get("err_code") == _STREAM_MISSING:
            raise BrokerDownError(f"the broker has no stream {self._stream}; `triage up` creates it")
        raise BrokerDownError(f"reading {self._stream} was refused: {error.get('description')}")
