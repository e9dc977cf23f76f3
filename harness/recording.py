"""Recordings: one file that holds a run's journal and all that is needed to decide it again.

Layout: MessagePack objects one after another; the whole may be compressed by gzip.

    header   {format, version, scenario, seed, noise, incident, machines: [{name, version, config, snapshot}],
              refused: [[seq, name]]}
    event    [seq, time_us, subject, data, relayed, chain]   once per journal message, `data` the exact envelope bytes
    footer   {events, chain, injected_at}
    seal     {manifest, public_key, signature}               (`harness/manifest.py`)

`chain` is SHA-256 over the previous chain value (first: SHA-256 of the header's bytes) and the event, length-prefixed.
A changed, lost or moved event is named by its sequence; a missing footer or seal says that the file was cut. The seal's
manifest is computed anew from what was read, and its signature must be that of the key beside it. Whose key that is,
only who knows the key can say (`triage replay --signed-by`).

`refused` names the messages that the keys of the stack refused (a wrong MAC, an unknown key version): an offline replay
has no keys and could not tell.

Version 1 had neither `refused` nor a seal; its recordings are read as they were.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import msgpack

from broker.keyring import Keyring
from broker.port import Stored
from harness.errors import BadRecordingError, NotFoundError
from harness.manifest import MachineSum, Manifest, Seal, Tally, mismatch, read_seal, sealed

FORMAT = "agentic-triage-recording"
VERSION = 2
READABLE = (1, 2)
COMPRESSED = ".gz"
"""A recording with this at the end of its name is written compressed."""
MAX_BYTES = 1 << 30
"""Longest recording that is read, uncompressed: a day and more of a whole stack."""
_GZIP = b"\x1f\x8b"
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
_LENGTH = struct.Struct(">I")
_EVENT_TYPES = (int, int, str, bytes, bool, bytes)


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
    refused: tuple[tuple[int, str], ...] = ()
    """Journal sequence and name of every refusal that takes the stack's keys to know."""


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
        self._header = header
        packed = _pack_header(header)
        self._start = self._chain = hashlib.sha256(packed).digest()
        self._disk = self._temporary.open("wb")
        self._file: BinaryIO | gzip.GzipFile = self._disk
        if path.suffix == COMPRESSED:
            self._file = gzip.GzipFile(filename="", mode="wb", fileobj=self._disk, mtime=0)
        self._file.write(packed)
        self._tally = Tally()
        self._events = 0

    def add(self, stored: Stored) -> None:
        """Append one journal message; messages come in journal order."""
        self._chain = link(self._chain, stored)
        self._tally.add(stored)
        self._file.write(_pack([stored.seq, stored.time_us, stored.subject, stored.data, stored.relayed, self._chain]))
        self._events += 1

    def finish(self, injected_at: float | None, keyring: Keyring | None = None) -> None:
        """Write footer and seal and give the file its name; it is on disk on return.

        Args:
            keyring: the operator's, which signs; without it, or with keys of before, nobody signs.
        """
        self._file.write(_pack({"events": self._events, "chain": self._chain, "injected_at": injected_at}))
        manifest = _manifest(self._header, self._start, self._tally, self._chain, injected_at)
        self._file.write(_pack(sealed(manifest, keyring).packed()))
        if self._file is not self._disk:
            self._file.close()
        self._disk.flush()
        os.fsync(self._disk.fileno())
        self._disk.close()
        os.replace(self._temporary, self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        if not self._disk.closed:
            self._file.close()
            self._disk.close()
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
    place = b"%d %d %d" % (stored.seq, stored.time_us, stored.relayed)
    subject, data = stored.subject.encode(), stored.data
    framed = _LENGTH.pack(len(place)), place, _LENGTH.pack(len(subject)), subject, _LENGTH.pack(len(data))
    return hashlib.sha256(b"".join((previous, *framed, data))).digest()


class Recording:
    """A recording opened for reading."""

    def __init__(self, path: Path) -> None:
        """Open and read the header.

        Raises:
            NotFoundError: there is no such file. BadRecordingError: it is no recording, or of an unknown version.
        """
        self.path = path
        self._data = _read(path)
        unpacker = _unpacker(self._data)
        try:
            raw = unpacker.unpack()
        except msgpack.OutOfData as error:
            raise BadRecordingError(f"{path} was cut: the header is missing or incomplete") from error
        except (ValueError, msgpack.UnpackException) as error:
            raise BadRecordingError(f"{path} is no recording, or was edited: the header cannot be read") from error
        self._body = unpacker.tell()
        self.version = _read_version(path, raw)
        self.header = _read_header(path, raw)
        self.footer: Footer | None = None
        """Known once all events were read."""
        self.seal: Seal | None = None
        """Known once all events were read; stays None for version 1, which had none."""

    def events(self) -> Iterator[Stored]:
        """Give every event in order, checking the chain, and at the end manifest and signature.

        Raises:
            BadRecordingError: names the first event that is not what was recorded, where the file was cut, or what of
                the manifest or the signature does not fit.
        """
        start = chain = hashlib.sha256(self._data[: self._body]).digest()
        tally, count, last = Tally(), 0, 0
        objects = _unpacker(self._data)
        objects.skip()
        try:
            for raw in objects:
                if isinstance(raw, dict):
                    self.footer = self._end(raw, chain, count)
                    self._check_seal(objects, start, tally, chain)
                    return
                stored = self._event(raw, count)
                chain = link(chain, stored)
                if chain != raw[5]:
                    raise BadRecordingError(
                        f"{self.path} was edited: event {stored.seq} on {stored.subject} is not what was recorded"
                    )
                tally.add(stored)
                count, last = count + 1, stored.seq
                yield stored
        except (ValueError, msgpack.UnpackException) as error:
            raise BadRecordingError(
                f"{self.path} was edited: the event after {last} (number {count + 1}) cannot be read"
            ) from error
        raise BadRecordingError(
            f"{self.path} was cut: the event after {last} (number {count + 1}) is missing or incomplete"
        )

    def _event(self, raw: Any, count: int) -> Stored:
        if type(raw) is list and tuple(map(type, raw)) == _EVENT_TYPES:
            return Stored(raw[0], raw[1], raw[2], raw[3], raw[4])
        raise BadRecordingError(f"{self.path} was edited: number {count + 1} is not an event")

    def _end(self, raw: dict[str, Any], chain: bytes, count: int) -> Footer:
        if raw.get("events") != count or raw.get("chain") != chain:
            raise BadRecordingError(
                f"{self.path} was cut or edited: it holds {count} events, its footer says {raw.get('events')}"
            )
        injected = raw.get("injected_at")
        if not isinstance(injected, int | float) or not math.isfinite(injected):
            return Footer(count, None)
        return Footer(count, float(injected))

    def _check_seal(self, objects: Any, start: bytes, tally: Tally, chain: bytes) -> None:
        if self.version == 1:
            return
        raw = next(objects, None)
        if raw is None:
            raise BadRecordingError(f"{self.path} was cut: its manifest is missing or incomplete")
        seal = read_seal(raw)
        if seal is None or self.footer is None or objects.tell() != len(self._data):
            raise BadRecordingError(f"{self.path} was edited: what follows its events is no manifest")
        computed = _manifest(self.header, start, tally, chain, self.footer.injected_at)
        if (fault := mismatch(seal, computed)) is not None:
            raise BadRecordingError(f"{self.path} was edited: its manifest does not fit its content: {fault}")
        if seal.public_key is not None and not seal.is_signed():
            raise BadRecordingError(
                f"{self.path} was edited, or is not whose it says: its signature does not fit its manifest"
            )
        self.seal = seal


def require_signer(recording: Recording, public_key: bytes) -> None:
    """Refuse a recording, all of whose events were read, that this key has not signed.

    Raises:
        BadRecordingError: nobody signed it, or somebody else.
    """
    signer = None if recording.seal is None else recording.seal.signer
    if signer is None:
        raise BadRecordingError(f"{recording.path} is not signed, so nothing says that it is from {public_key.hex()}")
    if signer != public_key.hex():
        raise BadRecordingError(f"{recording.path} is signed by {signer}, not by {public_key.hex()}")


def _manifest(header: Header, start: bytes, tally: Tally, chain: bytes, injected_at: float | None) -> Manifest:
    return Manifest(
        format=FORMAT,
        version=VERSION,
        header=start.hex(),
        machines=tuple(
            MachineSum(
                name=machine.name,
                version=machine.version,
                config=hashlib.sha256(machine.config).hexdigest(),
                snapshot=hashlib.sha256(machine.snapshot).hexdigest(),
            )
            for machine in header.machines
        ),
        parts=tally.sums(),
        chain=chain.hex(),
        injected_at=None if injected_at is None else float(injected_at),
    )


def _read(path: Path) -> bytes:
    """Return a recording's bytes, uncompressed.

    Raises:
        NotFoundError: it cannot be read. BadRecordingError: it is too long, or its compression is damaged.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            data = gzip.GzipFile(fileobj=file).read(MAX_BYTES + 1) if packed else file.read(MAX_BYTES + 1)
    except EOFError as error:
        raise BadRecordingError(f"{path} was cut: its compressed data end too early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise BadRecordingError(f"{path} was cut or edited: its compressed data are damaged") from error
    except OSError as error:
        raise NotFoundError(f"the recording {path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise BadRecordingError(f"{path} is longer than {MAX_BYTES:,} bytes: no recording is")
    return data


def _unpacker(data: bytes) -> Any:
    return msgpack.Unpacker(BytesIO(data), raw=False, strict_map_key=True, max_buffer_size=64 * 1024 * 1024)


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
            "refused": [list(entry) for entry in header.refused],
        }
    )


def _read_version(path: Path, raw: object) -> int:
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise BadRecordingError(f"{path} is no recording of this project")
    version = raw.get("version")
    if type(version) is int and version in READABLE:
        return version
    if type(version) is int and version > VERSION:
        raise BadRecordingError(
            f"{path} has format version {version}, which is newer than this program's {VERSION}; "
            "replay it with the version of the program that recorded it, or a later one"
        )
    raise BadRecordingError(f"{path} has format version {str(version)[:40]}; this program reads 1 and {VERSION}")


def _read_header(path: Path, raw: dict[str, Any]) -> Header:
    try:
        machines = tuple(MachineRecord(**machine) for machine in raw["machines"])
        refused = tuple((seq, name) for seq, name in raw.get("refused", ()))
        header = Header(raw["scenario"], raw["seed"], raw["noise"], raw["incident"], machines, refused)
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecordingError(f"{path} has a damaged header: {error}") from error
    _check_types(path, header, _HEADER_TYPES)
    for machine in machines:
        _check_types(path, machine, _MACHINE_TYPES)
    if not all(type(seq) is int and type(name) is str for seq, name in refused):
        raise BadRecordingError(f"{path} has a damaged header: refused is no list of sequences and names")
    return header


def _check_types(path: Path, part: Header | MachineRecord, types: dict[str, tuple[type, ...]]) -> None:
    for name, allowed in types.items():
        value = getattr(part, name)
        if type(value) not in allowed:
            raise BadRecordingError(f"{path} has a damaged header: {name} is {type(value).__name__}")
