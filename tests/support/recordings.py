"""The recordings of `tests/fixtures/recordings`: real runs of the nightly scenarios on the embedded stack.

| file | |
|---|---|
| `db_conn_drift.recording.gz` | format 2, signed with the tests' own key |
| `cache_poison.recording.gz`, `network_partition.recording.gz` | format 1, as they were recorded then |
| `altered.recording.gz` | db_conn_drift with one result of the world altered and everything around it made to fit |

`python -m tests.support.recordings FOLDER` makes them anew from the recordings of a full run of `tests/faults`, which
leaves one a scenario in its temporary folder; a recording of either format does.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from broker.contracts.task import Result
from broker.envelope import open_frame
from broker.port import Stored
from harness.recording import Recorder, Recording
from tests.support.signing import master

FOLDER = Path(__file__).parents[1] / "fixtures" / "recordings"
NIGHTLY = ("cache_poison", "db_conn_drift", "network_partition")
ALTERED = "altered"
SIGNED = "db_conn_drift"


def fixture(name: str) -> Path:
    """Return where a recording lies."""
    return FOLDER / f"{name}.recording.gz"


def events_of(path: Path) -> list[Stored]:
    """Return the events of a recording."""
    return list(Recording(path).events())


def rewritten(source: Path, target: Path, change: Callable[[Stored], Stored] = lambda stored: stored) -> Path:
    """Write a recording again with its events changed: chain, manifest and signature fit what stands there then."""
    recording = Recording(source)
    events = [change(stored) for stored in recording.events()]
    with Recorder(target, recording.header) as recorder:
        for stored in events:
            recorder.add(stored)
        recorder.finish(None if recording.footer is None else recording.footer.injected_at, master())
    return target


def with_payload(stored: Stored, old: bytes, new: bytes) -> Stored:
    """Return a message with a piece of its payload replaced; its MAC is then nobody's, and offline nobody looks."""
    envelope = open_frame(stored.data)
    assert old in envelope.payload
    return replace(stored, data=envelope._replace(payload=envelope.payload.replace(old, new)).to_frame())


def drift_denied(events: Iterable[Stored]) -> Callable[[Stored], Stored]:
    """Return the change that lets the first look at a drifted workload see no drift."""
    seen = next(stored for stored in events if _saw_drift(stored))

    def change(stored: Stored) -> Stored:
        return with_payload(stored, b'"drifted":true', b'"drifted":false') if stored.seq == seen.seq else stored

    return change


def _saw_drift(stored: Stored) -> bool:
    if not stored.subject.startswith("triage.result."):
        return False
    return Result.decode(open_frame(stored.data).payload).meta.get("drifted") is True


def make(folder: Path) -> None:
    """Make the fixtures from a folder of recordings."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in NIGHTLY:
        data = (folder / f"{name}.recording").read_bytes()
        fixture(name).write_bytes(gzip.compress(data, mtime=0))
    original = folder / f"{SIGNED}.recording"
    rewritten(original, fixture(SIGNED))
    rewritten(original, fixture(ALTERED), drift_denied(events_of(original)))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
