"""One connection to the NATS server: requests with an answer or a reason, listening, coming back after a loss.

Only the core of nats-py is used. Its JetStream layer has traps that were measured (fetch stalls, swallowed messages,
ordered consumers whose filter no permission can bound); the JetStream API is plain JSON over request and reply.

What this adds to a bare client: a permission violation, which NATS reports apart from the request, ends the request
that caused it at once; a lost connection ends every waiting request at once, so that it is asked again as soon as the
connection is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import nats.errors
from nats.aio.client import Client

from broker.errors import BrokerClosedError, BrokerDownError, BrokerError, NotAllowedError, PublishError
from broker.subjects import inbox_prefix

CONNECT_S: Final = 5.0
"""How long `open_link` tries before it gives up."""
_RECONNECT_WAIT_S: Final = 0.05
_CLOSE_S: Final = 5.0
_CANCEL_AGAIN_S: Final = 0.2
_PING_S: Final = 2
_VIOLATION: Final = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"')
_AUTHORIZATION: Final = "authorization violation"
_STATUS: Final = "Status"
_DESCRIPTION: Final = "Description"
_ANSWERED_FROM: Final = "Nats-Stream"


class NoAnswerError(BrokerError):
    """No answer came. It never leaves the adapter: who asked decides whether to ask again."""

    def __init__(self, reason: str, *, no_responder: bool = False) -> None:
        super().__init__(reason)
        self.no_responder = no_responder
        """The server is there, but nothing of it listens on the subject: JetStream starting up, or a missing stream."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came in."""

    subject: str
    reply: str
    data: bytes
    headers: Mapping[str, str]

    @property
    def status(self) -> str:
        """The server's inline status (`100`, `404`, ...) or an empty text for an ordinary message."""
        return self.headers.get(_STATUS, "") if not self.data else ""

    @property
    def description(self) -> str:
        """What the server says beside the status."""
        return self.headers.get(_DESCRIPTION, "")

    @property
    def relayed(self) -> bool:
        """Tell whether what is stored is the broker's answer to a direct read: only those carry this header. A reader
        that names a journal subject as its reply puts such an answer there, past all permissions on publishing."""
        return _ANSWERED_FROM in self.headers


Listener = Callable[[Received], None]


@dataclass(frozen=True, slots=True)
class _Question:
    subject: str
    answer: asyncio.Future[Received]


class Subscription:
    """A subscription that can be ended at any time, whatever state the connection is in."""

    def __init__(self, client: Client, raw: Any) -> None:
        self._client = client
        self._raw = raw

    async def end(self) -> None:
        """Stop listening."""
        with contextlib.suppress(nats.errors.Error):
            await self._raw.unsubscribe()

    async def drain(self) -> None:
        """Stop listening, but hear everything that the server sent before it knew.

        The client's own `drain` does not do: the PING of its flush overtakes the UNSUB it should confirm, and a message
        that was on its way is dropped unheard (measured: one of 1,500 given-up pulls on a busy machine). The PING of a
        second flush is behind the UNSUB for certain, since the first one sent all that was waiting.
        """
        with contextlib.suppress(nats.errors.Error, TimeoutError):
            await self._client._send_unsubscribe(self._raw._id)
            await self._client.flush()
            await self._raw.drain()


class Link:
    """A connection that comes back by itself until it is closed. Made by `open_link`."""

    def __init__(self, user: str, name: str) -> None:
        self.user = user
        self.name = name
        self.on_return: set[Callable[[], None]] = set()
        """Called after each reconnection, and at the end."""
        self.on_refusal: dict[str, Callable[[NotAllowedError], None]] = {}
        """Called when a `send` on that subject turned out to be forbidden."""
        self._client = Client()
        self._inbox = f"{inbox_prefix(user)}.{secrets.token_hex(10)}"
        self._questions: dict[str, _Question] = {}
        self._up = asyncio.Event()
        self._ended = asyncio.Event()
        self._last_error = ""
        self._refused = asyncio.Event()
        self._count = 0

    # life

    async def start(self, url: str, password: str, timeout_s: float) -> None:
        """Connect; see `open_link`."""
        connecting = asyncio.ensure_future(self._connect(url, password))
        refused = asyncio.ensure_future(self._refused.wait())
        try:
            await asyncio.wait({connecting, refused}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                raise BrokerDownError(self._why_not(url))
            connecting.result()
        except (OSError, nats.errors.Error, TimeoutError) as error:
            raise BrokerDownError(f"no connection to the broker at {url}: {error}") from error
        finally:
            refused.cancel()
            if not self._up.is_set():
                await _abandon(connecting)
                await self.close()
        await self._client.subscribe(f"{self._inbox}.*", cb=self._on_answer)

    async def _connect(self, url: str, password: str) -> None:
        await self._client.connect(
            url,
            user=self.user,
            password=password,
            name=self.name,
            inbox_prefix=inbox_prefix(self.user),
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_RECONNECT_WAIT_S,
            connect_timeout=2,
            ping_interval=_PING_S,
            max_outstanding_pings=2,
            error_cb=self._on_error,
            disconnected_cb=self._on_loss,
            reconnected_cb=self._on_return,
            closed_cb=self._on_end,
        )
        self._up.set()

    def _why_not(self, url: str) -> str:
        if self._refused.is_set():
            return f"the broker at {url} refused user {self.user}: wrong password; derive its key file anew"
        return f"no connection to the broker at {url} within the time given: {self._last_error or 'no answer'}"

    async def close(self) -> None:
        """Send what is pending and disconnect for good; waiting requests fail. Takes a few seconds at most."""
        self._end()
        closing = asyncio.ensure_future(self._client.close())
        await asyncio.wait({closing}, timeout=_CLOSE_S)
        await _abandon(closing)
        with contextlib.suppress(nats.errors.Error, OSError, asyncio.CancelledError):
            closing.result()

    @property
    def closed(self) -> bool:
        """Closed for good, by us or by the server."""
        return self._ended.is_set()

    async def until_up(self, timeout_s: float) -> bool:
        """Wait for the connection; tell whether it is there.

        Raises:
            BrokerClosedError: it was closed for good.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(timeout_s, 0.0)):
                await self._up.wait()
        self._must_live()
        return self._up.is_set()

    def _must_live(self) -> None:
        if self.closed:
            raise BrokerClosedError(
                f"{self.name} has no connection to the broker: {self._last_error or 'it was closed'}"
            )

    # talking

    async def request(
        self, subject: str, data: bytes = b"", *, headers: Mapping[str, str] | None = None, timeout_s: float
    ) -> Received:
        """Send and return the answer.

        Raises:
            NoAnswerError: none within `timeout_s`, the connection was lost meanwhile, or nobody listens there.
            NotAllowedError: the server forbids the subject to this user.
            BrokerClosedError: the connection is closed for good.
        """
        self._must_live()
        if not self._up.is_set():
            raise NoAnswerError("the connection is down")
        self._count += 1
        token = str(self._count)
        question = _Question(subject, asyncio.get_running_loop().create_future())
        self._questions[token] = question
        try:
            await self._publish(subject, data, f"{self._inbox}.{token}", headers)
            async with asyncio.timeout(timeout_s):
                answer = await question.answer
        except TimeoutError as error:
            raise NoAnswerError(f"no answer within {timeout_s:g} s") from error
        finally:
            del self._questions[token]
        if answer.status == "503":
            raise NoAnswerError(f"nothing listens on {subject}", no_responder=True)
        return answer

    async def send(self, subject: str, data: bytes = b"", *, reply: str = "") -> None:
        """Send without waiting for anything; dropped while the connection is down.

        Raises:
            BrokerClosedError: the connection is closed for good.
        """
        self._must_live()
        if self._up.is_set():
            await self._publish(subject, data, reply, None)

    async def listen(self, subject: str, listener: Listener) -> Subscription:
        """Call `listener` with every message on a subject below this user's inbox."""
        self._must_live()

        async def on_message(message: Any) -> None:
            listener(_received(message))

        # Bounded by flow control (reading) or by one outstanding pull, so the client's own limit is off: it drops.
        raw = await self._client.subscribe(subject, cb=on_message, pending_msgs_limit=0, pending_bytes_limit=0)
        return Subscription(self._client, raw)

    def new_inbox(self) -> str:
        """Return a subject that only this user may listen on and that nobody else knows."""
        return f"{inbox_prefix(self.user)}.{secrets.token_hex(10)}"

    async def _publish(self, subject: str, data: bytes, reply: str, headers: Mapping[str, str] | None) -> None:
        try:
            await self._client.publish(subject, data, reply=reply, headers=dict(headers) if headers else None)
        except nats.errors.MaxPayloadError as error:
            raise PublishError(f"{subject}: {len(data)} bytes are more than the broker takes") from error
        except (nats.errors.BadSubjectError, nats.errors.BadHeaderError) as error:
            raise PublishError(f"{subject!r} is no subject: {error}") from error
        except nats.errors.ConnectionClosedError as error:
            raise BrokerDownError(f"{self.name} has no connection to the broker") from error
        except (nats.errors.Error, OSError) as error:
            raise NoAnswerError(str(error)) from error

    # what the client tells us

    async def _on_answer(self, message: Any) -> None:
        question = self._questions.get(message.subject.rpartition(".")[2])
        if question is not None and not question.answer.done():
            question.answer.set_result(_received(message))

    async def _on_error(self, error: Exception) -> None:
        text = str(error)
        self._last_error = text or type(error).__name__
        if _AUTHORIZATION in text.lower():
            self._refused.set()
        violation = _VIOLATION.search(text.lower())
        if violation is not None:
            self._forbid(violation.group(2))

    def _forbid(self, lowered_subject: str) -> None:
        # The server's text is lower-cased by the client; subjects of ours differ in more than case.
        for question in self._questions.values():
            if question.subject.lower() == lowered_subject and not question.answer.done():
                question.answer.set_exception(self._not_allowed(question.subject))
        for subject, tell in tuple(self.on_refusal.items()):
            if subject.lower() == lowered_subject:
                tell(self._not_allowed(subject))

    def _not_allowed(self, subject: str) -> NotAllowedError:
        return NotAllowedError(f"the broker does not allow user {self.user} to publish on {subject}")

    async def _on_loss(self) -> None:
        self._up.clear()
        self._fail_all(lambda: NoAnswerError("the connection was lost"))

    async def _on_return(self) -> None:
        self._up.set()
        for callback in tuple(self.on_return):
            callback()

    async def _on_end(self) -> None:
        self._end()

    def _end(self) -> None:
        self._up.set()  # wakes those who wait for it; they look at `closed`
        self._ended.set()
        self._fail_all(lambda: BrokerClosedError(f"{self.name} has no connection to the broker: it was closed"))
        for callback in tuple(self.on_return):
            callback()

    def _fail_all(self, error: Callable[[], BrokerError]) -> None:
        for question in self._questions.values():
            if not question.answer.done():
                question.answer.set_exception(error())


def _received(message: Any) -> Received:
    return Received(message.subject, message.reply, message.data, message.headers or {})


async def open_link(url: str, *, user: str, password: str, name: str, timeout_s: float = CONNECT_S) -> Link:
    """Connect as `user`; `name` is what connection events call this client.

    Raises:
        BrokerDownError: not reachable within `timeout_s`, or the password is wrong (said at once).
    """
    link = Link(user, name)
    await link.start(url, password, timeout_s)
    return link


async def _abandon(task: asyncio.Future[None]) -> None:
    """Cancel until it is over: the client takes a cancellation for its own in places (its `_close`, and `wait_for` of
    Python 3.11 when the answer comes at the same moment) and goes on; a refused password then hung for ever, once in
    thousands of times."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_AGAIN_S)


async def persist(
    link: Link, ask: Callable[[float], Awaitable[Received]], *, total_s: float, try_s: float, pause_s: float = 0.05
) -> tuple[Received, int]:
    """Ask again until there is an answer; return it with how often it was asked.

    Args:
        ask: asks once, with the seconds it may take.

    Raises:
        NoAnswerError: none within `total_s`.
    """
    deadline = time.monotonic() + total_s
    asked = 0
    while True:
        left = deadline - time.monotonic()
        if await link.until_up(left):
            try:
                asked += 1
                return await ask(max(min(try_s, left), 0.05)), asked
            except NoAnswerError as error:
                reason = error
        else:
            reason = NoAnswerError("the connection is down")
        if time.monotonic() + pause_s >= deadline:
            raise reason
        await asyncio.sleep(pause_s)
