"""Replay: decide a recorded run again without network, clock or model, and compare byte by byte.

Every machine gets the state it had when recording began, and then every message in the journal's order. What it decides
must be what the recording holds: the same subjects, the same payload bytes; nothing more, nothing less.
"""

from __future__ import annotations

import gc
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.contracts.inventory import Inventory
from broker.errors import BrokerError, DivergenceError, Refusal
from broker.gate import Gate, Trusted
from broker.port import Stored
from broker.runtime.decider import Decided, Decider
from broker.runtime.snapshot import restore
from harness.errors import BadRecordingError
from harness.machines import make
from harness.recording import Recording, require_signer

SETTLE_US = 3_000_000
"""Decisions caused in the last seconds of a recording may stand behind its end."""
EXCERPT = 400


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where the recording is not what the machines decide."""

    machine: str
    subject: str
    cause: int
    """Journal sequence of the event that led to it."""
    recorded: str | None
    decided: str | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a replay came to."""

    scenario: str
    incident: str
    events: int
    refused: int
    decisions: int
    seconds: float
    events_per_second: float
    difference: Difference | None
    digest: str
    """SHA-256, hex, over subject and bytes of every decision in order: two replays that decided the same share it."""
    format: int
    signed_by: str | None
    """Public key whose signature fits, hex; None: nobody signed."""


class Door:
    """The gate of a replay. It has no keys; what only keys can refuse, the recording says (`Header.refused`)."""

    def __init__(self, recording: Recording) -> None:
        self.gate = Gate(None)
        self._refused = frozenset(seq for seq, _ in recording.header.refused)

    def admit(self, stored: Stored) -> Trusted | None:
        """Return the trusted message, or None if it was refused."""
        if stored.seq in self._refused:
            return None
        try:
            return self.gate.admit(stored)
        except Refusal:
            return None


def replay(path: Path, *, signed_by: bytes | None = None) -> Report:
    """Replay a recording.

    Args:
        signed_by: public key (32 bytes) that must have signed it; anybody or nobody may have unless given.

    Raises:
        NotFoundError, BadRecordingError: it cannot be read, was cut or edited (names the event), or is signed by
            another.
    """
    recording = Recording(path)
    door = Door(recording)
    deciders = deciders_of(recording, door.gate)
    with _only_own_garbage():
        report = _decide_again(recording, door, deciders)
    if signed_by is not None:
        require_signer(recording, signed_by)
    return report


def deciders_of(recording: Recording, gate: Gate) -> list[tuple[str, Decider[Any]]]:
    """Return the machines as they were when recording began; the gate remembers what the oldest of them had seen.

    Raises:
        BadRecordingError: configuration or snapshot is not what a machine of this program has written.
    """
    deciders: list[tuple[str, Decider[Any]]] = []
    oldest = -1
    for record in recording.header.machines:
        try:
            machine = make(record.name, record.version, record.config)
            snapshot = restore(machine, record.snapshot)
            if type(snapshot.seq) is not int or not all(map(_is_sound, (*snapshot.open, *snapshot.said))):
                raise ValueError("a number or a text in its snapshot is none")
            deciders.append((record.name, snapshot.decider(machine)))
            if oldest < 0 or snapshot.seq < oldest:
                gate.load(snapshot.nonces)
                oldest = snapshot.seq
        except BadRecordingError as error:
            raise BadRecordingError(f"{recording.path}: {error}") from error
        except (BrokerError, TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
            # Types and digest of the bytes hold, and still they may be a forger's: what is in them can be anything.
            why = " ".join(str(error).split())[:EXCERPT]
            raise BadRecordingError(f"{recording.path} was edited: its {record.name} cannot be made: {why}") from error
    return deciders


def _is_sound(decided: Decided) -> bool:
    """Tell whether what is compared and shown of a decision is of its type."""
    numbers, texts = (decided.cause, decided.time_us), (decided.kind, decided.subject, decided.ends_with or "")
    return all(type(number) is int for number in numbers) and all(
        isinstance(part, kind) for part, kind in (*((text, str) for text in texts), (decided.payload, bytes))
    )


@contextmanager
def _only_own_garbage() -> Iterator[None]:
    """Keep the collector away: one pass over the loaded modules costs some 40 ms, more than a whole incident's replay,
    and frozen values have no cycles that it would find."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _decide_again(recording: Recording, door: Door, deciders: list[tuple[str, Decider[Any]]]) -> Report:
    events = refused = decisions = last_us = 0
    difference: Difference | None = None
    digest = hashlib.sha256()
    started = time.perf_counter()
    for stored in recording.events():
        events, last_us = events + 1, stored.time_us
        if difference is not None:
            continue  # the rest is only checked against the recording's own chain
        trusted = door.admit(stored)
        if trusted is None:
            refused += 1
            continue
        for name, decider in deciders:
            if stored.seq <= decider.seq:
                continue
            try:
                decided = decider.apply(trusted)
            except DivergenceError as error:
                difference = _difference(name, error)
                break
            except Exception:  # noqa: S112 - as the host does: the event is passed over, what it should have led to lacks
                continue
            decisions += len(decided)
            for item in decided:
                digest.update(f"{item.kind} {item.subject} {len(item.payload)} ".encode() + item.payload)
    seconds = time.perf_counter() - started
    difference = difference or _missing(deciders, last_us)
    header = recording.header
    return Report(
        scenario=header.scenario,
        incident=header.incident,
        events=events,
        refused=refused,
        decisions=decisions,
        seconds=seconds,
        events_per_second=events / seconds if seconds else 0.0,
        difference=difference,
        digest=digest.hexdigest(),
        format=recording.version,
        signed_by=None if recording.seal is None else recording.seal.signer,
    )


def _difference(machine: str, error: DivergenceError) -> Difference:
    recorded, decided = _text(error.recorded), _text(error.decided)
    if decided is None:
        what = f"the recording holds it, the {machine} decides nothing there"
    else:
        what = f"recorded {recorded}, the {machine} decides {decided}"
    sentence = f"different at {error.subject}, caused by event {error.cause}: {what}"
    return Difference(machine, error.subject, error.cause, recorded, decided, sentence)


def _missing(deciders: list[tuple[str, Decider[Any]]], last_us: int) -> Difference | None:
    """Return the first decision that the recording should hold and does not."""
    for name, decider in deciders:
        for decided in decider.open:
            if decided.kind == "publish" and decided.time_us < last_us - SETTLE_US:
                text = _text(decided.payload)
                sentence = (
                    f"different at {decided.subject}, caused by event {decided.cause}: "
                    f"the {name} decides {text}, the recording does not hold it"
                )
                return Difference(name, decided.subject, decided.cause, None, text, sentence)
    return None


def _text(payload: bytes | None) -> str | None:
    return None if payload is None else payload.decode(errors="replace")[:EXCERPT]


def inventory_of(path: Path) -> Inventory:
    """Return the world that a recording's machines knew.

    Raises:
        NotFoundError, BadRecordingError: it cannot be read, or none of its machines knows one.
    """
    recording = Recording(path)
    configs = (decider.machine.config for _, decider in deciders_of(recording, Gate(None)))
    found = next(
        (known for config in configs if isinstance(known := getattr(config, "inventory", None), Inventory)), None
    )
    if found is None:
        raise BadRecordingError(f"{path} holds no machine that knows the devices")
    return found
