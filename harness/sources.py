"""What `triage diff` compares: a recording, or an incident of the running stack's journal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from broker.gate import Trusted
from broker.port import Stored
from harness.compose.delegate import LIVE
from harness.control import ControlPlane, connect
from harness.decisions import Run, run_of
from harness.errors import NotFoundError
from harness.recording import Recording
from harness.replay import Door

BEFORE = 500
"""So many messages before an incident's report are read too: what led to its first decisions."""


def is_live(source: str) -> bool:
    """Tell whether a source is the running stack's journal: `live`, or `live:<incident>`."""
    return source.partition(":")[0] == LIVE


def recorded(path: Path) -> Run:
    """Return the run of a recording.

    Raises:
        NotFoundError, BadRecordingError: it cannot be read, or was cut or edited.
    """
    recording = Recording(path)
    return run_of(str(path), recording.header.incident, _admitted(recording))


def _admitted(recording: Recording) -> Iterator[Trusted]:
    door = Door(recording)
    for stored in recording.events():
        if (trusted := door.admit(stored)) is not None:
            yield trusted


async def live(home: Path, source: str, beside: str | None) -> Run:
    """Return the run of an incident in the running stack's journal.

    Args:
        source: `live:<incident>`, or `live` for the incident `beside` if the journal has it, else for the newest.
        beside: the incident of the run that it is compared with.

    Raises:
        StackDownError: no stack is up. NotFoundError: the journal does not hold that incident.
    """
    async with connect(home) as control:
        wanted = source.partition(":")[2]
        report = await _report(control, wanted or beside)
        if report is None and not wanted:
            report = await _newest(control)
        if report is None:
            what = f"the journal holds no incident {wanted}" if wanted else "the journal holds no incident"
            raise NotFoundError(f"{what}; see: triage tail")
        incident = report.subject.split(".")[2]
        start = max(1, report.seq - BEFORE)
        return run_of(f"{LIVE}:{incident}", incident, [item async for item in _trusted(control, start)])


async def _trusted(control: ControlPlane, start: int) -> AsyncIterator[Trusted]:
    async for item in control.follow(start, follow=False):
        if isinstance(item, Trusted):
            yield item


async def _report(control: ControlPlane, incident: str | None) -> Stored | None:
    return await control.broker.last(f"triage.incident.{incident}.reported") if incident else None


async def _newest(control: ControlPlane) -> Stored | None:
    newest: Stored | None = None
    async for item in control.broker.read(pattern="triage.incident.*.reported", follow=False):
        newest = item if isinstance(item, Stored) else newest
    return newest
