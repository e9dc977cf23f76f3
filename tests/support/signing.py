"""Keys, signers and gates for tests: real signatures, no key files, no scrypt."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from broker.envelope import Signer, wall_clock_us
from broker.gate import Gate
from broker.keyring import Keyring
from broker.memory import MemoryJournal
from broker.subjects import BROKER_USERS, CHANNELS, Role


def master(current: int = 1) -> Keyring:
    """Return a master keyring holding versions 1..current; the same keys every time."""
    return Keyring(
        owner="master",
        current=current,
        keys={channel: {n: _key(f"{channel}/{n}") for n in range(1, current + 1)} for channel in CHANNELS},
        passwords={user: f"password-of-{user}" for user in BROKER_USERS},
        checkpoint_seed=_key("checkpoint"),
        recording_seed=_key("recording"),
    )


def signer(
    role: Role,
    instance: str | None = None,
    *,
    journal: MemoryJournal | None = None,
    clock: Callable[[], int] = wall_clock_us,
    version: int = 1,
) -> Signer:
    """Return a signer of a role; stamps by the journal's clock if one is given, never repeats a nonce."""
    name = instance or f"{role}-1"
    return Signer(
        role,
        name,
        master(version).restricted_to(role),
        clock=clock if journal is None else lambda: journal.now_us,
    )


def gate(role: Role, *, version: int = 1) -> Gate:
    """Return the gate of a role."""
    return Gate(master(version).restricted_to(role))


def _key(name: str) -> bytes:
    return hashlib.sha256(f"test/{name}".encode()).digest()
