"""A recording said again, message by message, with the gaps that it was recorded with.

Readers judge a message by the stamp of its sender against the broker's clock, and by keys. A frame of yesterday is
therefore refused today, wherever it stands. So every message that a replay admits is sealed anew for the journal it is
said in: the same payload bytes, sender, tag and lifetime, stamped as long before the broker takes it as then, with the
keys of that journal; causes are carried over to the new sequences. What was refused then is said as it stands, and is
refused again. docs/adr/0022 has the alternatives.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from broker.contracts.base import Contract
from broker.contracts.inventory import Inventory
from broker.contracts.plan import DecisionTag
from broker.envelope import Signer, wall_clock_us
from broker.errors import BrokerDownError, WrongChannelError
from broker.gate import DUE, Trusted
from broker.keyring import Keyring
from broker.port import Broker, Stored
from broker.subjects import ROLES, Role, matches, rules_for
from harness.recording import Recording, require_signer
from harness.replay import Door, deciders_of, inventory_of

SETTLE_S = 5.0
"""How long a due timer may take from its stream into the journal."""
POLL_S = 0.001
_US = 1_000_000
Sleep = Callable[[float], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Line:
    """One message to be said."""

    at_s: float
    """When, in recorded time, seconds since the first."""
    subject: str
    original: Stored
    message: Contract | None
    """None: it was refused, and is said as it stands."""
    sender: str = ""
    tag: DecisionTag = "DETERMINISTIC"
    ttl_s: float = 0.0
    cause: int = 0
    lag_us: int = 0
    """From the sender's stamp to the broker's, microseconds; negative if the sender's clock was ahead."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """How well the gaps were kept: what the broker stamped against what was recorded, divided by the speed."""

    messages: int
    worst_ms: float
    median_ms: float
    p99_ms: float
    drift_ms: float
    """The largest distance of any message from where it should stand, seen from the first."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A recording, ready to be said again."""

    scenario: str
    incident: str
    inventory: Inventory
    lines: tuple[Line, ...]


def opened(path: Path, *, signed_by: bytes | None = None) -> Piece:
    """Read a recording whole, so that what is wrong with it is said before anything is started.

    Raises:
        NotFoundError, BadRecordingError: see `harness.replay.replay`.
    """
    inventory = inventory_of(path)
    recording = Recording(path)
    door = Door(recording)
    deciders_of(recording, door.gate)  # what was seen before it began is not seen for the first time in it
    lines = score_of(door, recording.events())
    if signed_by is not None:
        require_signer(recording, signed_by)
    return Piece(recording.header.scenario, recording.header.incident, inventory, lines)


def score_of(door: Door, events: Iterable[Stored]) -> tuple[Line, ...]:
    """Return what is to be said, in order.

    What stands where nobody may speak is left out: no journal of ours can hold it, and a broker could take it for an
    order.
    """
    lines: list[Line] = []
    first_us: int | None = None
    for stored in events:
        trusted = door.admit(stored)
        if not rules_for(stored.subject):
            continue
        first_us = stored.time_us if first_us is None else first_us
        at_s = max(0.0, (stored.time_us - first_us) / _US)
        lines.append(_line(at_s, stored, trusted))
    return tuple(lines)


def _line(at_s: float, stored: Stored, trusted: Trusted | None) -> Line:
    if trusted is None:
        return Line(at_s, stored.subject, stored, None)
    envelope = trusted.envelope
    return Line(
        at_s,
        stored.subject,
        stored,
        trusted.message,
        envelope.sender,
        envelope.tag,
        envelope.ttl_s,
        envelope.cause,
        stored.time_us - envelope.ts,
    )


class Voices:
    """Seals messages in the name of those who said them, with the keys of another journal."""

    def __init__(self, keyring: Keyring, clock: Callable[[], int] = wall_clock_us) -> None:
        self._keyring = keyring
        self._clock = clock
        self._lag_us = 0
        self._signers: dict[str, Signer] = {}

    def frame(self, line: Line, sequences: dict[int, int]) -> bytes:
        """Return the frame to be published now.

        Args:
            sequences: where the messages said so far stand, by their recorded sequences.
        """
        if line.message is None:
            return line.original.data
        self._lag_us = line.lag_us
        cause = sequences.get(line.cause, 0)
        return self._signer(line.sender).seal(
            line.message, subject=line.subject, cause=cause, tag=line.tag, ttl_s=line.ttl_s
        )

    def _signer(self, sender: str) -> Signer:
        if sender not in self._signers:
            name, _, instance = sender.partition("/")
            self._signers[sender] = Signer(_role(name), instance, self._keyring, clock=self._stamp)
        return self._signers[sender]

    def _stamp(self) -> int:
        return self._clock() - self._lag_us


def _role(name: str) -> Role:
    role = next((role for role in ROLES if role == name), None)
    if role is None:
        raise WrongChannelError(f"{name!r} is none of the roles {', '.join(ROLES)}")
    return role


async def say(
    lines: Sequence[Line],
    broker: Broker,
    voices: Voices,
    *,
    speed: float = 1.0,
    told: Callable[[int, Line], None] = lambda _count, _line: None,
    sleep: Sleep = asyncio.sleep,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[int, ...]:
    """Publish the lines in order, each when it is due; return where they stand. Others may speak in between.

    Args:
        speed: so many recorded seconds in one second.
        told: called after every message, with how many were said.

    Raises:
        BrokerDownError: the broker went away. ValueError: the speed is not above 0.
    """
    if not speed > 0:
        raise ValueError(f"a speed is above 0, not {speed}")
    sequences: dict[int, int] = {}
    stand: list[int] = []
    gc.freeze()  # one pass of the collector over all that is loaded takes longer than a gap may be off
    try:
        began = clock()
        for count, line in enumerate(lines, 1):
            if (ahead_s := began + line.at_s / speed - clock()) > 0:
                await sleep(ahead_s)
            stands = await broker.publish(line.subject, voices.frame(line, sequences))
            if matches(DUE, line.subject):
                stands = await _copied(broker, line.subject, sleep)  # the broker itself takes it into the journal
            sequences[line.original.seq] = stands
            stand.append(stands)
            told(count, line)
    finally:
        gc.unfreeze()
    return tuple(stand)


async def stamps(broker: Broker, sequences: Iterable[int]) -> list[int]:
    """Return the broker's stamps of these messages of its journal, microseconds."""
    found = {item.seq: item.time_us async for item in broker.read(follow=False) if isinstance(item, Stored)}
    return [found[seq] for seq in sequences]


async def _copied(broker: Broker, subject: str, sleep: Sleep) -> int:
    """Return the sequence of a due timer, whose subject is its own, once the journal has it."""
    deadline = time.monotonic() + SETTLE_S
    while (found := await broker.last(subject)) is None:
        if time.monotonic() > deadline:
            raise BrokerDownError(f"{subject} did not come into the journal within {SETTLE_S:g} s")
        await sleep(POLL_S)
    return found.seq


def gaps(lines: Sequence[Line], said_us: Sequence[int], speed: float) -> Gaps:
    """Return how well the gaps were kept.

    Args:
        said_us: the broker's stamps of the same messages, in order, microseconds.
    """
    if len(lines) != len(said_us):
        raise ValueError(f"{len(lines)} messages, {len(said_us)} stamps")
    wanted = [line.at_s * 1_000 / speed for line in lines]
    found = [(stamp - said_us[0]) / 1_000 for stamp in said_us]
    off = sorted(abs((b - a) - (d - c)) for (a, b), (c, d) in zip(pairwise(found), pairwise(wanted), strict=True))
    drift = max((abs(a - b) for a, b in zip(found, wanted, strict=True)), default=0.0)
    return Gaps(
        messages=len(lines),
        worst_ms=round(off[-1], 3) if off else 0.0,
        median_ms=round(off[len(off) // 2], 3) if off else 0.0,
        p99_ms=round(off[min(len(off) - 1, len(off) * 99 // 100)], 3) if off else 0.0,
        drift_ms=round(drift, 3),
    )
