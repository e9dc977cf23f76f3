"""The real broker: `port.Broker` over NATS JetStream.

`nats` is imported in `jetstream_link.py` alone; reading is in `jetstream_reader.py`, work queues in
`jetstream_queue.py`, creating streams in `jetstream_setup.py`.

Every store is asked again until it is answered, with the same message id. The server checks an expected sequence
*before* it checks the message id, so the second try of a create-if-absent that was in fact stored is answered with
"wrong sequence" (10071): after more than one try a refusal is believed only if what stands there is not ours.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from broker.errors import (
    AlreadyExistsError,
    BrokerDownError,
    BrokerError,
    DuplicateError,
    FencedError,
    JournalFullError,
    NotAllowedError,
    PublishError,
    UnknownOutcomeError,
)
from broker.jetstream_link import CONNECT_S, Link, NoAnswerError, Received, open_link, persist
from broker.jetstream_queue import JetStreamDelivery, PullQueue, acknowledge
from broker.jetstream_reader import Idle, OrderedReader, Read
from broker.jetstream_setup import SNAPSHOT_STREAM, ensure
from broker.port import CaughtUp, Connection, Delivery, Fence, Stored
from broker.subjects import (
    ADVISORY_STREAM,
    EXHAUSTED_ROOT,
    READERS,
    ROOT,
    SNAPSHOT_BUCKET,
    STREAM,
    SYSTEM_ROOT,
    SYSTEM_STREAM,
    Role,
    stream_of,
)

__all__ = ["JetStreamBroker", "connect", "ensure"]

PUBLISH_S: Final = 10.0
"""How long a publish is tried before its outcome counts as unknown, seconds."""
_TRY_S: Final = 1.5
_ASK_S: Final = 5.0
_WRONG_SEQUENCE: Final = frozenset({10071, 10164})
_FULL: Final = frozenset({10023, 10028, 10047, 10077})
_CAS_TRIES: Final = 5
_SEQ_HEADER: Final = "Triage-Seq"


async def connect(
    url: str, *, role: Role, instance: str, password: str, timeout_s: float = CONNECT_S
) -> JetStreamBroker:
    """Connect an instance of a role to the broker at `url` (`nats://host:port`).

    Raises:
        BrokerDownError: not reachable within `timeout_s` seconds, or the password is wrong (said at once).
    """
    link = await open_link(url, user=role, password=password, name=instance, timeout_s=timeout_s)
    return JetStreamBroker(link, role=role, instance=instance)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the server says of a store."""

    seq: int
    duplicate: bool
    code: int
    description: str
    tries: int


class JetStreamBroker:
    """One connection of one instance; made by `connect`. See `port.Broker` for every promise."""

    def __init__(self, link: Link, *, role: Role, instance: str) -> None:
        self.role: Role = role
        self.instance = instance
        self._link = link
        self._queues: dict[str, PullQueue] = {}

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
        """See `port.Broker.publish`."""
        if once and fence is not None:
            raise ValueError(
                "a publish is created once or fenced, not both: the broker has one expectation per message"
            )
        headers: dict[str, str] = {}
        if once:
            headers |= _expect(0)
        if fence is not None:
            headers |= _expect(fence.seq) | {"Nats-Expected-Last-Subject-Sequence-Subject": fence.subject}
        if ttl_s is not None:
            headers["Nats-TTL"] = f"{ttl_s}s"
        elif lasting:
            headers["Nats-TTL"] = "never"  # counts more than the stream's max_age
        seq = await self._store(subject, data, headers, message_id=message_id, fence=fence)
        if cancel_timer is not None:
            await self.cancel(cancel_timer)
        return seq

    async def schedule(self, subject: str, due_subject: str, at_us: int, data: bytes) -> None:
        """See `port.Broker.schedule`."""
        at = datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        headers = {"Nats-Schedule": f"@at {at}", "Nats-Schedule-Target": due_subject, **_expect(0)}
        await self._store(subject, data, headers)

    async def cancel(self, subject: str) -> None:
        """See `port.Broker.cancel`."""
        headers = {"Nats-Scheduler": subject, "Nats-Schedule-Next": "purge", "Nats-TTL": "1s"}
        await self._store(f"cancel.{self.role}", b"", headers)

    async def last(self, subject: str) -> Stored | None:
        """See `port.Broker.last`.

        Raises:
            NotAllowedError: this role may not look there.
            BrokerDownError: no answer.
        """
        found = await self._direct_get(stream_of(subject), subject)
        if found is None:
            return None
        taken = _microseconds(found.headers["Nats-Time-Stamp"])
        return Stored(int(found.headers["Nats-Sequence"]), taken, subject, found.data)

    def read(self, start: int = 1, pattern: str = ROOT, *, follow: bool = True) -> AsyncIterator[Stored | CaughtUp]:
        """See `port.Broker.read`. Roles that may not read everything get as `CaughtUp.seq` the last sequence they saw.

        Raises:
            NotAllowedError: this role may not read `pattern`.
            BrokerDownError: the connection was closed for good; a broker that is merely away is waited for.
        """
        return self._read(start, pattern, follow)

    async def _read(self, start: int, pattern: str, follow: bool) -> AsyncGenerator[Stored | CaughtUp, None]:
        target = await self._patient_last_sequence() if self.role in READERS else None
        position, said = max(start, 1) - 1, False
        async with aclosing(self._ordered(STREAM, pattern, max(start, 1))) as items:
            async for item in items:
                passed = isinstance(item, Idle) or (target is not None and item.stored.seq > target)
                if passed and not said:
                    said = True
                    yield CaughtUp(position if target is None else target)
                    if not follow:
                        return
                if isinstance(item, Idle):
                    continue
                position = item.stored.seq
                yield item.stored
                if not said and (item.pending == 0 or position == target):
                    said = True
                    yield CaughtUp(position if target is None else target)
                    if not follow:
                        return

    def _ordered(self, stream: str, pattern: str, start: int | None) -> AsyncGenerator[Read | Idle, None]:
        items = OrderedReader(self._link, stream, pattern, start).items()
        return cast(AsyncGenerator[Read | Idle, None], items)

    async def pull(self, durable: str, timeout_s: float) -> Delivery | None:
        """See `port.Broker.pull`."""
        queue = self._queues.setdefault(durable, PullQueue(self._link, durable))
        delivery: JetStreamDelivery | None = await queue.pull(timeout_s)
        return delivery

    async def hand_on(self, reply: str) -> None:
        """See `port.Broker.hand_on`."""
        await acknowledge(self._link, reply, b"-NAK")

    async def connections(self) -> AsyncGenerator[Connection, None]:
        """See `port.Broker.connections`."""
        async with aclosing(self._ordered(SYSTEM_STREAM, SYSTEM_ROOT, None)) as items:
            async for item in items:
                if isinstance(item, Read) and (connection := _connection(item.stored)) is not None:
                    yield connection

    async def exhausted(self, durable: str) -> AsyncGenerator[int, None]:
        """See `port.Broker.exhausted`. Also gives those of the last day, from before the call."""
        async with aclosing(self._ordered(ADVISORY_STREAM, f"{EXHAUSTED_ROOT}.{durable}", 1)) as items:
            async for item in items:
                if isinstance(item, Read):
                    yield int(json.loads(item.stored.data)["stream_seq"])

    async def save_snapshot(self, key: str, data: bytes, seq: int) -> None:
        """See `port.Broker.save_snapshot`.

        Raises:
            NotAllowedError: the key is not this role's (`<role>.…`).
            PublishError: the snapshot is larger than the broker takes, or others kept writing at the same time.
        """
        subject = f"$KV.{SNAPSHOT_BUCKET}.{key}"
        for _ in range(_CAS_TRIES):
            kept = await self._direct_get(SNAPSHOT_STREAM, subject)
            if kept is not None and int(kept.headers.get(_SEQ_HEADER, "0")) > seq:
                return
            headers = {_SEQ_HEADER: str(seq), **_expect(0 if kept is None else int(kept.headers["Nats-Sequence"]))}
            try:
                await self._store(subject, data, headers)
            except AlreadyExistsError:
                continue
            return
        raise PublishError(f"snapshot {key} at {seq} was not kept: others wrote it at the same time")

    async def load_snapshot(self, key: str) -> bytes | None:
        """See `port.Broker.load_snapshot`."""
        kept = await self._direct_get(SNAPSHOT_STREAM, f"$KV.{SNAPSHOT_BUCKET}.{key}")
        return None if kept is None else kept.data

    async def last_sequence(self) -> int:
        """See `port.Broker.last_sequence`.

        Raises:
            NotAllowedError: only roles that read the whole journal may ask.
            BrokerDownError: no answer.
        """
        answer = json.loads((await self._ask(f"$JS.API.STREAM.INFO.{STREAM}")).data)
        if "error" in answer:
            raise BrokerDownError(f"the journal cannot be looked at: {answer['error'].get('description')}")
        return int(answer["state"]["last_seq"])

    async def close(self) -> None:
        """See `port.Broker.close`. Safe to call twice."""
        for queue in self._queues.values():
            await queue.close()
        await self._link.close()

    # asking the server

    async def _patient_last_sequence(self) -> int:
        while True:
            try:
                return await self.last_sequence()
            except BrokerDownError:
                if self._link.closed or await self._link.until_up(0):
                    raise
                await self._link.until_up(PUBLISH_S)

    async def _ask(self, subject: str) -> Received:
        try:
            answer, _ = await persist(
                self._link,
                lambda within_s: self._link.request(subject, timeout_s=within_s),
                total_s=_ASK_S,
                try_s=_TRY_S,
            )
        except NoAnswerError as error:
            raise BrokerDownError(f"the broker does not answer {subject}: {error}") from error
        return answer

    async def _direct_get(self, stream: str, subject: str) -> Received | None:
        answer = await self._ask(f"$JS.API.DIRECT.GET.{stream}.{subject}")
        if answer.status == "404":
            return None
        if answer.status:
            raise BrokerDownError(f"the broker does not give {subject}: {answer.status} {answer.description}")
        return answer

    async def _store(
        self,
        subject: str,
        data: bytes,
        headers: Mapping[str, str],
        *,
        message_id: str | None = None,
        fence: Fence | None = None,
    ) -> int:
        sent = {**headers, "Nats-Msg-Id": message_id or secrets.token_hex(12)}
        try:
            received, tries = await persist(
                self._link,
                lambda within_s: self._link.request(subject, data, headers=sent, timeout_s=within_s),
                total_s=PUBLISH_S,
                try_s=_TRY_S,
            )
        except NoAnswerError as error:
            raise UnknownOutcomeError(
                f"{subject}: no answer within {PUBLISH_S:g} s ({error}); it may or may not be stored"
            ) from error
        answer = _parse_answer(received, tries)
        if answer.code == 0 and not (answer.duplicate and message_id is not None):
            return answer.seq
        if answer.tries > 1 and (own := await self._own_seq(subject, data)) is not None:
            return own
        raise _refusal(subject, answer, fence)

    async def _own_seq(self, subject: str, data: bytes) -> int | None:
        """Return where our own bytes stand as the newest of a subject: an earlier try was stored after all."""
        try:
            standing = await self.last(subject)
        except (NotAllowedError, BrokerDownError):
            return None
        return standing.seq if standing is not None and standing.data == data else None


def _expect(seq: int) -> dict[str, str]:
    return {"Nats-Expected-Last-Subject-Sequence": str(seq)}


def _parse_answer(received: Received, tries: int) -> _Answer:
    try:
        body: dict[str, Any] = json.loads(received.data)
        error = body.get("error") or {}
        return _Answer(
            seq=int(body.get("seq", 0)),
            duplicate=bool(body.get("duplicate", False)),
            code=int(error.get("err_code", error.get("code", 0))),
            description=str(error.get("description", "")),
            tries=tries,
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise UnknownOutcomeError(f"the broker's answer makes no sense: {received.data[:80]!r}") from error


def _refusal(subject: str, answer: _Answer, fence: Fence | None) -> BrokerError:
    if answer.code == 0:
        return DuplicateError(subject, answer.seq)
    if answer.code in _WRONG_SEQUENCE:
        if fence is not None:
            return FencedError(f"{subject} is fenced on {fence.subject} at {fence.seq}; {answer.description}")
        number = re.search(r"(\d+)\s*$", answer.description)
        return AlreadyExistsError(subject, int(number.group(1)) if number else 0)
    if answer.code in _FULL:
        return JournalFullError(f"the journal is full, {subject} was not stored: {answer.description}; free disk space")
    return PublishError(f"the broker refuses {subject}: {answer.description} ({answer.code})")


def _microseconds(stamp: str) -> int:
    """Return microseconds since the epoch of an RFC 3339 stamp with up to nine decimals, in UTC."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * 1_000_000 + int(fraction.ljust(6, "0")[:6])


def _connection(stored: Stored) -> Connection | None:
    """Return a captured system event as a connection; None for what is not a client of ours."""
    event = json.loads(stored.data)
    client = event.get("client", {})
    if "user" not in client:
        return None
    return Connection(
        kind="connect" if stored.subject.endswith(".connect") else "disconnect",
        client=str(client.get("name", "")),
        user=str(client["user"]),
        number=int(client.get("id", 0)),
        reason=str(event.get("reason", "")),
        event=stored.seq,
    )
