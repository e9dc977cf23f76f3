"""The short scenarios are recovered, and their recordings are decided again byte by byte."""

from __future__ import annotations

import io
from pathlib import Path

import msgpack
import pytest

from broker.envelope import open_frame
from harness.errors import BadRecordingError
from harness.recording import Recording
from harness.replay import replay
from harness.scenario import draw, load
from tests.support.runs import assert_audit_holds, assert_nothing_happened_twice, assert_recovered, run

pytestmark = pytest.mark.stack


SHORT = (
    *("agent_killed_mid_task", "cache_poison", "chaos1", "db_conn_drift", "network_partition", "no_fault"),
    "service_killed",
)
"""What there is time for here; the faults of the others are broken and repaired in test_injection.py."""


@pytest.mark.parametrize("name", SHORT)
def test_a_scenario_is_recovered_and_replays_identically(home: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.recording"
    outcome = run(home, draw(load(name)), path)
    assert_recovered(outcome)
    assert outcome.located is not False
    report = replay(path)
    assert report.difference is None, report.difference
    assert report.decisions > 0
    assert_nothing_happened_twice(home)
    assert_audit_holds(home)
    assert_an_edit_is_found(path)


def assert_an_edit_is_found(path: Path) -> None:
    """Edit the first accepted plan in a copy of the recording: the replay names that very event."""
    edited = path.with_suffix(".edited")
    objects = list(msgpack.Unpacker(io.BytesIO(path.read_bytes()), raw=False))
    event = next(item for item in objects[1:-1] if item[2].endswith(".accepted"))
    payload = open_frame(event[3]).payload
    event[3] = event[3].replace(payload, payload.replace(b'"attempt":1', b'"attempt":2'))
    edited.write_bytes(b"".join(bytes(msgpack.packb(item, use_bin_type=True)) for item in objects))
    with pytest.raises(BadRecordingError, match=f"event {event[0]} on"):
        list(Recording(edited).events())
