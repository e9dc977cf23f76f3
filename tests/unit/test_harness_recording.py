"""Recordings: what was written comes back; what was cut, edited or moved is named."""

from __future__ import annotations

import gzip
import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest

from broker.contracts.incident import IncidentReported
from broker.keyring import Keyring
from broker.port import Stored
from harness.errors import BadRecordingError, NotFoundError
from harness.manifest import Manifest, PartSum
from harness.record import refused_by
from harness.recording import Header, MachineRecord, Recorder, Recording, link, require_signer
from tests.support.signing import master, signer

EVENTS = [Stored(n, 1_000_000 * n, f"triage.telemetry.d{n}", b"envelope %d" % n) for n in range(5, 25)]
OPERATOR = master().restricted_to("operator")
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
    def cut(objects: list[object]) -> None:
        del objects[-2:]

    rewrite(path, cut)
    with pytest.raises(BadRecordingError, match="was cut: the event after 24"):
        list(Recording(path).events())


@pytest.mark.parametrize("data", [b"", b"hello world", b"\x81\xa1a\x01", b"\xff" * 100])
def test_what_is_no_recording_is_refused(tmp_path: Path, data: bytes) -> None:
    other = tmp_path / "other"
    other.write_bytes(data)
    with pytest.raises(BadRecordingError):
        Recording(other)


def seal_of(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return objects[-1]


class TestSeal:
    def test_every_part_is_in_the_manifest_with_its_hash(self, tmp_path: Path) -> None:
        subjects = ("telemetry.d", "plan.i.v1.a1.prompted", "plan.i.v1.a1.answered", "incident.i.reported")
        events = [Stored(n, n, f"triage.{subject}", b"envelope %d" % n) for n, subject in enumerate(subjects, 1)]
        path = tmp_path / "r"
        with Recorder(path, HEADER) as recorder:
            for stored in events:
                recorder.add(stored)
            recorder.finish(None, OPERATOR)
        recording = Recording(path)
        assert list(recording.events()) == events
        assert recording.seal is not None
        manifest = Manifest.decode(recording.seal.manifest)
        found = {part: sum_.events for part, sum_ in manifest.parts.items()}
        assert found == {"journal": 1, "telemetry": 1, "prompts": 1, "responses": 1}
        length = len(b"envelope 2").to_bytes(4, "big")
        assert manifest.parts["prompts"].sha256 == hashlib.sha256(length + b"envelope 2").hexdigest()
        assert [(machine.name, machine.version) for machine in manifest.machines] == [("scheduler", 1)]

    def test_a_missing_manifest_is_a_cut(self, path: Path) -> None:
        rewrite(path, lambda objects: objects.pop())
        with pytest.raises(BadRecordingError, match="was cut: its manifest is missing"):
            list(Recording(path).events())

    def test_a_manifest_of_other_events_is_refused_by_its_part(self, path: Path) -> None:
        def edit(objects: list[dict[str, Any]]) -> None:
            said = Manifest.decode(seal_of(objects)["manifest"])
            part = PartSum(events=20, sha256="0" * 64)
            forged = said.model_copy(update={"parts": {**said.parts, "telemetry": part}})
            seal_of(objects).update(manifest=forged.encode())

        rewrite(path, edit)
        with pytest.raises(BadRecordingError, match=r"manifest does not fit its content: its hash of telemetry"):
            list(Recording(path).events())

    def test_an_edited_moment_of_injection_is_refused(self, path: Path) -> None:
        def edit(objects: list[dict[str, Any]]) -> None:
            objects[-2].update(injected_at=99.0)

        rewrite(path, edit)
        with pytest.raises(BadRecordingError, match=r"manifest does not fit its content: its injected_at"):
            list(Recording(path).events())

    def test_a_signature_of_somebody_else_is_refused(self, tmp_path: Path) -> None:
        path = signed(tmp_path)
        rewrite(path, lambda objects: seal_of(objects).update(signature=bytes(64)))
        with pytest.raises(BadRecordingError, match="its signature does not fit its manifest"):
            list(Recording(path).events())

    def test_only_the_key_that_signed_is_taken_for_the_signer(self, tmp_path: Path, path: Path) -> None:
        recording = Recording(signed(tmp_path))
        list(recording.events())
        assert OPERATOR.recording_public is not None
        require_signer(recording, OPERATOR.recording_public)
        with pytest.raises(BadRecordingError, match=r"is signed by [0-9a-f]{64}, not by 0000"):
            require_signer(recording, bytes(32))
        unsigned = Recording(path)
        list(unsigned.events())
        with pytest.raises(BadRecordingError, match="is not signed"):
            require_signer(unsigned, OPERATOR.recording_public)

    def test_who_has_no_key_for_recordings_signs_nothing(self, tmp_path: Path) -> None:
        recording = Recording(signed(tmp_path, replace(OPERATOR, recording_seed=None)))
        list(recording.events())
        assert recording.seal is not None
        assert recording.seal.signer is None

    def test_bytes_behind_the_end_are_refused(self, tmp_path: Path) -> None:
        path = signed(tmp_path)
        path.write_bytes(path.read_bytes() + b"\x93\x01")
        with pytest.raises(BadRecordingError, match="was edited: what follows its events is no manifest"):
            list(Recording(path).events())


class TestFormats:
    def test_a_newer_format_is_refused_by_its_number(self, path: Path) -> None:
        rewrite(path, lambda objects: objects[0].update(version=3))
        with pytest.raises(
            BadRecordingError, match=r"format version 3, which is newer than this program's 2; replay it"
        ):
            Recording(path)

    @pytest.mark.parametrize("version", [0, -1, "2", True, None, 2.0])
    def test_a_version_that_never_was_is_refused(self, path: Path, version: object) -> None:
        rewrite(path, lambda objects: objects[0].update(version=version))
        with pytest.raises(BadRecordingError, match=r"this program reads 1 and 2"):
            Recording(path)

    def test_a_recording_of_the_first_format_is_read_as_it_was(self, path: Path) -> None:
        def back(objects: list[Any]) -> None:
            objects.pop()
            del objects[0]["refused"]
            objects[0]["version"] = 1
            chain = hashlib.sha256(bytes(msgpack.packb(objects[0]))).digest()
            for event, stored in zip(objects[1:-1], EVENTS, strict=True):
                chain = event[5] = link(chain, stored)
            objects[-1]["chain"] = chain

        rewrite(path, back)
        recording = Recording(path)
        assert list(recording.events()) == EVENTS
        assert (recording.version, recording.seal) == (1, None)

    def test_a_compressed_recording_is_the_same_recording(self, tmp_path: Path) -> None:
        plain, packed = signed(tmp_path), signed(tmp_path, name="r.recording.gz")
        assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
        assert list(Recording(packed).events()) == EVENTS

    def test_a_compressed_recording_that_was_cut_says_so(self, tmp_path: Path) -> None:
        packed = signed(tmp_path, name="r.recording.gz")
        packed.write_bytes(packed.read_bytes()[:-20])
        with pytest.raises(BadRecordingError, match="was cut: its compressed data end too early"):
            Recording(packed)

    def test_damaged_compression_is_named(self, tmp_path: Path) -> None:
        packed = signed(tmp_path, name="r.recording.gz")
        data = bytearray(packed.read_bytes())
        data[-6] ^= 0xFF
        packed.write_bytes(data)
        with pytest.raises(BadRecordingError, match="compressed data are damaged"):
            Recording(packed)

    def test_what_the_keys_refused_is_remembered(self, tmp_path: Path) -> None:
        report = IncidentReported(incident="i1", text="orders fail", source="operator")
        good = signer("operator").seal(report)
        forged = signer("operator").seal(report)[:-32] + bytes(32)
        unknown = signer("operator", version=2).seal(report)
        frames = (good, forged, unknown, b"no frame")
        stored = [Stored(n, n, report.subject(), data) for n, data in enumerate(frames, 1)]
        refused = refused_by(OPERATOR, stored)
        assert refused == ((2, "bad_mac"), (3, "unknown_key_version"))
        path = tmp_path / "r"
        with Recorder(path, replace(HEADER, refused=refused)) as recorder:
            recorder.finish(None)
        assert Recording(path).header.refused == refused


def signed(folder: Path, keyring: Keyring | None = None, name: str = "signed.recording") -> Path:
    """Write EVENTS, signed by the operator unless another keyring is given."""
    path = folder / name
    with Recorder(path, HEADER) as recorder:
        for stored in EVENTS:
            recorder.add(stored)
        recorder.finish(17.5, keyring or OPERATOR)
    return path


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="cannot be read"):
        Recording(tmp_path / "none")


def test_an_unfinished_recording_leaves_no_file(tmp_path: Path) -> None:
    target = tmp_path / "run.recording"
    with Recorder(target, HEADER) as recorder:
        recorder.add(EVENTS[0])
    assert list(tmp_path.iterdir()) == []
