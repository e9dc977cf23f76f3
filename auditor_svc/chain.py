"""The hash chain: how a row's hash is made, when a checkpoint is due, what is signed. Pure: no clock, no I/O.

Byte layout and the reasons for it: docs/state-machines/auditor.md. `standalone_verify.py` implements the same layout a
second time, from that page alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from struct import Struct
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from broker.contracts.control import Checkpoint
from broker.port import Stored

DOMAIN = b"agentic-triage/audit/row/1"
"""Stands first in what is hashed: no hash of something else can pass for a row's, and a new layout has a new name."""
GENESIS = sha256(b"agentic-triage/audit/genesis/1").digest()
"""What the first row has for its previous hash."""
ACCEPTED = "accepted"
"""Verdict of a message that the gate let in; any other verdict is a refusal's name."""
CHECKPOINT_ROWS = 100
CHECKPOINT_US = 10_000_000
"""A checkpoint is due after so many rows, or so long (broker time) after the first row that none covers."""
CHECKPOINT_PREFIX = "triage.audit.checkpoint."

Sign = Callable[[bytes], bytes]
"""Ed25519 signature (64 bytes) over the bytes."""

_HEAD = Struct(f">I{len(DOMAIN)}sI32sIQIQIqI")
_BODY = Struct(">I32sI")
NUMBER_MAX = 2**63 - 1


class Columns(NamedTuple):
    """What stands in columns of its own for people to query. All of it is derived from the envelope's bytes."""

    sender: str | None
    type: str | None
    channel: str | None
    key_version: int | None
    tag: str | None
    cause: int | None
    nonce: bytes | None
    ttl_s: float | None
    payload: str | None
    """The payload's exact JSON text; None for a refused message."""


class Row(NamedTuple):
    """One row of the chain. A tuple, not a dataclass: a verifier makes hundreds of thousands of them in a second."""

    number: int
    """Place in the chain, 1 for the first, without gaps (journal sequences have gaps: telemetry expires)."""
    journal_seq: int
    time_us: int
    """Broker time, microseconds since the epoch."""
    subject: str
    verdict: str
    envelope: bytes
    """The message's bytes as the journal has them."""
    envelope_hash: bytes
    prev_hash: bytes
    row_hash: bytes
    columns: Columns | None = None
    """None where they are not kept (exports)."""


class Head(NamedTuple):
    """Where a chain ends."""

    rows: int
    journal_seq: int
    hash: bytes


EMPTY = Head(0, 0, GENESIS)


@dataclass(frozen=True, slots=True)
class Progress:
    """What the writer has to know to go on: the head, the last checkpoint's number, what no checkpoint covers yet."""

    head: Head = EMPTY
    checkpoints: int = 0
    uncovered: int = 0
    """Rows since the last checkpoint, those of checkpoint messages left out, or an idle system would sign for ever."""
    since_us: int = 0
    """Broker time of the first of them; meaningless while there is none."""


def clean(text: str) -> str:
    """Return text that the database can hold: U+0000 becomes U+2400, lone surrogates `?`.

    Applied before hashing, so that a hostile subject or sender neither stops the auditor nor breaks the chain.
    """
    if "\x00" in text:
        text = text.replace("\x00", "\u2400")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def row_hash(
    prev_hash: bytes, number: int, journal_seq: int, time_us: int, subject: str, envelope_hash: bytes, verdict: str
) -> bytes:
    """Return the SHA-256 (32 bytes) of a row. Every field is preceded by its length (4 bytes, big-endian).

    Raises:
        struct.error: a number does not fit into its 64 bits, as one below zero, which only a forged row has.
    """
    said, judged = subject.encode(), verdict.encode()
    head = _HEAD.pack(len(DOMAIN), DOMAIN, 32, prev_hash, 8, number, 8, journal_seq, 8, time_us, len(said))
    return sha256(b"".join((head, said, _BODY.pack(32, envelope_hash, len(judged)), judged))).digest()


def append(progress: Progress, stored: Stored, verdict: str, columns: Columns | None = None) -> tuple[Progress, Row]:
    """Return the chain's next row for one message of the journal, and the progress after it."""
    head, subject = progress.head, clean(stored.subject)
    number, body = head.rows + 1, sha256(stored.data).digest()
    digest = row_hash(head.hash, number, stored.seq, stored.time_us, subject, body, verdict)
    row = Row(number, stored.seq, stored.time_us, subject, verdict, stored.data, body, head.hash, digest, columns)
    return advance(progress, row), row


def advance(progress: Progress, row: Row) -> Progress:
    """Return the progress after a row that stands already."""
    head = Head(row.number, row.journal_seq, row.row_hash)
    if row.subject.startswith(CHECKPOINT_PREFIX):
        return replace(progress, head=head)
    since = progress.since_us if progress.uncovered else row.time_us
    return replace(progress, head=head, uncovered=progress.uncovered + 1, since_us=since)


def due(progress: Progress, now_us: int) -> bool:
    """Tell whether a checkpoint must be signed now; `now_us` is the broker's time."""
    if not progress.uncovered:
        return False
    return progress.uncovered >= CHECKPOINT_ROWS or now_us - progress.since_us >= CHECKPOINT_US


def signed_bytes(checkpoint: Checkpoint) -> bytes:
    """Return what a checkpoint's signature is over: `n|rows|journal_seq|head` in ASCII."""
    return f"{checkpoint.n}|{checkpoint.rows}|{checkpoint.journal_seq}|{checkpoint.head}".encode()


def checkpoint(progress: Progress, sign: Sign) -> tuple[Progress, Checkpoint]:
    """Return the signed checkpoint of the chain as it stands, and the progress after it."""
    head, n = progress.head, progress.checkpoints + 1
    bare = Checkpoint(n=n, rows=head.rows, journal_seq=head.journal_seq, head=head.hash.hex(), signature="")
    signed = bare.model_copy(update={"signature": sign(signed_bytes(bare)).hex()})
    return replace(progress, checkpoints=n, uncovered=0, since_us=0), signed


def signer(seed: bytes) -> Sign:
    """Return the signing function of a 32-byte Ed25519 seed."""
    return Ed25519PrivateKey.from_private_bytes(seed).sign


def signature_holds(checkpoint: Checkpoint, public_key: bytes) -> bool:
    """Tell whether the checkpoint was signed with the private half of `public_key` (32 bytes)."""
    try:
        signature = bytes.fromhex(checkpoint.signature)
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed_bytes(checkpoint))
    except (InvalidSignature, ValueError):
        return False
    return True
