"""Recordings: what was written comes back; what was cut, edited or moved is named."""

from __future__ import annotations

import io
from pathlib import Path

import msgpack
import pytest

from broker.port import Stored
from harness.errors import BadRecordingError, NotFoundError
from harness.recording import Header, MachineRecord, Recorder, Recording

EVENTS = [Stored(n, 1_000_000 * n, f"triage.telemetry.d{n}", b"envelope %d" % n) for n in range(5, 25)]
HEADER = Header("db_conn_drift", 42, 0.2, "inc-1", (MachineRecord("scheduler", 1, b"{}", b"snap"),))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "run.recording"
    with Recorder(target, HEADER) as recorder:
        for stored in EVENTS:
            recorder.add(stored)
        recorder.finish(injected_at=17.5)
    return target


def rewrite(path: Path, change: object) -> None:
    """Let `change` edit the list of MessagePack objects in the file."""
    objects = list(msgpack.Unpacker(io.BytesIO(path.read_bytes()), raw=False))
    assert callable(change)
    change(objects)
    path.write_bytes(b"".join(bytes(msgpack.packb(item, use_bin_type=True)) for item in objects))


def test_what_was_recorded_comes_back(path: Path) -> None:
    recording = Recording(path)
    assert recording.header == HEADER
    assert list(recording.events()) == EVENTS
    assert recording.footer is not None
    assert (recording.footer.events, recording.footer.injected_at) == (20, 17.5)


def test_one_edited_event_is_named_by_its_sequence(path: Path) -> None:
    def edit(objects: list[list[object]]) -> None:
        objects[4][3] = b"forged"

    rewrite(path, edit)
    with pytest.raises(BadRecordingError, match=r"edited: event 8 on triage\.telemetry\.d8"):
        list(Recording(path).events())


def test_a_deleted_event_is_noticed_at_the_next(path: Path) -> None:
    rewrite(path, lambda objects: objects.pop(3))
    with pytest.raises(BadRecordingError, match="edited: event 8"):
        list(Recording(path).events())


def test_an_edited_header_is_noticed_at_the_first_event(path: Path) -> None:
    def edit(objects: list[dict[str, object]]) -> None:
        objects[0]["seed"] = 43

    rewrite(path, edit)
    with pytest.raises(BadRecordingError, match="edited: event 5"):
        list(Recording(path).events())


def test_a_cut_file_says_after_which_event(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(BadRecordingError, match=r"was cut: the event after \d+ \(number \d+\)"):
        list(Recording(path).events())


def test_a_missing_footer_is_a_cut(path: Path) -> None:
    rewrite(path, lambda objects: objects.pop())
    with pytest.raises(BadRecordingError, match="was cut: the event after 24"):
        list(Recording(path).events())


@pytest.mark.parametrize("data", [b"", b"hello world", b"\x81\xa1a\x01", b"\xff" * 100])
def test_what_is_no_recording_is_refused(tmp_path: Path, data: bytes) -> None:
    other = tmp_path / "other"
    other.write_bytes(data)
    with pytest.raises(BadRecordingError):
        Recording(other)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="cannot be read"):
        Recording(tmp_path / "none")


def test_an_unfinished_recording_leaves_no_file(tmp_path: Path) -> None:
    target = tmp_path / "run.recording"
    with Recorder(target, HEADER) as recorder:
        recorder.add(EVENTS[0])
    assert list(tmp_path.iterdir()) == []
