"""Which tasks wait for a person's word, and until when: a pure projection of the journal (docs/adr/0018).

A wait ends with the word, with its expiry, with the next planning of its incident, and with the incident. A halt stops
its time and the resume gives the whole of it again, as the scheduler does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from broker.contracts.control import ApprovalDenied, ApprovalExpired, ApprovalGranted, ApprovalRequested, Halt, Resume
from broker.contracts.incident import IncidentClosed
from broker.contracts.machine import Event
from broker.contracts.plan import PlanRequested

Standing = Literal["waiting", "approved", "denied", "expired", "dropped"]
"""dropped: the plan or the incident went on without it."""

_WORDS: dict[type[object], Standing] = {
    ApprovalGranted: "approved",
    ApprovalDenied: "denied",
    ApprovalExpired: "expired",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """One task for which a person's word was asked."""

    request: ApprovalRequested
    standing: Standing
    due_us: int | None
    """When it expires, microseconds since the epoch; None: it waits for ever, or the time stands still under a halt."""

    def left_s(self, now_us: int) -> float | None:
        """Return the seconds left for a decision, at least 0; None where there is no limit now."""
        return None if self.due_us is None else max(0.0, (self.due_us - now_us) / 1_000_000)


def wishes(events: Iterable[Event]) -> tuple[Wish, ...]:
    """Return every request for approval in events of the journal, in its order, with what has become of it."""
    found: dict[tuple[str, str], tuple[ApprovalRequested, Standing, int]] = {}
    halted = False
    for event in events:
        message = event.payload
        if isinstance(message, Halt | Resume):
            if halted and isinstance(message, Resume):
                found = {key: (one, now, event.time_us) for key, (one, now, _) in found.items()}
            halted = isinstance(message, Halt)
        elif isinstance(message, ApprovalRequested):
            found[message.incident, message.task_id] = message, "waiting", event.time_us
        else:
            found.update(_ended(found, message))
    return tuple(Wish(one, now, _due_us(one, now, since_us, halted)) for one, now, since_us in found.values())


def _ended(
    found: dict[tuple[str, str], tuple[ApprovalRequested, Standing, int]], message: object
) -> dict[tuple[str, str], tuple[ApprovalRequested, Standing, int]]:
    """Return those of the waiting ones that a message ends."""
    if isinstance(message, ApprovalGranted | ApprovalDenied | ApprovalExpired):
        keys, standing = [(message.incident, message.task_id)], _WORDS[type(message)]
    elif isinstance(message, IncidentClosed | PlanRequested):
        keys, standing = [key for key in found if key[0] == message.incident], "dropped"
    else:
        return {}
    return {
        key: (one, standing, since_us)
        for key in keys
        if key in found
        for one, now, since_us in [found[key]]
        if now == "waiting" and getattr(message, "binding", one.binding) == one.binding
    }


def _due_us(request: ApprovalRequested, standing: Standing, since_us: int, halted: bool) -> int | None:
    if standing != "waiting" or halted or not request.wait_s:
        return None
    return since_us + round(request.wait_s * 1_000_000)
