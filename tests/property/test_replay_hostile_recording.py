"""Whatever stands in a recording, its replay ends with a report or with an error of the harness: never with a trace."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
import tempfile
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.contracts.incident import IncidentReported
from broker.gate import Gate
from broker.port import Stored
from broker.runtime.snapshot import Snapshot, pack
from harness.errors import BadRecordingError, HarnessError
from harness.recording import Header, MachineRecord, Recorder, link
from harness.replay import Report, replay
from scheduler_svc.core.machine import SchedulerMachine
from tests.support.scheduler import START_US, config
from tests.support.signing import master, signer

MACHINE = SchedulerMachine(config())
SNAPSHOT = pack(MACHINE, Snapshot(0, MACHINE.initial(), Gate(None).dump()))
RECORD = MachineRecord("scheduler", MACHINE.version, MACHINE.config.encode(), SNAPSHOT)
HEADER = {
    "format": "agentic-triage-recording",
    "version": 1,
    "scenario": "s",
    "seed": 1,
    "noise": 0.0,
    "incident": "inc-1",
    "machines": [dataclasses.asdict(RECORD)],
}
REPORTED = IncidentReported(incident="inc-1", text="the shop is down", source="operator")
EVENT = Stored(1, START_US, REPORTED.subject(), signer("operator", clock=lambda: START_US).seal(REPORTED))

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def written(header: object) -> bytes:
    """Return a recording of one event with any header, its chain made to fit: what a forger would write."""
    packed = bytes(msgpack.packb(header, use_bin_type=True))
    chain = link(hashlib.sha256(packed).digest(), EVENT)
    event = [EVENT.seq, EVENT.time_us, EVENT.subject, EVENT.data, EVENT.relayed, chain]
    footer = {"events": 1, "chain": chain, "injected_at": None}
    return packed + b"".join(bytes(msgpack.packb(item, use_bin_type=True)) for item in (event, footer))


def replayed(data: bytes) -> Report | None:
    """Replay a file of these bytes; None if it is refused as it should be. Anything else is the test's failure."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            return replay(Path(file.name))
        except HarnessError:
            return None


GOOD = written(HEADER)


def snapshot_with(field: str, value: object) -> bytes:
    """Return the snapshot with one field changed and a digest that fits."""
    content = bytes(msgpack.packb({**msgpack.unpackb(SNAPSHOT[32:]), field: value}))
    return hashlib.sha256(content).digest() + content


def signed() -> bytes:
    """Return the same recording as this program writes it: version 2, sealed and signed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r"
        with Recorder(path, Header("s", 1, 0.0, "inc-1", (RECORD,))) as recorder:
            recorder.add(EVENT)
            recorder.finish(17.5, master().restricted_to("operator"))
        return path.read_bytes()


SIGNED = signed()


def test_the_recording_itself_is_identical() -> None:
    for data, version in ((GOOD, 1), (SIGNED, 2)):
        report = replayed(data)
        assert report is not None
        assert report.difference is None
        assert report.decisions
        assert (report.format, report.signed_by is not None) == (version, version == 2)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_a_changed_byte_of_a_signed_recording_is_never_believed(place: int, flip: int) -> None:
    data = bytearray(SIGNED)
    data[place] ^= flip
    assert replayed(bytes(data)) is None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100), st.integers(0, len(SIGNED)))
def test_a_signed_recording_that_was_cut_or_has_more_behind_it_is_refused(tail: bytes, at: int) -> None:
    data = SIGNED[:at] + tail
    assert data == SIGNED or replayed(data) is None


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["manifest", "public_key", "signature", "more"]), VALUES)
def test_a_forged_seal_is_refused(field: str, value: object) -> None:
    *body, seal = list(msgpack.Unpacker(io.BytesIO(SIGNED), raw=False))
    data = b"".join(bytes(msgpack.packb(item)) for item in (*body, {**seal, field: value}))
    assert data == SIGNED or replayed(data) is None


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_a_seal_that_is_anything_is_refused(seal: object) -> None:
    *body, _ = list(msgpack.Unpacker(io.BytesIO(SIGNED), raw=False))
    assert replayed(b"".join(bytes(msgpack.packb(item)) for item in (*body, seal))) is None


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_changed_byte_is_never_believed(place: int, flip: int) -> None:
    data = bytearray(GOOD)
    data[place] ^= flip
    report = replayed(bytes(data))
    # What is behind the chain's reach (when the fault was injected) decides nothing.
    assert report is None or place >= len(GOOD) - len("injected_at") - 2


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(GOOD)))
def test_a_cut_and_any_bytes_after_it_are_refused(tail: bytes, at: int) -> None:
    replayed(GOOD[:at] + tail)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*HEADER, "none"]), VALUES)
def test_a_forged_header_is_refused_or_decided(field: str, value: object) -> None:
    replayed(written({**HEADER, field: value}))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["name", "version", "config", "snapshot", "more"]), VALUES)
@example("config", None)
@example("snapshot", "text")
@example("version", True)
@example("config", b"[]")
def test_a_forged_machine_is_refused_or_decided(field: str, value: object) -> None:
    replayed(written({**HEADER, "machines": [{**dataclasses.asdict(RECORD), field: value}]}))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["format", "machine", "version", "config", "seq", "state", "nonces", "open", "said", "more"]),
    VALUES,
)
@example("open", [1])
@example("said", [[1, 2, "no.such.type", 4, 5, 6, 7, 8]])
@example("open", [["publish", "triage.x", "task", None, None, "x", "y", []]])
@example("seq", "1")
@example("seq", -(2**63))
def test_a_forged_snapshot_is_refused_or_decided(field: str, value: object) -> None:
    record = {**dataclasses.asdict(RECORD), "snapshot": snapshot_with(field, value)}
    replayed(written({**HEADER, "machines": [record]}))


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_a_header_that_is_anything_is_refused(header: object) -> None:
    assert replayed(written(header)) is None


def test_a_damaged_configuration_says_that_the_recording_is_bad(tmp_path: Path) -> None:
    path = tmp_path / "r"
    for change in ({"config": b"{}"}, {"snapshot": SNAPSHOT[:-1]}, {"config": "text"}, {"version": "1"}):
        path.write_bytes(written({**HEADER, "machines": [{**dataclasses.asdict(RECORD), **change}]}))
        with pytest.raises(BadRecordingError, match=re.escape(str(path))):
            replay(path)
