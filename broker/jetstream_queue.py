"""Taking work from a shared pull consumer, one message at a time.

One pull request is outstanding per queue at most, and it is asked for only while somebody waits: the server hands a
message to whoever's request it holds, so a request that nobody waits for would swallow it until the ack wait is over.
A request ends on the server by itself; what still comes for a request that was given up is handed back at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Coroutine
from typing import Any, Final

from broker.errors import BrokerDownError, BrokerError, NotAllowedError
from broker.jetstream_link import Link, NoAnswerError, Received, Subscription, persist
from broker.jetstream_reader import parse_place
from broker.port import Stored
from broker.subjects import STREAM

_LONGEST_PULL_S: Final = 30.0
_GRACE_S: Final = 1.0
"""How much later than its expiry a pull's end may be told."""
_ACK_TOTAL_S: Final = 5.0
_ACK_TRY_S: Final = 1.0
_NANOS: Final = 1_000_000_000
_TIMEOUT: Final = "408"
_PAUSE_S: Final = 0.05
_CLOSE_S: Final = 1.0


class JetStreamDelivery:
    """One message handed to one worker (see `port.Delivery`)."""

    def __init__(self, link: Link, message: Received) -> None:
        place = parse_place(message.reply)
        self._link = link
        self.stored = Stored(place.stream_seq, place.time_us, message.subject, message.data, message.relayed)
        self.deliveries = place.deliveries
        self.reply = message.reply

    async def ack(self) -> None:
        """Done; confirmed by the broker.

        Raises:
            BrokerDownError: it did not confirm in time; the message may come again.
        """
        await acknowledge(self._link, self.reply, b"+ACK")

    async def nak(self, delay_s: float = 0.0) -> None:
        """Give it back, to be delivered again after `delay_s` seconds."""
        delay = json.dumps({"delay": round(delay_s * _NANOS)}) if delay_s > 0 else ""
        await acknowledge(self._link, self.reply, f"-NAK {delay}".strip().encode())

    async def in_progress(self) -> None:
        """Start the ack wait again; not confirmed, a lost one is made good by the next."""
        await self._link.send(self.reply, b"+WPI")

    async def term(self, reason: str) -> None:
        """Never deliver it again; the reason stands in the broker's advisory."""
        line = " ".join(reason.split())[:200]
        await acknowledge(self._link, self.reply, f"+TERM {line}".strip().encode())


async def acknowledge(link: Link, reply: str, word: bytes) -> None:
    """Say `word` of a delivery until the broker confirms it.

    Raises:
        ValueError: `reply` is no delivery of the journal's queues.
        NotAllowedError: not this user's queue.
        BrokerDownError: no confirmation in time.
    """
    parse_place(reply)
    try:
        await persist(
            link,
            lambda within_s: link.request(reply, word, timeout_s=within_s),
            total_s=_ACK_TOTAL_S,
            try_s=_ACK_TRY_S,
        )
    except NoAnswerError as error:
        raise BrokerDownError(f"the broker did not confirm {word.decode()[:5]} of {reply}: {error}") from error


class PullQueue:
    """One work queue as one connection sees it."""

    def __init__(self, link: Link, durable: str) -> None:
        self._link = link
        self._durable = durable
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{durable}"
        self._waiting = False
        self._background: set[asyncio.Task[None]] = set()

    async def pull(self, timeout_s: float) -> JetStreamDelivery | None:
        """Wait for a message; None if there was none in time, also when the connection was down all that time.

        Raises:
            RuntimeError: another pull of this queue is waiting.
            NotAllowedError: not this user's queue.
            BrokerDownError: the connection is closed for good, or the broker has no such queue.
        """
        if self._waiting:
            raise RuntimeError(f"a pull of {self._durable} is waiting already; one at a time")
        self._waiting = True
        request = _Pull(self._link, self._subject)
        try:
            return await self._wait(request, time.monotonic() + timeout_s)
        finally:
            self._waiting = False
            request.detach()
            # Also when cancelled: what is on its way goes back to the queue, and the server forgets the request.
            self._start(self._give_up(request))

    async def close(self) -> None:
        """Hand back what is on its way; the server drops the requests of a connection that ends."""
        for task in tuple(self._background):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(task), _CLOSE_S)
        for task in tuple(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _wait(self, request: _Pull, deadline: float) -> JetStreamDelivery | None:
        missing = False
        while (left := deadline - time.monotonic()) > 0:
            if not await self._link.until_up(left):
                break
            message = await request.next(min(left, _LONGEST_PULL_S))
            if message is None:
                missing = False
                continue
            if not message.status:
                return JetStreamDelivery(self._link, message)
            missing = message.status == "503"
            if message.status != _TIMEOUT:
                await asyncio.sleep(min(_PAUSE_S, max(deadline - time.monotonic(), 0.0)))
        if missing:
            raise BrokerDownError(f"the broker has no work queue {self._durable}; `triage up` creates it")
        return None

    async def _give_up(self, request: _Pull) -> None:
        for message in await request.end():
            # If it fails, the ack wait gives the message back.
            with contextlib.suppress(BrokerError):
                await acknowledge(self._link, message.reply, b"-NAK")

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


class _Pull:
    """One waiting worker: its inbox, and the requests it makes until it has a message or its time is over."""

    def __init__(self, link: Link, subject: str) -> None:
        self._link = link
        self._subject = subject
        self._inbox = link.new_inbox()
        self._subscription: Subscription | None = None
        self._mailbox: asyncio.Queue[Received | NotAllowedError | None] = asyncio.Queue()
        """What it hears: a message or status, a refusal, or None: the connection came back, ask again."""
        link.on_return.add(self._on_return)
        link.on_refusal[subject] = self._mailbox.put_nowait

    def _on_return(self) -> None:
        self._mailbox.put_nowait(None)

    async def next(self, wait_s: float) -> Received | None:
        """Ask for one message and return what came: it, the request's end, or None if the request got lost."""
        if self._mailbox.empty():
            await self._ask(wait_s)
        try:
            async with asyncio.timeout(wait_s + _GRACE_S):
                item = await self._mailbox.get()
        except TimeoutError:
            return None
        if isinstance(item, NotAllowedError):
            raise item
        return item

    async def _ask(self, wait_s: float) -> None:
        if self._subscription is None:
            self._subscription = await self._link.listen(self._inbox, self._mailbox.put_nowait)
        body = json.dumps({"batch": 1, "expires": round(max(wait_s, 0.01) * _NANOS)}).encode()
        await self._link.send(self._subject, body, reply=self._inbox)

    def detach(self) -> None:
        """Hear no more of the connection."""
        self._link.on_return.discard(self._on_return)
        del self._link.on_refusal[self._subject]

    async def end(self) -> list[Received]:
        """Stop listening, and return the messages that came too late for anyone to take."""
        if self._subscription is not None:
            await self._subscription.drain()
        late = [self._mailbox.get_nowait() for _ in range(self._mailbox.qsize())]
        return [message for message in late if isinstance(message, Received) and not message.status]
