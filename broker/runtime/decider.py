"""The pure part of a machine's host: feed it trusted messages in order, it says what the machine decides, and holds
every decision against the journal.

A decision stays *open* until the journal shows it. When its subject is read, the payload bytes must be the same; a
difference is a `DivergenceError` with both texts. The other way round, a message of a kind that only this machine says,
signed by its role, must have been decided before: the machine saw its cause. So every restart, every second instance
and every offline replay is a test of determinism (docs/adr/0002).

Timers wait beside the journal, where reading does not show them. An open timer ends with its due message, with the
result whose publish took it back, and with the machine's own cancel.

No I/O and no clock here: `MachineHost` and the offline replay both run on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Literal

from broker.contracts.base import Contract
from broker.contracts.control import Timer
from broker.contracts.machine import CancelTimer, Command, Machine, Publish, SetTimer, StateT
from broker.contracts.plan import DecisionTag
from broker.contracts.task import Task
from broker.errors import DivergenceError
from broker.gate import Trusted
from broker.subjects import result_of, timer_subject

Kind = Literal["publish", "timer", "cancel"]

ONLY_DECIDED: dict[str, frozenset[str]] = {
    "scheduler": frozenset(
        {"plan.requested", "plan.accepted", "plan.rejected", "plan.executed", "task", "incident.closed"}
        | {"approval.requested", "approval.expired", "incident.asked"}
    ),
    "planner": frozenset({"plan.prompted", "plan.proposed"}),
    "monitor": frozenset({"deviation", "verified", "incident.reported"}),
}
"""By machine: message types that its role says only by the machine's decision, never from a shell."""


@dataclass(frozen=True, slots=True)
class Decided:
    """One command with what it follows from and the bytes it must have in the journal."""

    kind: Kind
    subject: str
    """Where it stands: the message's subject; for a timer and its cancel, the timer's."""
    message: Contract | None
    """None for a cancel."""
    payload: bytes
    """Canonical bytes of the message; empty for a cancel."""
    tag: DecisionTag
    cause: int
    """Journal sequence of the event that led to it."""
    time_us: int
    """Broker time of that event, microseconds since the epoch."""
    ends_with: str | None = None
    """For a task's timer: subject of the result whose publish takes the timer back."""


class Decider(Generic[StateT]):
    """A machine, its state, and its decisions that the journal has not shown yet."""

    def __init__(
        self,
        machine: Machine[StateT],
        *,
        state: StateT | None = None,
        seq: int = 0,
        open_: Iterable[Decided] = (),
        said: Iterable[Decided] = (),
        since: int = 0,
    ) -> None:
        """
        Args:
            state, seq, open_, said: from a snapshot; without one, the machine's first state and nothing read.
            since: journal sequence up to which an older version of the machine decided. Events up to there change the
                state, but what the machine would say to them is neither said nor compared.
        """
        self.machine = machine
        self.state: StateT = machine.initial() if state is None else state
        self.seq = seq
        """Last sequence seen."""
        self.since = since
        self._open: dict[tuple[bool, str], Decided] = {_key(decided): decided for decided in open_}
        self._said: dict[str, Decided] = {decided.subject: decided for decided in said}
        self._ends: dict[str, tuple[bool, str]] = {
            decided.ends_with: key for key, decided in self._open.items() if decided.ends_with is not None
        }
        self._only_decided = ONLY_DECIDED.get(machine.name, frozenset())

    def apply(self, trusted: Trusted) -> tuple[Decided, ...]:
        """Take the next message; return what the machine decides upon it.

        Raises:
            DivergenceError: the journal holds something else than the machine decided. The state is as before.
            Exception: whatever the machine raises on an event it cannot take. The state is as before, the message
                counts as seen.
        """
        stored = trusted.stored
        self.seq = stored.seq
        self._compare(trusted)
        if not self.machine.reads(stored.subject):
            return ()
        self.state, commands = self.machine.step(self.state, trusted.event())
        if not commands or stored.seq <= self.since:
            return ()
        return self._decide(commands, stored.seq, stored.time_us)

    def go_on_as(self, machine: Machine[StateT]) -> None:
        """Let another configuration of the machine decide from the next message on; what is decided stays decided."""
        self.machine = machine

    def pass_over(self, seq: int) -> None:
        """Count a message that was refused as seen."""
        self.seq = max(self.seq, seq)

    def is_open(self, decided: Decided) -> bool:
        """Tell whether a decision still has to be said: neither seen in the journal nor taken back."""
        return self._open.get(_key(decided)) is decided

    def was_said(self, decided: Decided, *, to_be_read: bool = True) -> None:
        """Nothing more is to be done for it. A message that will be read is still compared then; a timer may be gone
        before it is read, so none is waited for."""
        if self.is_open(decided):
            self._close(_key(decided))
        if to_be_read and decided.kind == "publish":
            self._said[decided.subject] = decided

    @property
    def open(self) -> tuple[Decided, ...]:
        """Decisions to be said, in the order of decision."""
        return tuple(self._open.values())

    @property
    def said(self) -> tuple[Decided, ...]:
        """Messages that were said and not read back yet."""
        return tuple(self._said.values())

    def _decide(self, commands: tuple[Command, ...], cause: int, time_us: int) -> tuple[Decided, ...]:
        results = {
            timer_subject(self.machine.name, command.message.timer_id): result_of(command.message.subject())
            for command in commands
            if isinstance(command, Publish) and isinstance(command.message, Task)
        }
        decided = tuple(_decided(command, cause, time_us, results) for command in commands)
        for item in decided:
            self._add(item)
        return decided

    def _add(self, decided: Decided) -> None:
        if decided.kind == "cancel":
            # Another instance may have set the timer, so the cancel itself is still to be said; it is harmless.
            self._close((False, decided.subject))
        self._open[_key(decided)] = decided
        if decided.ends_with is not None:
            self._ends[decided.ends_with] = _key(decided)

    def _close(self, key: tuple[bool, str]) -> None:
        decided = self._open.pop(key, None)
        if decided is not None and decided.ends_with is not None:
            self._ends.pop(decided.ends_with, None)

    def _compare(self, trusted: Trusted) -> None:
        stored, envelope, message = trusted
        subject = stored.subject
        if self._ends and (ended := self._ends.get(subject)) is not None:
            self._close(ended)
        # A timer that came back stands on its due subject; the decision is about the subject it waited on.
        place = message.subject() if type(message) is Timer else subject
        decided = self._open.get((False, place)) if self._open else None
        if decided is None and self._said:
            decided = self._said.get(place)
        if decided is None:
            if envelope.type in self._only_decided:
                self._check_decided(trusted)
            return
        self._close((False, place))
        self._said.pop(place, None)
        if envelope.role == self.machine.name and envelope.payload != decided.payload:
            raise DivergenceError(place, envelope.payload, decided.payload, decided.cause)

    def _check_decided(self, trusted: Trusted) -> None:
        """Refuse what only the machine says, in its role's name, and it did not decide."""
        envelope = trusted.envelope
        if envelope.role == self.machine.name and envelope.cause > self.since:
            raise DivergenceError(trusted.stored.subject, envelope.payload, None, envelope.cause)


def _key(decided: Decided) -> tuple[bool, str]:
    return decided.kind == "cancel", decided.subject


def _decided(command: Command, cause: int, time_us: int, results: dict[str, str]) -> Decided:
    match command:
        case Publish(message, tag):
            return Decided("publish", message.subject(), message, message.encode(), tag, cause, time_us)
        case SetTimer(timer):
            place = timer.subject()
            return Decided(
                "timer", place, timer, timer.encode(), "DETERMINISTIC", cause, time_us, ends_with=results.get(place)
            )
        case CancelTimer(machine, timer_id):
            place = timer_subject(machine, timer_id)
            return Decided("cancel", place, None, b"", "DETERMINISTIC", cause, time_us)
