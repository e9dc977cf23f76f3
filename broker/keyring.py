"""Keys: one master, and for every role a file with only what that role needs.

```
master file   a root secret (never rotated) and the last KEPT_VERSIONS version secrets
              version secret --HKDF(channel)--> channel key      one per channel and version
              root secret    --HKDF(user)-----> broker password  one per broker user
              root secret    --HKDF-----------> Ed25519 seeds    sign the auditor's checkpoints; the operator's files
role file     the keys of `channels_of(role)`, the role's own broker password; the auditor's also the seed, and the
              checkpoint's public key for those who verify it; the operator's also the seed that signs recordings
```

Rotation has two steps, so that nobody ever meets a version that is not in his file yet (docs/security.md):
`begin_rotation` adds a version with which nobody signs, and every role file is derived again; `finish_rotation` makes
it the one to sign with, and every role file is derived again. Older versions still verify, so that the journal stays
readable. A message signed with a version that fell off the end is refused as `unknown_key_version`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.errors import KeyringError, UnknownKeyVersionError, WrongChannelError
from broker.keyfile import read_sealed, write_sealed
from broker.subjects import BROKER_USERS, CHANNELS, ROLES, Role, channels_of

KEPT_VERSIONS: Final = 3
"""How many versions still verify, the current one included."""
SPARED_S: Final = 24 * 3_600.0
"""A version is dropped no sooner than this after the last message was signed with it: the longest TTL there is
(`envelope.MAX_TTL_S`), seconds."""
MASTER: Final = "master"
CHECKPOINT_VERIFIERS: Final[frozenset[str]] = frozenset({"reader", "operator", "auditor"})
_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Keyring:
    """What one key file holds, opened. Its `repr` shows no secret."""

    owner: str
    """`master`, or the role."""
    current: int
    """Version to sign with."""
    keys: Mapping[str, Mapping[int, bytes]] = field(repr=False)
    """Channel -> version -> key."""
    passwords: Mapping[str, str] = field(repr=False)
    """Broker user -> password: every user's in the master, one's own in a role file."""
    checkpoint_seed: bytes | None = field(default=None, repr=False)
    """Ed25519 seed; only in the master and the auditor's file."""
    checkpoint_public: bytes | None = None
    """Ed25519 public key; for those who verify checkpoints."""
    recording_seed: bytes | None = field(default=None, repr=False)
    """Ed25519 seed; only in the master and the operator's file, and not in files of before recordings were signed: the
    next `up` or rotation derives those again."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels this ring can sign or verify."""
        return tuple(self.keys)

    @property
    def versions(self) -> tuple[int, ...]:
        """Versions held, oldest first."""
        return tuple(sorted({version for held in self.keys.values() for version in held}))

    def key(self, channel: str, version: int) -> bytes:
        """Return a channel's key.

        Raises:
            WrongChannelError: this ring does not hold the channel.
            UnknownKeyVersionError: it holds the channel, but not this version.
        """
        held = self.keys.get(channel)
        if held is None:
            raise WrongChannelError(f"the keys of {self.owner} hold no channel {channel!r}")
        if version not in held:
            known = ", ".join(str(number) for number in sorted(held))
            raise UnknownKeyVersionError(f"version {version} of channel {channel} is not among those held ({known})")
        return held[version]

    def broker_password(self, user: str | None = None) -> str:
        """Return the password of a broker user: the owner's own, or with the master any of `BROKER_USERS`.

        Raises:
            KeyringError: this file does not hold it.
        """
        wanted = user or self.owner
        if wanted not in self.passwords:
            raise KeyringError(f"the keys of {self.owner} hold no broker password of {wanted}")
        return self.passwords[wanted]

    def sign_checkpoint(self, data: bytes) -> bytes:
        """Return the Ed25519 signature (64 bytes) of an audit checkpoint.

        Raises:
            KeyringError: this file has no checkpoint key.
        """
        if self.checkpoint_seed is None:
            raise KeyringError(f"the keys of {self.owner} hold no checkpoint key; only the auditor's do")
        return Ed25519PrivateKey.from_private_bytes(self.checkpoint_seed).sign(data)

    def verify_checkpoint(self, signature: bytes, data: bytes) -> bool:
        """Tell whether the auditor signed `data`.

        Raises:
            KeyringError: this file has no public key of the auditor.
        """
        if self.checkpoint_public is None:
            raise KeyringError(f"the keys of {self.owner} hold no public key of the auditor")
        try:
            Ed25519PublicKey.from_public_bytes(self.checkpoint_public).verify(signature, data)
        except InvalidSignature:
            return False
        return True

    @property
    def recording_public(self) -> bytes | None:
        """Return the Ed25519 public key (32 bytes) that verifies recordings signed with this file, or None if it signs
        none."""
        if self.recording_seed is None:
            return None
        return Ed25519PrivateKey.from_private_bytes(self.recording_seed).public_key().public_bytes_raw()

    def sign_recording(self, data: bytes) -> bytes:
        """Return the Ed25519 signature (64 bytes) of a recording's manifest.

        Raises:
            KeyringError: this file has no key for recordings.
        """
        if self.recording_seed is None:
            raise KeyringError(f"the keys of {self.owner} hold no key for recordings; only the operator's do")
        return Ed25519PrivateKey.from_private_bytes(self.recording_seed).sign(data)

    def restricted_to(self, role: Role) -> Keyring:
        """Return what of a master belongs in a role's key file, and nothing else."""
        return Keyring(
            owner=role,
            current=self.current,
            keys={channel: self.keys[channel] for channel in channels_of(role)},
            passwords={role: self.broker_password(role)},
            checkpoint_seed=self.checkpoint_seed if role == "auditor" else None,
            checkpoint_public=self.checkpoint_public if role in CHECKPOINT_VERIFIERS else None,
            recording_seed=self.recording_seed if role == "operator" else None,
        )


def create_master(path: Path, passphrase: str) -> Keyring:
    """Make new secrets, version 1, and write them to a new master file.

    Raises:
        KeyringError: the file exists already, or cannot be written.
    """
    secrets_ = {
        "root": secrets.token_hex(_KEY_BYTES),
        "current": 1,
        "versions": {"1": secrets.token_hex(_KEY_BYTES)},
        "since": {"1": _now_us(None)},
    }
    write_sealed(path, MASTER, secrets_, passphrase, replace=False)
    return _master_ring(secrets_)


def begin_rotation(path: Path, passphrase: str, *, force: bool = False, now_us: int | None = None) -> Keyring:
    """Add a version to a master file with which nobody signs yet; return the ring, its `current` as it was.

    A rotation that was begun before and never finished is gone on with: no further version is made. The role files must
    be derived again before `finish_rotation`.

    Args:
        force: drop the oldest version even if a message signed with it may still be due.
        now_us: now, microseconds since the epoch; the wall clock unless given.

    Raises:
        KeyringError: not a master file, wrong passphrase, damaged or unwritable, or the oldest version would be dropped
            within SPARED_S of its last use; the file is then as it was.
    """
    content, ring = _open_master(path, passphrase)
    if ring.versions[-1] == ring.current:
        versions = {**content["versions"], str(ring.current + 1): secrets.token_hex(_KEY_BYTES)}
        content = {**content, "versions": versions}
    if not force:
        _spare(content, _now_us(now_us))
    write_sealed(path, MASTER, content, passphrase, replace=True)
    return _master_ring(content)


def finish_rotation(path: Path, passphrase: str, *, now_us: int | None = None) -> Keyring:
    """Make the newest version of a master file the current one, drop those beyond KEPT_VERSIONS, return the new ring.

    Only for a master whose role files all hold that version. They must be derived again; whoever still signs with the
    old one meanwhile is understood. Nothing happens if no rotation was begun.

    Raises:
        KeyringError: not a master file, wrong passphrase, damaged or unwritable; the file is then as it was.
    """
    content, ring = _open_master(path, passphrase)
    newest = ring.versions[-1]
    if newest == ring.current:
        return ring
    since = {**content["since"], str(newest): _now_us(now_us)}
    kept = [str(version) for version in ring.versions[-KEPT_VERSIONS:]]
    content = {
        **content,
        "current": newest,
        "versions": {number: content["versions"][number] for number in kept},
        "since": {number: since[number] for number in kept},
    }
    write_sealed(path, MASTER, content, passphrase, replace=True)
    return _master_ring(content)


def rotate(path: Path, passphrase: str, *, force: bool = False, now_us: int | None = None) -> Keyring:
    """Do both steps at once: only for keys that nobody uses meanwhile. Arguments and errors as `begin_rotation`."""
    begin_rotation(path, passphrase, force=force, now_us=now_us)
    return finish_rotation(path, passphrase, now_us=now_us)


def derive_role_file(master: Keyring, role: Role, path: Path, passphrase: str) -> Keyring:
    """Write (or replace) a role's key file from an opened master; return what it holds.

    Raises:
        KeyringError: `master` is not the master, or the file cannot be written.
    """
    if master.owner != MASTER:
        raise KeyringError(f"role files are derived from the master, not from the keys of {master.owner}")
    ring = master.restricted_to(role)
    content = {
        "current": ring.current,
        "channels": {
            channel: {str(version): key.hex() for version, key in held.items()} for channel, held in ring.keys.items()
        },
        "broker_password": ring.broker_password(),
        "checkpoint_seed": ring.checkpoint_seed.hex() if ring.checkpoint_seed else None,
        "checkpoint_public": ring.checkpoint_public.hex() if ring.checkpoint_public else None,
        "recording_seed": ring.recording_seed.hex() if ring.recording_seed else None,
    }
    write_sealed(path, role, content, passphrase, replace=True)
    return ring


def load(path: Path, passphrase: str) -> Keyring:
    """Open a master or role file.

    Raises:
        KeyringError: missing, readable by others, damaged, or the passphrase is wrong; the text says which.
    """
    return _opened(path, *read_sealed(path, passphrase))


def _open_master(path: Path, passphrase: str) -> tuple[dict[str, Any], Keyring]:
    """Return a master's content, with the time since when each version signs, and the ring it makes."""
    owner, content = read_sealed(path, passphrase)
    if owner != MASTER:
        raise KeyringError(f"{path} holds the keys of {owner}; only the master file can be rotated")
    ring = _opened(path, owner, content)
    # A master that was written before these times were kept: no version in it is younger than the file.
    written_us = path.stat().st_mtime_ns // 1_000
    known: dict[str, int] = content.get("since", {})
    since = {str(version): known.get(str(version), written_us) for version in ring.versions if version <= ring.current}
    return {**content, "since": since}, ring


def _spare(content: dict[str, Any], now_us: int) -> None:
    """Refuse to drop a version with which a message may have been signed that is still due."""
    for version in sorted(int(number) for number in content["versions"])[:-KEPT_VERSIONS]:
        last_used_us: int = content["since"][str(version + 1)]
        left_s = SPARED_S - (now_us - last_used_us) / 1_000_000
        if left_s > 0:
            raise KeyringError(
                f"key version {version} cannot be dropped yet: messages signed with it may be due for "
                f"another {left_s / 3_600:.1f} h and would be refused; rotate again then, or now with --force"
            )


def _now_us(given: int | None) -> int:
    return time.time_ns() // 1_000 if given is None else given


def _opened(path: Path, owner: str, content: dict[str, Any]) -> Keyring:
    try:
        ring = _master_ring(content) if owner == MASTER else _role_ring(owner, content)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise KeyringError(f"key file {path} opened, but its content is not that of {owner[:40]}") from error
    if ring.current not in ring.versions:
        raise KeyringError(f"key file {path} has no keys of its current version {ring.current}")
    return ring


def _master_ring(content: dict[str, Any]) -> Keyring:
    root = bytes.fromhex(content["root"])
    versions = {int(number): bytes.fromhex(secret) for number, secret in content["versions"].items()}
    seed = _expand(root, "checkpoint")
    return Keyring(
        owner=MASTER,
        current=int(content["current"]),
        keys={
            channel: {number: _expand(secret, f"channel/{channel}") for number, secret in versions.items()}
            for channel in CHANNELS
        },
        passwords={user: _expand(root, f"broker/{user}").hex() for user in BROKER_USERS},
        checkpoint_seed=seed,
        checkpoint_public=Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw(),
        recording_seed=_expand(root, "recording"),
    )


def _role_ring(owner: str, content: dict[str, Any]) -> Keyring:
    if owner not in ROLES:
        raise ValueError(f"unknown role {owner!r}")
    seed, public = content["checkpoint_seed"], content["checkpoint_public"]
    recording = content.get("recording_seed")  # files of before have none
    return Keyring(
        owner=owner,
        current=int(content["current"]),
        keys={
            channel: {int(number): bytes.fromhex(key) for number, key in held.items()}
            for channel, held in content["channels"].items()
        },
        passwords={owner: str(content["broker_password"])},
        checkpoint_seed=bytes.fromhex(seed) if seed else None,
        checkpoint_public=bytes.fromhex(public) if public else None,
        recording_seed=bytes.fromhex(recording) if recording else None,
    )


def _expand(secret: bytes, purpose: str) -> bytes:
    info = f"agentic-triage/{purpose}".encode()
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(secret)
