"""The operator's connection to a running stack: say things, follow the journal, ask for the last word on a subject."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from broker import jetstream
from broker.contracts.base import Contract, describe
from broker.contracts.control import Halt, Resume
from broker.contracts.incident import (
    MAX_TEXT,
    IncidentAnswered,
    IncidentAsked,
    IncidentClosed,
    IncidentReported,
    Source,
)
from broker.contracts.inventory import Inventory
from broker.contracts.telemetry import Telemetry
from broker.envelope import Signer
from broker.errors import BrokerDownError, Refusal, UnknownKeyVersionError
from broker.gate import Gate, Trusted
from broker.keyring import Keyring
from broker.port import Broker, CaughtUp, Fence, Stored
from harness.approvals import Wish, wishes
from harness.errors import RefusedError, StackDownError
from harness.site import KeyPlace, deployment


@dataclass(frozen=True, slots=True)
class Refused:
    """A journal message that the gate did not let in."""

    stored: Stored
    name: str
    detail: str


Seen = Trusted | Refused | CaughtUp


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """An open connection with the operator's keys."""

    home: Path
    broker: Broker
    keyring: Keyring
    signer: Signer
    inventory: Inventory

    async def say(
        self, message: Contract, *, once: bool = False, fence: Fence | None = None, message_id: str | None = None
    ) -> int:
        """Sign and publish a message; return its journal sequence, microsecond-stamped by the broker.

        Halt and Resume stand until the other is said, however old they grow.

        Args:
            message_id: a second message with the same one within five minutes is not stored; each has its own unless
                given.

        Raises:
            FencedError: something newer than the fence says was said meanwhile; nothing was stored.
            DuplicateError: a message with this id was stored before.
        """
        return await self.broker.publish(
            message.subject(),
            self.signer.seal(message),
            once=once,
            message_id=message_id or secrets.token_hex(16),
            fence=fence,
            lasting=isinstance(message, Halt | Resume),
        )

    async def report(self, text: str, *, incident: str | None = None, source: Source = "operator") -> str:
        """Report an incident in free text; return its id.

        Raises:
            RefusedError: the text is empty, too long, or holds control characters; one sentence says which.
        """
        name = incident or new_incident()
        await self.say(checked_report(name, text, source), once=True)
        return name

    async def open_incidents(self) -> set[str]:
        """Return the incidents that were reported and are not closed yet."""
        reported: set[str] = set()
        closed: set[str] = set()
        async for item in self.broker.read(pattern="triage.incident.>", follow=False):
            if isinstance(item, Stored):
                _, _, incident, step, *_ = item.subject.split(".")
                if step in ("closed", "reported"):
                    (closed if step == "closed" else reported).add(incident)
        return reported - closed

    async def open_questions(self, incident: str | None = None) -> list[IncidentAsked]:
        """Return the clarifying questions that wait for an answer, of one incident or of all.

        One waits until it is answered, its incident has ended, or its time is over; what the gate refuses counts for
        nothing.
        """
        asked: dict[tuple[str, int], tuple[IncidentAsked, int]] = {}
        ended: set[str] = set()
        gate = Gate(self.keyring)
        async for item in self.broker.read(pattern=f"triage.incident.{incident or '*'}.>", follow=False):
            if not isinstance(item, Stored):
                continue
            try:
                message = gate.admit(item).message
            except Refusal:
                continue
            if isinstance(message, IncidentAsked):
                asked[message.incident, message.n] = message, item.time_us
            elif isinstance(message, IncidentAnswered):
                asked.pop((message.incident, message.n), None)
            elif isinstance(message, IncidentClosed):
                ended.add(message.incident)
        now_us = time.time_ns() // 1_000
        return [
            question
            for question, said_us in asked.values()
            if question.incident not in ended and now_us < said_us + round(question.wait_s * 1_000_000)
        ]

    async def approvals(self, incident: str | None = None) -> tuple[Wish, ...]:
        """Return every request for a person's approval, of one incident or of all, with what has become of it.

        What the gate refuses counts for nothing. Raises nothing of its own; an unknown incident has no requests.
        """
        name = incident or "*"
        patterns = ("approval.{}.>", "plan.{}.*.*.requested", "incident.{}.closed", "control.>")
        found: list[Trusted] = []
        for pattern in patterns:
            gate = Gate(self.keyring)
            async for item in self.broker.read(pattern=f"triage.{pattern.format(name)}", follow=False):
                if isinstance(item, Stored):
                    with suppress(Refusal):
                        found.append(gate.admit(item))
        return wishes(one.event() for one in sorted(found, key=lambda one: one.stored.seq))

    async def telemetry(self, device: str) -> Telemetry | None:
        """Return the newest that the sensors said of a device; None if nothing was, or nothing that can be believed."""
        item = await self.broker.last(f"triage.telemetry.{device}")
        if item is None:
            return None
        with suppress(Refusal):
            message = Gate(self.keyring).admit(item).message
            return message if isinstance(message, Telemetry) else None
        return None

    async def _admit(self, gate: Gate, item: Stored, keys: _KeyFile) -> Trusted:
        """Admit a message; one under a key version that came after we did is tried again with the keys of now."""
        try:
            return gate.admit(item)
        except UnknownKeyVersionError:
            ring = await keys.newer()
            if ring is None:
                raise
            gate.use(ring)
            self.signer.use(ring)
            return gate.admit(item)

    async def follow(self, start: int, *, follow: bool = True) -> AsyncIterator[Seen]:
        """Read the journal from a sequence on; refused messages are shown as such, never hidden."""
        gate, keys = Gate(self.keyring), _KeyFile(deployment(self.home).keys())
        async for item in self.broker.read(start, follow=follow):
            if isinstance(item, CaughtUp):
                yield item
                continue
            try:
                yield await self._admit(gate, item, keys)
            except Refusal as refusal:
                yield Refused(item, refusal.name, str(refusal))


class _KeyFile:
    """The operator's key file, read again only when it was written anew: opening it is costly by design."""

    def __init__(self, place: KeyPlace) -> None:
        self._place = place
        self._read_at: int | None = None

    async def newer(self) -> Keyring | None:
        """Return the keyring if the file changed since it was last read here, else None."""
        try:
            written_at = self._place.of("operator").stat().st_mtime_ns
        except OSError:
            return None
        if written_at == self._read_at:
            return None
        self._read_at = written_at
        return await asyncio.to_thread(self._place.load, "operator")


def new_incident() -> str:
    """Return a name for an incident that nobody has used."""
    return f"inc-{secrets.token_hex(4)}"


def checked_report(incident: str, text: str, source: Source) -> IncidentReported:
    """Return the report of a text, or raise RefusedError in one sentence."""
    if len(text) > MAX_TEXT:
        raise RefusedError(too_long(f"{len(text):,} characters"))
    try:
        text.encode()  # bytes of a command line that were no text arrive as lone surrogates
    except UnicodeEncodeError as error:
        raise RefusedError("the incident text is no UTF-8 text; report it in words") from error
    try:
        return IncidentReported(incident=incident, text=text, source=source)
    except ValidationError as error:
        raise RefusedError(f"the incident report was refused: {describe(error)}") from error


def too_long(length: str) -> str:
    """Return the sentence that refuses an incident text of that length."""
    return (
        f"the incident text has {length}, at most {MAX_TEXT:,} characters are taken; "
        "shorten it to what is seen, since when, and what you suspect"
    )


@asynccontextmanager
async def connect(home: Path, *, sender: str = "cli") -> AsyncIterator[ControlPlane]:
    """Open the operator's connection to the stack under `home`.

    Args:
        sender: what signs as `operator/<sender>`.

    Raises:
        StackDownError: there is none, or it does not answer. KeyringError: the passphrase does not open the keys.
    """
    site = deployment(home).site()
    ring = site.keys.load("operator")
    try:
        broker = await jetstream.connect(
            site.nats_url, role="operator", instance=f"operator-{secrets.token_hex(3)}", password=ring.broker_password()
        )
    except BrokerDownError as error:
        raise StackDownError(f"the stack under {home} does not answer: {error}; see: triage status") from error
    try:
        yield ControlPlane(home, broker, ring, Signer("operator", sender, ring), site.inventory)
    finally:
        await broker.close()
