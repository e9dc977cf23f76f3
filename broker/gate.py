"""The one place where bytes of the journal become a trusted message, or a refusal with a name.

Order, cheap before dear and outer before inner; the first that fails names the refusal:

1. size          at most MAX_FRAME, before anything is parsed          `too_large`
2. frame         exactly the known fields                              `bad_frame`
3. key version   the keyring holds that version of that channel        `unknown_key_version` (or `wrong_channel`)
4. MAC           over the exact bytes, compared in constant time       `bad_mac`
5. channel       a rule of `subjects.RULES` lets this sender's role say this type on this subject under this channel's
                 key                                                   `wrong_channel`
6. freshness     not older than TTL + skew, not stamped beyond skew    `expired`, `from_the_future`
7. replay        its nonce was not seen elsewhere in the journal       `replayed`
8. schema        the payload is a value of its type ...                `wrong_schema`
                 ... that belongs on this very subject                 `wrong_channel`

Freshness of a message that is *read back* is judged against the broker's timestamp, so that reading the journal again
gives the same answers years later; of one that is to be *acted on*, against now.

A nonce is remembered only once its message was admitted, by the broker's clock and for as long as the message could
still be fresh: memory is bounded by time, never by count. The same nonce at the same sequence is a redelivery and is
let in. A timer comes back from the broker on its due subject with the nonce of the timer itself: once.

A due timer never expires: the broker alone puts messages there (no user may publish on `due.`), and a broker that was
down for an hour must still end what was waiting. What it must not be is early.
"""

from __future__ import annotations

import heapq
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgpack

from broker.contracts.base import Contract
from broker.contracts.control import Timer
from broker.contracts.machine import Event
from broker.contracts.registry import CONTRACTS
from broker.envelope import NONCE_BYTES, Envelope, open_frame
from broker.errors import (
    BadMacError,
    ExpiredError,
    FromTheFutureError,
    ReplayedError,
    WrongChannelError,
)
from broker.keyring import Keyring
from broker.port import Stored
from broker.subjects import rules_for

SKEW_S: Final = 5.0
"""How far two clocks may be apart, seconds."""
DUE: Final = "triage.due.>"
_DUE_PREFIX: Final = DUE.removesuffix(">")
_US: Final = 1_000_000


class Trusted(NamedTuple):
    """A message that passed every check, with where it stood and what it was wrapped in."""

    stored: Stored
    envelope: Envelope
    message: Contract

    def event(self) -> Event:
        """Return it as a machine sees it."""
        stored, envelope = self.stored, self.envelope
        return Event(stored.seq, stored.time_us, stored.subject, self.message, envelope.sender, envelope.tag)


class _Seen(NamedTuple):
    """Where a nonce stands: at `seq`, and for a timer also at `due_seq` (0: not there)."""

    seq: int
    due_seq: int
    forget_us: int


class Gate:
    """Lets messages in, one at a time. Not shared between threads."""

    def __init__(self, keyring: Keyring | None, *, skew_s: float = SKEW_S) -> None:
        """
        Args:
            keyring: keys to verify with. None skips key version and MAC and nothing else: for replay of a recording
                whose own signature was verified as a whole.
            skew_s: how far a sender's clock may be off, seconds.
        """
        self._keyring = keyring
        self._skew_us = round(skew_s * _US)
        self._seen: dict[bytes, _Seen] = {}
        self._expiry: list[tuple[int, bytes]] = []
        self._broker_us = 0

    def use(self, keyring: Keyring) -> None:
        """Verify with another keyring from now on (after `control.rotate`); what was seen stays seen."""
        self._keyring = keyring

    def admit(self, stored: Stored, *, now_us: int | None = None) -> Trusted:
        """Return the trusted message.

        Args:
            now_us: now, microseconds since the epoch, if the message is to be acted on; None to read it back.

        Raises:
            Refusal: one of `errors.REFUSALS`, by the first check that failed. The gate is then as it was before.
        """
        envelope = open_frame(stored.data)
        self._check_mac(envelope)
        if stored.relayed:
            raise WrongChannelError(f"{stored.subject} was not published: a reader had the broker put an answer there")
        subject = stored.subject
        if not _may_say(envelope.sender, envelope.type, envelope.channel, subject):
            raise _wrong_channel(envelope, subject)
        due = subject.startswith(_DUE_PREFIX)
        if not due:
            self._check_freshness(envelope, stored.time_us if now_us is None else now_us)
        self._check_replay(envelope, stored, due=due)
        message = CONTRACTS[envelope.type].decode(envelope.payload)
        _check_place(message, stored, skew_us=self._skew_us)
        self._remember(envelope, stored, due=due)
        return Trusted(stored, envelope, message)

    def dump(self) -> bytes:
        """Return the memory of nonces, for a snapshot."""
        entries = [[nonce, seen.seq, seen.due_seq, seen.forget_us] for nonce, seen in self._seen.items()]
        return bytes(msgpack.packb({"v": 1, "broker_us": self._broker_us, "seen": entries}, use_bin_type=True))

    def load(self, data: bytes) -> None:
        """Replace the memory with one that `dump` gave, so that refusals after a restart are the same.

        Raises:
            ValueError: not such a memory; the gate's own is then as it was.
        """
        broker_us, seen = _parse_memory(data)
        self._broker_us = broker_us
        self._seen = seen
        self._expiry = [(entry.forget_us, nonce) for nonce, entry in seen.items()]
        heapq.heapify(self._expiry)

    def _check_mac(self, envelope: Envelope) -> None:
        if self._keyring is None:
            return
        key = self._keyring.key(envelope.channel, envelope.key_version)
        if not envelope.is_signed_by(key):
            raise BadMacError(
                f"{envelope.type} of {envelope.sender}: the MAC does not fit channel {envelope.channel}, "
                f"key version {envelope.key_version}"
            )

    def _check_freshness(self, envelope: Envelope, now_us: int) -> None:
        age_us = now_us - envelope.ts
        if age_us > envelope.ttl_s * _US + self._skew_us:
            raise ExpiredError(
                f"{envelope.type} of {envelope.sender} is {age_us / _US:.1f} s old; it lives {envelope.ttl_s:g} s"
            )
        if -age_us > self._skew_us:
            raise FromTheFutureError(
                f"{envelope.type} of {envelope.sender} is stamped {-age_us / _US:.1f} s ahead; "
                f"{self._skew_us / _US:g} s are allowed"
            )

    def _check_replay(self, envelope: Envelope, stored: Stored, *, due: bool) -> None:
        seen = self._seen.get(envelope.nonce)
        if seen is None:
            return
        # A timer waits in a stream of its own, so its sequence and that of its due message are not comparable.
        first_firing = due and seen.due_seq == 0
        if stored.seq != (seen.due_seq if due else seen.seq) and not first_firing:
            raise ReplayedError(
                f"{envelope.type} of {envelope.sender} at {stored.seq} repeats the nonce of {seen.due_seq or seen.seq}"
            )

    def _remember(self, envelope: Envelope, stored: Stored, *, due: bool) -> None:
        seq, nonce, before = stored.seq, envelope.nonce, self._seen.get(envelope.nonce)
        # Fresh until ts + TTL + skew, and ts is at most one skew ahead of the broker's own time.
        forget_us = stored.time_us + round(envelope.ttl_s * _US) + 2 * self._skew_us
        if before is None:
            self._seen[nonce] = _Seen(0, seq, forget_us) if due else _Seen(seq, 0, forget_us)
        else:
            place = (before.seq, seq) if due else (seq, before.due_seq)
            self._seen[nonce] = _Seen(*place, max(forget_us, before.forget_us))
        heapq.heappush(self._expiry, (forget_us, nonce))
        self._broker_us = max(self._broker_us, stored.time_us)
        if self._expiry[0][0] < self._broker_us:
            self._forget()

    def _forget(self) -> None:
        expiry, now_us = self._expiry, self._broker_us
        while expiry and expiry[0][0] < now_us:
            _, nonce = heapq.heappop(expiry)
            entry = self._seen.get(nonce)
            if entry is not None and entry.forget_us < now_us:
                del self._seen[nonce]


@lru_cache(maxsize=4_096)
def _may_say(sender: str, type_: str, channel: str, subject: str) -> bool:
    """Tell whether a rule lets this sender's role say this there. Most of a journal is the same few again and again."""
    said, role = (type_, channel), sender.partition("/")[0]
    return any((rule.type, rule.channel) == said and role in rule.senders for rule in rules_for(subject))


def _wrong_channel(envelope: Envelope, subject: str) -> WrongChannelError:
    if not rules_for(subject):
        return WrongChannelError(f"nobody may speak on {subject[:120]}")
    return WrongChannelError(
        f"{envelope.sender} may not say {envelope.type} under channel {envelope.channel} on {subject[:120]}"
    )


def _check_place(message: Contract, stored: Stored, *, skew_us: int) -> None:
    # By its very type: contracts have no subclasses, and pydantic takes long to say that something is none.
    if type(message) is Timer and stored.subject == message.due_subject():
        if message.due_us - stored.time_us > skew_us:
            ahead_s = (message.due_us - stored.time_us) / _US
            raise FromTheFutureError(f"timer {message.timer_id} came back {ahead_s:.1f} s before it is due")
        return
    if message.subject() != stored.subject:
        raise WrongChannelError(f"{message.TYPE} belongs on {message.subject()} but stands on {stored.subject}")


def _parse_memory(data: bytes) -> tuple[int, dict[bytes, _Seen]]:
    try:
        document: Any = msgpack.unpackb(data, raw=False, strict_map_key=True)
        if document["v"] != 1:
            raise ValueError(f"version {document['v']!r}")
        seen = {nonce: _Seen(int(seq), int(due), int(until)) for nonce, seq, due, until in document["seen"]}
        broker_us = int(document["broker_us"])
    except (KeyError, TypeError, ValueError, IndexError, msgpack.UnpackException) as error:
        raise ValueError(f"not a gate's memory: {error}") from error
    if not all(isinstance(nonce, bytes) and len(nonce) == NONCE_BYTES for nonce in seen):
        raise ValueError("not a gate's memory: a nonce has the wrong length")
    return broker_us, seen
