"""Recording of a run: the machines as they stand at its start, then every message of the journal until its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from broker.envelope import open_frame
from broker.errors import BadFrameError, BadMacError, Refusal, TooLargeError
from broker.keyring import Keyring
from broker.port import CaughtUp, Stored
from broker.runtime.snapshot import head_of
from harness.control import ControlPlane
from harness.errors import StackDownError
from harness.machines import VERSIONS
from harness.recording import Header, MachineRecord, Recorder, require_writable
from harness.scenario import Draw
from harness.site import deployment


class JournalTap:
    """Collects a run's journal and writes it as one file at the end; without a path it does nothing."""

    def __init__(
        self, home: Path, path: Path | None, draw: Draw, machines: tuple[MachineRecord, ...], before: list[Stored]
    ) -> None:
        self._home = home
        self._path = path
        self._draw = draw
        self._machines = machines
        self._messages = before

    @classmethod
    async def open(cls, control: ControlPlane, path: Path | None, draw: Draw) -> JournalTap:
        """Take the machines' newest snapshots, and the journal from the oldest of them up to now.

        Raises:
            OSError: the file could not be written. StackDownError: a machine has never run here.
        """
        if path is None:
            return cls(control.home, None, draw, (), [])
        require_writable(path)
        machines = tuple([await _machine(control, name) for name in VERSIONS])
        start = min(head_of(machine.snapshot)[0] for machine in machines) + 1
        before = [item async for item in control.broker.read(start, follow=False) if not isinstance(item, CaughtUp)]
        return cls(control.home, path, draw, machines, before)

    @property
    def next_sequence(self) -> int | None:
        """Sequence to follow the run from, so that the recording has no gap; None if nothing is recorded."""
        return self._messages[-1].seq + 1 if self._messages else None

    def add(self, stored: Stored) -> None:
        """Append one message; what was already taken at the start is not taken twice."""
        if self._path is not None and (not self._messages or stored.seq > self._messages[-1].seq):
            self._messages.append(stored)

    async def finish(self, incident: str, injected_at: float | None) -> None:
        """Write the file, signed with the operator's keys as they are now: they may have been rotated meanwhile.

        Raises:
            KeyringError: the operator's key file cannot be opened.
        """
        if self._path is None:
            return
        ring = await asyncio.to_thread(deployment(self._home).keys().load, "operator")
        scenario, refused = self._draw.scenario.name, refused_by(ring, self._messages)
        header = Header(scenario, self._draw.seed, self._draw.noise, incident, self._machines, refused)
        with Recorder(self._path, header) as recorder:
            for stored in self._messages:
                recorder.add(stored)
            recorder.finish(injected_at, ring)


def refused_by(keyring: Keyring, messages: Iterable[Stored]) -> tuple[tuple[int, str], ...]:
    """Return sequence and name of every message that these keys refuse: what an offline replay could not tell.

    What is no frame at all is left out, since that needs no keys.
    """
    found = []
    for stored in messages:
        try:
            envelope = open_frame(stored.data)
            key = keyring.key(envelope.channel, envelope.key_version)
        except (BadFrameError, TooLargeError):
            continue
        except Refusal as refusal:
            found.append((stored.seq, refusal.name))
            continue
        if not envelope.is_signed_by(key):
            found.append((stored.seq, BadMacError.name))
    return tuple(found)


async def _machine(control: ControlPlane, name: str) -> MachineRecord:
    """Return a machine as its host has saved it: configuration at its start, newest snapshot."""
    snapshot = await control.broker.load_snapshot(f"{name}.v{VERSIONS[name]}")
    if snapshot is None:
        raise StackDownError(f"the {name} has never run here, so its decisions cannot be recorded; see: triage status")
    return MachineRecord(name, VERSIONS[name], head_of(snapshot)[1], snapshot)
