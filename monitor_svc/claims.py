"""Who works on what, as far as the journal tells: pure, fed with trusted messages in order.

A claim is open from its own message until a result, a dead letter or the incident's end. Of several claims of one task
attempt the newest holds. What is older than `KEEP_US` is forgotten: no task lives that long.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.contracts.incident import IncidentClosed
from broker.contracts.task import Claim, DeadLetter, Result
from broker.gate import Trusted
from broker.subjects import STREAM, matches

KEEP_US = 900_000_000
WANTED = ("triage.claim.>", "triage.result.>", "triage.dead.>", "triage.incident.*.closed")

TaskKey = tuple[str, str, int]
"""Incident, task, attempt."""


@dataclass(frozen=True, slots=True)
class Held:
    """An open claim."""

    claim: Claim
    seq: int
    time_us: int

    @property
    def task_subject(self) -> str:
        """Return the subject of the task that was claimed."""
        return self.claim.subject().replace("triage.claim.", "triage.task.", 1)


def wanted(subject: str) -> bool:
    """Tell whether messages on this subject open or close claims."""
    return any(matches(pattern, subject) for pattern in WANTED)


def is_genuine(trusted: Trusted, claim: Claim) -> bool:
    """Tell whether a claim speaks for its sender alone and names a delivery of its own queue. Handing on is done with
    the monitor's permissions, so a claim must not be able to aim it elsewhere."""
    own = trusted.envelope.sender == f"{claim.kind}/{claim.instance}"
    reply = claim.delivery
    return own and reply.startswith("$JS.ACK.") and f".{STREAM}.w-{claim.kind}." in reply and " " not in reply


class OpenClaims:
    """Open claims by task attempt."""

    def __init__(self) -> None:
        self._held: dict[TaskKey, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def take(self, trusted: Trusted) -> None:
        """Take one message of the journal into account."""
        match trusted.message:
            case Claim() as claim:
                self._forget_older_than(trusted.stored.time_us - KEEP_US)
                self._held.pop(_key(claim), None)
                if is_genuine(trusted, claim):
                    self._held[_key(claim)] = Held(claim, trusted.stored.seq, trusted.stored.time_us)
            case Result() | DeadLetter() as end:
                self._held.pop(_key(end), None)
            case IncidentClosed() as closed:
                for key in [key for key in self._held if key[0] == closed.incident]:
                    del self._held[key]

    def of(self, role: str, instance: str, up_to_seq: int | None = None) -> tuple[Held, ...]:
        """Return what an instance holds, oldest first; only claims up to a journal sequence if one is given."""
        return tuple(
            held
            for held in self._held.values()
            if (held.claim.kind, held.claim.instance) == (role, instance)
            and (up_to_seq is None or held.seq <= up_to_seq)
        )

    def drop(self, held: tuple[Held, ...]) -> None:
        """Forget claims that were handed on, unless they were replaced since."""
        for item in held:
            if self._held.get(_key(item.claim)) is item:
                del self._held[_key(item.claim)]

    def _forget_older_than(self, time_us: int) -> None:
        for key in [key for key, held in self._held.items() if held.time_us < time_us]:
            del self._held[key]


def _key(message: Claim | Result | DeadLetter) -> TaskKey:
    return message.incident, message.task_id, message.attempt
