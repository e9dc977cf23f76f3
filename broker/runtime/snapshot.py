"""Snapshots of a machine: its state and everything else that a restart must not lose.

A snapshot is MessagePack with a digest over its content. A damaged one is refused by name, and the journal is read from
the beginning instead. It carries the decisions that were not said yet, so that dying between a snapshot and a publish
loses none, and the gate's memory of nonces, so that the same messages are refused after a restart.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, Generic

import msgpack

from broker.contracts.machine import Machine, StateT
from broker.contracts.registry import CONTRACTS
from broker.errors import SchemaError, SnapshotError
from broker.runtime.decider import Decided, Decider

FORMAT: Final = 2


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[StateT]):
    """A machine as of journal sequence `seq`."""

    seq: int
    state: StateT
    nonces: bytes
    """The gate's memory (`Gate.dump`)."""
    config: bytes = b""
    """Canonical bytes of the configuration the machine decided with; filled in by `pack`."""
    open: tuple[Decided, ...] = ()
    """Decided and not said yet."""
    said: tuple[Decided, ...] = ()
    """Said and not read back yet."""

    def decider(self, machine: Machine[StateT], *, since: int = 0) -> Decider[StateT]:
        """Return a decider that goes on from here."""
        return Decider(machine, state=self.state, seq=self.seq, open_=self.open, said=self.said, since=since)


def head_of(data: bytes) -> tuple[int, bytes]:
    """Return sequence and configuration of a snapshot of any machine, without restoring it.

    Raises:
        SnapshotError: damaged.
    """
    digest, content = data[:32], data[32:]
    if hashlib.sha256(content).digest() != digest:
        raise SnapshotError(f"a snapshot is damaged: its digest does not fit its {len(data)} bytes")
    fields: dict[str, Any] = msgpack.unpackb(content)
    return int(fields["seq"]), bytes(fields["config"])


def key_of(machine: Machine[StateT]) -> str:
    """Return the key under which a machine of this version keeps its snapshot."""
    return f"{machine.name}.v{machine.version}"


def pack(machine: Machine[StateT], snapshot: Snapshot[StateT]) -> bytes:
    """Return a snapshot's bytes."""
    content = bytes(
        msgpack.packb(
            {
                "format": FORMAT,
                "machine": machine.name,
                "version": machine.version,
                "config": machine.config.encode(),
                "seq": snapshot.seq,
                "state": snapshot.state.encode(),
                "nonces": snapshot.nonces,
                "open": [_flat(decided) for decided in snapshot.open],
                "said": [_flat(decided) for decided in snapshot.said],
            }
        )
    )
    return hashlib.sha256(content).digest() + content


def restore(machine: Machine[StateT], data: bytes) -> Snapshot[StateT]:
    """Read a snapshot of exactly this machine and version.

    Raises:
        SnapshotError: damaged, or of another machine, version or format; the text says which.
    """
    digest, content = data[:32], data[32:]
    if hashlib.sha256(content).digest() != digest:
        raise SnapshotError(f"the snapshot of {machine.name} is damaged: its digest does not fit its {len(data)} bytes")
    try:
        fields: dict[str, Any] = msgpack.unpackb(content)
        of = (fields["format"], fields["machine"], fields["version"])
        if of != (FORMAT, machine.name, machine.version):
            raise SnapshotError(f"the snapshot is of {of[1]} version {of[2]} in format {of[0]}, not of {machine.name}")
        return Snapshot(
            seq=fields["seq"],
            state=machine.state_type.decode(fields["state"]),
            nonces=fields["nonces"],
            config=fields["config"],
            open=tuple(_decided(item) for item in fields["open"]),
            said=tuple(_decided(item) for item in fields["said"]),
        )
    except (KeyError, ValueError, TypeError, SchemaError, msgpack.UnpackException) as error:
        raise SnapshotError(f"the snapshot of {machine.name} cannot be read: {error}") from error


def _flat(decided: Decided) -> list[Any]:
    return [
        decided.kind,
        decided.subject,
        None if decided.message is None else decided.message.TYPE,
        decided.payload,
        decided.tag,
        decided.cause,
        decided.time_us,
        decided.ends_with,
    ]


def _decided(item: list[Any]) -> Decided:
    kind, subject, type_, payload, tag, cause, time_us, ends_with = item
    message = None if type_ is None else CONTRACTS[type_].decode(payload)
    return Decided(kind, subject, message, payload, tag, cause, time_us, ends_with)
