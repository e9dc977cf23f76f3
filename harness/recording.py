"""Recordings: one file that holds a run's journal and all that is needed to decide it again.

Layout: MessagePack objects one after another.

    header   {format, version, scenario, seed, noise, incident, machines: [{name, version, config, snapshot}]}
    event    [seq, time_us, subject, data, relayed, chain]   once per journal message, `data` the exact envelope bytes
    footer   {events, chain, injected_at}

`chain` is SHA-256 over the previous chain value (first: SHA-256 of the header's bytes) and the event, length-prefixed.
A changed, lost or moved event is named by its sequence; a missing footer says that the file was cut. The chain is no
signature: who can write the file can make a new one. Signatures are checked when the keys are at hand (`--keys`), and
a decision that does not follow from the events shows in the replay itself.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgpack

from broker.port import Stored
from harness.errors import BadRecordingError, NotFoundError

FORMAT = "agentic-triage-recording"
VERSION = 1
_HEADER_TYPES: dict[str, tuple[type, ...]] = {
    "scenario": (str,),
    "seed": (int,),
    "noise": (int, float),
    "incident": (str,),
}
_MACHINE_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "version": (int,),
    "config": (bytes,),
    "snapshot": (bytes,),
}


@dataclass(frozen=True, slots=True)
class MachineRecord:
    """A machine as it was when recording began."""

    name: str
    version: int
    config: bytes
    """Canonical bytes of its configuration."""
    snapshot: bytes
    """The host's snapshot (`broker/runtime/snapshot.py`)."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the recording is of."""

    scenario: str
    seed: int
    noise: float
    incident: str
    machines: tuple[MachineRecord, ...]


@dataclass(frozen=True, slots=True)
class Footer:
    """What stands behind the last event."""

    events: int
    injected_at: float | None
    """When the first fault was in the world, seconds since the epoch."""


class Recorder:
    """Writes a recording. The file appears under its name only when it is complete."""

    def __init__(self, path: Path, header: Header) -> None:
        self._path = path
        self._temporary = _draft(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        packed = _pack_header(header)
        self._chain = hashlib.sha256(packed).digest()
        self._file = self._temporary.open("wb")
        self._file.write(packed)
        self._events = 0

    def add(self, stored: Stored) -> None:
        """Append one journal message; messages come in journal order."""
        self._chain = link(self._chain, stored)
        self._file.write(_pack([stored.seq, stored.time_us, stored.subject, stored.data, stored.relayed, self._chain]))
        self._events += 1

    def finish(self, injected_at: float | None) -> None:
        """Write the footer and give the file its name; it is on disk on return."""
        self._file.write(_pack({"events": self._events, "chain": self._chain, "injected_at": injected_at}))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._temporary, self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        if not self._file.closed:
            self._file.close()
            self._temporary.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """Make a recording's folder and try its draft: for before the run, whose end is too late to hear of it.

    Raises:
        OSError: it could not be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _draft(path).open("wb").close()
    _draft(path).unlink()


def _draft(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def link(previous: bytes, stored: Stored) -> bytes:
    """Return the chain value after one more event."""
    digest = hashlib.sha256(previous)
    place = f"{stored.seq} {stored.time_us} {stored.relayed:d}".encode()
    for part in (place, stored.subject.encode(), stored.data):
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return digest.digest()


class Recording:
    """A recording opened for reading."""

    def __init__(self, path: Path) -> None:
        """Open and read the header.

        Raises:
            NotFoundError: there is no such file. BadRecordingError: it is no recording, or of an unknown version.
        """
        self.path = path
        with _open(path) as file:
            unpacker = _unpacker(file)
            raw = self._next(unpacker, "the header")
            self._header_bytes = path.read_bytes()[: unpacker.tell()]
        self.header = _read_header(path, raw)
        self.footer: Footer | None = None
        """Known once all events were read."""

    def events(self) -> Iterator[Stored]:
        """Give every event in order, checking the chain.

        Raises:
            BadRecordingError: names the first event that is not what was recorded, or where the file was cut.
        """
        chain, count, last = hashlib.sha256(self._header_bytes).digest(), 0, 0
        with _open(self.path) as file:
            file.seek(len(self._header_bytes))
            unpacker = _unpacker(file)
            while True:
                raw = self._next(unpacker, f"the event after {last} (number {count + 1})")
                if isinstance(raw, dict):
                    self.footer = self._end(raw, chain, count)
                    return
                stored = self._event(raw, count)
                chain = link(chain, stored)
                if chain != raw[5]:
                    raise BadRecordingError(
                        f"{self.path} was edited: event {stored.seq} on {stored.subject} is not what was recorded"
                    )
                count, last = count + 1, stored.seq
                yield stored

    def _event(self, raw: Any, count: int) -> Stored:
        shape = [int, int, str, bytes, bool, bytes]
        if not isinstance(raw, list) or [type(part) for part in raw] != shape:
            raise BadRecordingError(f"{self.path} was edited: number {count + 1} is not an event")
        return Stored(raw[0], raw[1], raw[2], raw[3], raw[4])

    def _end(self, raw: dict[str, Any], chain: bytes, count: int) -> Footer:
        if raw.get("events") != count or raw.get("chain") != chain:
            raise BadRecordingError(
                f"{self.path} was cut or edited: it holds {count} events, its footer says {raw.get('events')}"
            )
        injected = raw.get("injected_at")
        return Footer(count, float(injected) if isinstance(injected, int | float) else None)

    def _next(self, unpacker: Any, what: str) -> Any:
        try:
            return unpacker.unpack()
        except msgpack.OutOfData as error:
            raise BadRecordingError(f"{self.path} was cut: {what} is missing or incomplete") from error
        except (ValueError, msgpack.UnpackException) as error:
            raise BadRecordingError(f"{self.path} is no recording, or was edited: {what} cannot be read") from error


def _open(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise NotFoundError(f"the recording {path} cannot be read: {error.strerror}") from error


def _unpacker(file: BufferedReader) -> Any:
    return msgpack.Unpacker(file, raw=False, strict_map_key=True, max_buffer_size=64 * 1024 * 1024)


def _pack(value: object) -> bytes:
    packed = msgpack.packb(value, use_bin_type=True)
    return bytes(packed)


def _pack_header(header: Header) -> bytes:
    return _pack(
        {
            "format": FORMAT,
            "version": VERSION,
            "scenario": header.scenario,
            "seed": header.seed,
            "noise": header.noise,
            "incident": header.incident,
            "machines": [
                {"name": m.name, "version": m.version, "config": m.config, "snapshot": m.snapshot}
                for m in header.machines
            ],
        }
    )


def _read_header(path: Path, raw: object) -> Header:
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise BadRecordingError(f"{path} is no recording of this project")
    if raw.get("version") != VERSION:
        raise BadRecordingError(f"{path} has format version {raw.get('version')}; this program reads {VERSION}")
    try:
        machines = tuple(MachineRecord(**machine) for machine in raw["machines"])
        header = Header(raw["scenario"], raw["seed"], raw["noise"], raw["incident"], machines)
    except (KeyError, TypeError) as error:
        raise BadRecordingError(f"{path} has a damaged header: {error}") from error
    _check_types(path, header, _HEADER_TYPES)
    for machine in machines:
        _check_types(path, machine, _MACHINE_TYPES)
    return header


def _check_types(path: Path, part: Header | MachineRecord, types: dict[str, tuple[type, ...]]) -> None:
    for name, allowed in types.items():
        value = getattr(part, name)
        if type(value) not in allowed:
            raise BadRecordingError(f"{path} has a damaged header: {name} is {type(value).__name__}")
