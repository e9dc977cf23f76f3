"""The shop's message queue: JetStream on the shop's own NATS. The only module of the shop that imports nats.

The client's own reconnecting is switched off and done here instead, because it hides why it is not connected, keeps
messages back that its caller was told had failed, and gives up for good on some server errors. Here a connection that
ends is replaced by a new one, and while there is none, using the queue raises the very error that connecting raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy, StreamConfig

from broker.tasks import end
from services.shop.errors import ConsumerStalledError, DependencyFailed
from services.shop.messages import ORDERS_CREATED, ORDERS_DELIVERY, Announced, Delivery
from services.shop.stalls import Look, Stalls

STREAM = ORDERS_CREATED.stream
SUBJECTS = "shop.orders.>"
CREATED = ORDERS_CREATED.subject
DURABLE = ORDERS_CREATED.consumer

CONNECT_TIMEOUT_S = 1
RECONNECT_S = 0.2
LOOK_S = 0.2
"""The client may end without a word (see `_use`), so it is looked at so often."""
PING_S = 1
PINGS = 2
"""A server that stops answering is noticed after PING_S * PINGS and a bit."""
PUBLISH_TIMEOUT_S = 0.8
CHECK_TIMEOUT_S = 0.9
FETCH_TIMEOUT_S = 1.0
RETRY_S = 1.0
MAX_MESSAGES = 100_000

Consumer = Callable[[bytes], Awaitable[bool]]
"""Takes one message; True: done with it, False: give it again after `RETRY_S`."""
Complaint = Callable[[Exception], None]
Stalled = Callable[[ConsumerStalledError | None], None]
"""Hears after each fetch whether messages wait that are not given; None: no, or no longer."""


class Consuming(NamedTuple):
    """Who consumes, and who hears how it goes."""

    consumer: Consumer
    complain: Complaint
    """Hears what goes wrong with consuming while connected."""
    stalled: Stalled


class Queue:
    """One service's connection to the queue, known to it as the dependency `name`."""

    def __init__(self, name: str, url: str, client_name: str) -> None:
        self.name = name
        self._url = url
        self._client_name = client_name
        self._client: Client | None = None
        self._error: Exception = nats.errors.ConnectionClosedError()
        """Why there is no connection."""
        self._tried = asyncio.Event()
        """Set once the first attempt to connect has ended, well or not."""

    @asynccontextmanager
    async def open(self, consuming: Consuming | None = None) -> AsyncIterator[None]:
        """Stay connected, and consume if a consumer is given, while inside. Never fails because the server is away."""
        keeping = asyncio.create_task(self._keep_connected(consuming))
        try:
            yield
        finally:
            await end(keeping)

    async def publish(self, subject: str, payload: bytes, message_id: str) -> None:
        """Store one message; with the same id it is stored once.

        Raises:
            DependencyFailed: it is not known to be stored.
        """
        try:
            client = await self._connected()
            await client.jetstream().publish(
                subject, payload, timeout=PUBLISH_TIMEOUT_S, headers={"Nats-Msg-Id": message_id}
            )
        except (nats.errors.Error, OSError) as error:
            raise DependencyFailed(self.name, error) from error

    async def check(self) -> None:
        """Raise what the queue's client raised unless the server answers a ping now."""
        client = await self._connected()
        await client.rtt(timeout=CHECK_TIMEOUT_S)

    async def _connected(self) -> Client:
        await self._tried.wait()
        if self._client is None or not self._client.is_connected:
            raise self._error.with_traceback(None)
        return self._client

    async def _keep_connected(self, consuming: Consuming | None) -> None:
        while True:
            ended = asyncio.Event()
            client = Client()
            try:
                await self._connect(client, ended)
                await self._use(client, ended, consuming)
            except (nats.errors.Error, OSError) as error:
                self._error = error
            finally:
                self._client = None
                self._tried.set()
                await _close(client)
            await asyncio.sleep(RECONNECT_S)

    async def _connect(self, client: Client, ended: asyncio.Event) -> None:
        connecting = True

        async def closed() -> None:
            ended.set()

        async def failed(error: Exception) -> None:
            self._error = error
            if connecting:  # the client would go on trying by itself, for ever and without a word
                raise error

        await client.connect(
            self._url,
            name=self._client_name,
            allow_reconnect=False,
            connect_timeout=CONNECT_TIMEOUT_S,
            ping_interval=PING_S,
            max_outstanding_pings=PINGS,
            closed_cb=closed,
            error_cb=failed,
        )
        connecting = False
        await client.jetstream().add_stream(
            StreamConfig(name=STREAM, subjects=[SUBJECTS], max_msgs=MAX_MESSAGES, max_age=24 * 3_600.0)
        )
        self._client = client
        self._tried.set()

    async def _use(self, client: Client, ended: asyncio.Event, consuming: Consuming | None) -> None:
        """Return when the connection has ended."""
        # The client cancels futures that others wait for when it closes; so consuming is a task of its own, whose
        # cancellation is not ours.
        task = asyncio.create_task(_consume(client, consuming)) if consuming else None
        try:
            # The event alone will not do: a client whose process was stopped for a while fails while it closes, and
            # then neither tells that it is closed nor connects again.
            while client.is_connected:
                with suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), LOOK_S)
                    break
            if client.last_error is not None:
                self._error = client.last_error
        finally:
            if task is not None and consuming is not None:
                await end(task)
                consuming.stalled(None)  # who has no connection cannot know


async def _consume(client: Client, consuming: Consuming) -> None:
    """Consume until the connection ends. When it does, the client turns even a cancellation that arrives while it waits
    into an error of its own, so the end of the connection must end this too."""
    while client.is_connected:
        try:
            jetstream = client.jetstream()
            subscription = await _subscription(jetstream)
            stalls = Stalls()
            while True:
                if await _one(subscription, consuming.consumer):
                    stalls.fed()
                    consuming.stalled(None)
                else:
                    consuming.stalled(stalls.judge(await _look(jetstream)))
        except (nats.errors.Error, OSError) as error:
            if not client.is_connected:
                return
            consuming.complain(error)
        await asyncio.sleep(RETRY_S)


async def _subscription(jetstream: JetStreamContext) -> JetStreamContext.PullSubscription:
    config = ConsumerConfig(
        durable_name=DURABLE,
        filter_subject=CREATED,
        ack_policy=AckPolicy.EXPLICIT,
        deliver_policy=DeliverPolicy.ALL,
        ack_wait=ORDERS_DELIVERY.ack_wait_s,
        max_ack_pending=ORDERS_DELIVERY.max_ack_pending,
        max_deliver=ORDERS_DELIVERY.max_deliver,
    )
    await jetstream.add_consumer(STREAM, config)
    return await jetstream.pull_subscribe_bind(DURABLE, STREAM)


async def _look(jetstream: JetStreamContext) -> Look | None:
    """Return what the server says of the consumer; None if it does not say: that is the connection's check to tell."""
    try:
        found = await jetstream.consumer_info(STREAM, DURABLE, timeout=CHECK_TIMEOUT_S)
    except (nats.errors.Error, OSError):
        return None
    given = found.delivered.consumer_seq if found.delivered else 0
    return Look(found.num_pending or 0, given, _paused_until(found))


def _paused_until(found: ConsumerInfo) -> str | None:
    return (found.config.pause_until or "an unknown time") if found.paused else None


async def _one(subscription: JetStreamContext.PullSubscription, consumer: Consumer) -> bool:
    """Let one message be worked on; False if none came in time."""
    # One at a time: a larger fetch can hold a delivered message back until its time-out.
    try:
        [message] = await subscription.fetch(1, timeout=FETCH_TIMEOUT_S)
    except TimeoutError:
        return False
    await _settle(message, await consumer(message.data))
    return True


async def _settle(message: Msg, done: bool) -> None:
    if done:
        await message.ack()
    else:
        await message.nak(delay=RETRY_S)


async def _close(client: Client) -> None:
    with suppress(Exception):  # it is of no more use either way
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await client.close()


class Stored(NamedTuple):
    """One message as it lies in a stream."""

    seq: int
    payload: bytes


class Served(NamedTuple):
    """How the server serves a durable consumer."""

    subject: str
    delivery: Delivery
    paused_until: str | None
    """The end of its pause; None: it is not paused."""


@asynccontextmanager
async def administration(url: str) -> AsyncIterator[Administration]:
    """Connect to the queue's server as its administrator.

    Raises:
        nats.errors.Error, OSError: it does not answer.
    """
    client = Client()

    async def failed(error: Exception) -> None:
        if client.is_connecting:  # the client would go on trying by itself
            raise error

    try:
        await client.connect(url, allow_reconnect=False, connect_timeout=CONNECT_TIMEOUT_S, error_cb=failed)
        yield Administration(client.jetstream(timeout=CONNECT_TIMEOUT_S))
    finally:
        await _close(client)


class Administration:
    """What is done to the messages of a queue and their consumers by hand."""

    def __init__(self, jetstream: JetStreamContext) -> None:
        self._jetstream = jetstream

    async def unfinished(self, what: Announced, limit: int) -> list[Stored]:
        """Return the oldest messages from the consumer's acknowledgement floor on, at most `limit`.

        All before it are done with. Of those behind it some may be. Nothing if nobody has consumed yet.
        """
        try:
            floor = (await self._jetstream.consumer_info(what.stream, what.consumer)).ack_floor
        except nats.js.errors.NotFoundError:
            return []
        seq = (floor.stream_seq if floor else 0) + 1
        found: list[Stored] = []
        while len(found) < limit:
            try:
                raw = await self._jetstream.get_msg(what.stream, seq=seq, subject=what.subject, next=True)
            except nats.js.errors.NotFoundError:
                break
            found.append(Stored(raw.seq or seq, raw.data or b""))
            seq = found[-1].seq + 1
        return found

    async def put(self, subject: str, payload: bytes) -> None:
        """Store one message."""
        await self._jetstream.publish(subject, payload, timeout=CONNECT_TIMEOUT_S)

    async def set_aside(self, what: Announced, message: Stored) -> None:
        """Keep a message where nobody consumes it, once, and then take it from where it lies."""
        name = {"Nats-Msg-Id": f"{what.aside}.{message.seq}"}
        await self._jetstream.publish(what.aside, message.payload, timeout=CONNECT_TIMEOUT_S, headers=name)
        with suppress(nats.js.errors.NotFoundError):  # another hand was quicker
            await self._jetstream.delete_msg(what.stream, message.seq)

    async def served(self, stream: str, consumer: str) -> Served | None:
        """Return how a durable consumer is served; None if nobody has consumed yet."""
        try:
            found = await self._jetstream.consumer_info(stream, consumer)
        except nats.js.errors.NotFoundError:
            return None
        config = found.config
        delivery = Delivery(config.ack_wait or 0.0, config.max_ack_pending or 0, config.max_deliver or 0)
        return Served(config.filter_subject or "", delivery, _paused_until(found))

    async def pause(self, stream: str, consumer: str, until: str) -> None:
        """Let the server give a consumer nothing until a moment (RFC 3339)."""
        await self._jetstream.pause_consumer(stream, consumer, until)

    async def resume(self, stream: str, consumer: str) -> None:
        """End a consumer's pause; nothing happens if there is none."""
        await self._jetstream.resume_consumer(stream, consumer)

    async def serve(self, stream: str, consumer: str, subject: str, delivery: Delivery) -> None:
        """Serve a durable consumer so from now on. That does not end a pause."""
        config = (await self._jetstream.consumer_info(stream, consumer)).config
        wanted = config.evolve(
            filter_subject=subject,
            ack_wait=delivery.ack_wait_s,
            max_ack_pending=delivery.max_ack_pending,
            max_deliver=delivery.max_deliver,
        )
        await self._jetstream.add_consumer(stream, wanted)
