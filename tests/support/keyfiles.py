"""A home with key files, and every role's keys opened from it: who understands whom while files change."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from broker.contracts.base import Contract
from broker.contracts.control import Halt
from broker.keyring import create_master, derive_role_file
from broker.port import Stored
from broker.runtime.keys import Keys, MeteredGate
from broker.runtime.metrics import Metrics
from broker.subjects import ROLES, Role, channel_of
from deploy.embedded.layout import Layout, layout
from tests.support.machines import result, task

PASSPHRASE = "correct horse"
SAID: dict[Role, Contract] = {"operator": Halt(reason="x"), "scheduler": task(), "log": result(task())}
"""Who speaks, and what: to everybody, to one kind of agent, and back."""


@contextmanager
def cheap_scrypt() -> Iterator[None]:
    """Make key files cheap to open: what they cost is tested elsewhere."""
    with patch("broker.keyfile._SCRYPT_N", 2):
        yield


def key_home(root: Path) -> Layout:
    """Make a home with a master and every role's file, version 1."""
    place = layout(root)
    place.passphrase.write_text(PASSPHRASE + "\n")
    master = create_master(place.master_keys, PASSPHRASE)
    for role in ROLES:
        derive_role_file(master, role, place.role_keys(role), PASSPHRASE)
    return place


class Running:
    """One process of each role, running since before whatever happens to the files."""

    def __init__(self, place: Layout) -> None:
        self.keys: dict[Role, Keys] = {
            role: Keys(place.role_keys(role), place.passphrase, role, f"{role}-1", Metrics()) for role in ROLES
        }
        self._gates: dict[Role, MeteredGate] = {role: keys.gate() for role, keys in self.keys.items()}
        self._seq = 0

    def poll(self, roles: Collection[Role]) -> None:
        """Have these roles look at their files."""
        for role in roles:
            self.keys[role].refresh()

    def talk(self) -> set[int]:
        """Have everybody speak and whoever holds the channel hear it; return the key versions that were used.

        Raises:
            Refusal: somebody was not understood.
        """
        return {self._hear(sender, message) for sender, message in SAID.items()}

    def _hear(self, sender: Role, message: Contract) -> int:
        frame = self.keys[sender].signer.seal(message)
        channel = channel_of(message.subject(), sender)
        self._seq += 1
        version = self.keys[sender].keyring.current
        for role, gate in self._gates.items():
            if channel in self.keys[role].keyring.channels:
                now_us = int(self.keys[sender].signer._clock())
                assert gate.admit(Stored(self._seq, now_us, message.subject(), frame)).envelope.key_version == version
        return version
