"""The keys of one process: opened at start, read again when their file changed.

A rotation writes new key files and tells `control.rotate`; but a message signed with the new version may be read before
that one, and some roles do not read control messages at all. So the file's own change counts: the gate looks again when
it meets a version it does not know, and the process looks every few seconds.

Nobody signs with a version before it stands in every role's file (`keyring.begin_rotation`). So a version that is not
in the file as it is *now* is refused whenever it is read. A file that changed and cannot be opened tells neither: the
gate then refuses nothing but ends the role, for what it passed over now it would let in after a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from broker.contracts.base import Contract
from broker.contracts.plan import DecisionTag
from broker.envelope import DEFAULT_TTL_S, Signer, wall_clock_us
from broker.errors import KeyringError, Refusal, UnknownKeyVersionError
from broker.gate import Gate, Trusted
from broker.keyfile import read_passphrase
from broker.keyring import Keyring, load
from broker.port import Stored
from broker.runtime.metrics import Metrics
from broker.subjects import Role

KEY_WATCH_S: Final = 2.0
"""How often a process looks whether its key file changed, seconds."""


class MeteredSigner(Signer):
    """A signer that counts."""

    def __init__(
        self, role: Role, instance: str, keyring: Keyring, metrics: Metrics, clock: Callable[[], int] = wall_clock_us
    ) -> None:
        super().__init__(role, instance, keyring, clock=clock)
        self._metrics = metrics

    def seal(
        self,
        message: Contract,
        *,
        subject: str | None = None,
        cause: int = 0,
        tag: DecisionTag = "DETERMINISTIC",
        ttl_s: float = DEFAULT_TTL_S,
    ) -> bytes:
        frame = super().seal(message, subject=subject, cause=cause, tag=tag, ttl_s=ttl_s)
        self._metrics.signed.inc()
        return frame


class MeteredGate(Gate):
    """A gate that counts, and looks for new keys before it refuses a version it does not know."""

    def __init__(self, keyring: Keyring, metrics: Metrics, reread: Callable[[], bool]) -> None:
        super().__init__(keyring)
        self._metrics = metrics
        self._reread = reread

    def admit(self, stored: Stored, *, now_us: int | None = None) -> Trusted:
        """See `Gate.admit`.

        Raises:
            KeyringError: a key version is unknown, and the key file that may hold it changed and cannot be opened.
        """
        try:
            trusted = self._admit(stored, now_us)
        except Refusal as refusal:
            self._metrics.refused.labels(refusal.name).inc()
            raise
        self._metrics.accepted.inc()
        return trusted

    def _admit(self, stored: Stored, now_us: int | None) -> Trusted:
        try:
            return super().admit(stored, now_us=now_us)
        except UnknownKeyVersionError:
            if not self._reread():
                raise
            return super().admit(stored, now_us=now_us)


class Keys:
    """Opens a role's key file and keeps the signer and the gates made from it up to date."""

    def __init__(self, keys_file: Path, passphrase_file: Path, role: Role, instance: str, metrics: Metrics) -> None:
        """
        Raises:
            KeyringError: a file is missing, readable by others, damaged, of another role, or the passphrase is wrong.
        """
        self._keys_file = keys_file
        self._passphrase_file = passphrase_file
        self._role = role
        self._metrics = metrics
        self._gates: list[MeteredGate] = []
        self._stamp = self._file_stamp()
        self.keyring = self._load()
        self.signer = MeteredSigner(role, instance, self.keyring, metrics)

    def gate(self) -> MeteredGate:
        """Return a new gate with a memory of its own, kept up to date with the keys."""
        gate = MeteredGate(self.keyring, self._metrics, self.reread)
        self._gates.append(gate)
        return gate

    def refresh(self) -> bool:
        """Read the key file again if it changed; return whether there are other keys now.

        A file that cannot be read leaves the keys as they are: what they verify and sign is understood as before.
        """
        try:
            return self.reread()
        except KeyringError:
            return False

    def reread(self) -> bool:
        """Do as `refresh` does, but say so if the file changed and cannot be opened.

        Raises:
            KeyringError: that; the keys are as they were.
        """
        stamp = self._file_stamp()
        if stamp == self._stamp:
            return False
        keyring = self._load()
        self._stamp = stamp
        self.keyring = keyring
        self.signer.use(keyring)
        for gate in self._gates:
            gate.use(keyring)
        return True

    def _load(self) -> Keyring:
        keyring = load(self._keys_file, read_passphrase(self._passphrase_file))
        if keyring.owner != self._role:
            raise KeyringError(f"{self._keys_file} holds the keys of {keyring.owner}, not of {self._role}")
        return keyring

    def _file_stamp(self) -> tuple[int, int, int]:
        try:
            status = self._keys_file.stat()
        except OSError:
            return (0, 0, 0)
        return (status.st_mtime_ns, status.st_size, status.st_ino)
