"""What a run sees of the journal while it goes on: its incident, how that was closed, and everything in between."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from broker.contracts.incident import IncidentClosed, IncidentReported
from broker.contracts.machine import Event
from broker.gate import Trusted
from harness.control import Refused, Seen
from harness.errors import StackDownError


@dataclass
class Watching:
    """What the runner has seen of the journal so far."""

    incident: str | None = None
    """Whose end is waited for: the reported one, else the first that somebody opens; None before there is one."""
    events: list[Event] = field(default_factory=list)
    closed: IncidentClosed | None = None
    refused: int = 0
    signed: int = 0
    failure: Exception | None = None
    """What ended the following of the journal before its time."""
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, item: Seen) -> None:
        """Look at the journal's next item."""
        if isinstance(item, Refused):
            self.refused += 1
        if not isinstance(item, Trusted):
            return
        self.signed += 1
        event = item.event()
        self.events.append(event)
        message = event.payload
        if isinstance(message, IncidentReported) and self.incident is None:
            self.incident = message.incident
        if isinstance(message, IncidentClosed) and message.incident == self.incident:
            self._close(message)

    def expect(self, incident: str) -> None:
        """Wait for the end of this incident, which is about to be reported. What the monitor opened by itself before,
        and may have closed by now, is not what the run is about."""
        self.incident, self.closed = incident, None
        if self.failure is None:
            self.done.clear()

    def ended(self, follower: asyncio.Task[None]) -> None:
        """Note that nothing more will be seen, and why."""
        if not follower.cancelled():
            error = follower.exception()
            ended = StackDownError("the journal ended while the run was watched; see: triage status")
            self.failure = error if isinstance(error, Exception) else ended
        self.done.set()

    def fail(self, error: Exception) -> None:
        """Note that something of the run itself has failed, so that nobody waits for its end."""
        self.failure = self.failure or error
        self.done.set()

    def require_whole(self) -> None:
        """Raise what ended the following of the journal, if anything did: what was seen is then not the run."""
        if self.failure is not None:
            raise self.failure

    def _close(self, message: IncidentClosed) -> None:
        """A merged report goes on as the incident it was merged into."""
        if message.verdict == "merged" and message.merged_into is not None:
            self.incident = message.merged_into
            ended = [e.payload for e in self.events if isinstance(e.payload, IncidentClosed)]
            message = next((m for m in ended if m.incident == self.incident), message)
            if message.incident != self.incident:
                return
        self.closed = message
        self.done.set()
