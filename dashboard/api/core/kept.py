"""What a page needs to begin with: the messages of the newest incidents, of all open ones, the switch, the agents."""

from __future__ import annotations

from collections import deque

from dashboard.api.core.entry import Entry, incident_of, is_noise
from dashboard.api.core.view import View

SHOWN_INCIDENTS = 12
MAX_PER_INCIDENT = 2_000
"""An incident with more messages than that shows its newest; all stand in the audit."""
MAX_COMMON = 400


class Kept:
    """The messages of the snapshot, bounded; fed in the journal's order."""

    def __init__(self) -> None:
        self._incidents: dict[str, deque[Entry]] = {}
        self._common: deque[Entry] = deque(maxlen=MAX_COMMON)
        self._telemetry: dict[str, Entry] = {}

    def add(self, entry: Entry, view: View) -> None:
        """Take one message; `view` is the fold with it."""
        if entry.subject.startswith("triage.telemetry.") and entry.verified:
            self._telemetry[entry.subject] = entry
        elif (incident := incident_of(entry.subject)) is not None and entry.verified:
            self._of(incident, view).append(entry)
        elif not is_noise(entry.subject):
            self._common.append(entry)

    def _of(self, incident: str, view: View) -> deque[Entry]:
        if incident not in self._incidents:
            self._incidents[incident] = deque(maxlen=MAX_PER_INCIDENT)
            self._make_room(view)
        return self._incidents[incident]

    def _make_room(self, view: View) -> None:
        newest = list(self._incidents)[-SHOWN_INCIDENTS:]
        for name in list(self._incidents):
            known = view.incidents.get(name)
            if name not in newest and (known is None or known.phase == "closed"):
                del self._incidents[name]

    def entries(self) -> list[Entry]:
        """Return all but telemetry, in the journal's order."""
        found = [entry for entries in self._incidents.values() for entry in entries]
        return sorted([*found, *self._common], key=lambda entry: entry.seq)

    def telemetry(self) -> list[Entry]:
        """Return the newest telemetry of every device, in the journal's order."""
        return sorted(self._telemetry.values(), key=lambda entry: entry.seq)
