"""Verify an audit export without this project: copy this one file anywhere.

    python standalone_verify.py EXPORT PUBLIC_KEY_HEX [CHECKPOINT_FILE ...]

Needs Python 3.11 and `cryptography`. Ends with 0 if the chain holds, 5 if not, 2 if it cannot read its input. A second
implementation of docs/state-machines/auditor.md, written apart from `verify.py` on purpose: what both say is hardly one
program's mistake. It names the first fault; `triage audit verify` names all of them, and what was done to the row.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Broken(Exception):
    """The chain does not hold; the text says where."""


def prefixed(field: bytes) -> bytes:
    """A field as it is hashed: its length in four bytes, big-endian, then itself."""
    return len(field).to_bytes(4, "big") + field


def row_hash(prev: bytes, number: int, seq: int, time_us: int, subject: str, body: bytes, verdict: str) -> bytes:
    """SHA-256 over the length-prefixed fields of a row, in this order."""
    fields = (
        b"agentic-triage/audit/row/1",
        prev,
        number.to_bytes(8, "big"),
        seq.to_bytes(8, "big"),
        time_us.to_bytes(8, "big", signed=True),
        subject.encode(),
        body,
        verdict.encode(),
    )
    return hashlib.sha256(b"".join(prefixed(field) for field in fields)).digest()


def lines(path: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file, one a line."""
    with Path(path).open(encoding="utf-8") as file:
        for text in file:
            yield json.loads(text)


def check_rows(path: str) -> tuple[dict[int, tuple[int, str]], list[dict[str, Any]], int]:
    """Check every row by itself and against the one before; return (journal_seq, hash) by number, the checkpoints kept
    in the export, and the number of rows."""
    prev, count, last_seq = hashlib.sha256(b"agentic-triage/audit/genesis/1").digest(), 0, 0
    heads: dict[int, tuple[int, str]] = {}
    checkpoints: list[dict[str, Any]] = []
    complete = False
    for line in lines(path):
        if "row" in line:
            number, seq, time_us, subject, verdict, envelope, body_hex, prev_hex, digest_hex = line["row"]
            where = f"journal_seq {seq}"
            body = hashlib.sha256(base64.b64decode(envelope, validate=True)).digest()
            if number != count + 1:
                raise Broken(f"{where}: row number {number} stands where {count + 1} belongs")
            if seq <= last_seq:
                raise Broken(f"{where}: follows journal_seq {last_seq}")
            if body.hex() != body_hex:
                raise Broken(f"{where}: the envelope is not the one that was hashed")
            if prev.hex() != prev_hex:
                raise Broken(f"{where}: is not chained to the row before it")
            digest = row_hash(prev, number, seq, time_us, subject, body, verdict)
            if digest.hex() != digest_hex:
                raise Broken(f"{where}: the row is not what its hash is over")
            prev, count, last_seq = digest, number, seq
            heads[number] = (seq, digest_hex)
        elif "checkpoint" in line:
            checkpoints.append(line["checkpoint"])
        elif "end" in line:
            complete = line["end"] == {"rows": count, "checkpoints": len(checkpoints)}
    if not complete:
        raise Broken("the export does not hold what its end line says: it was cut or added to")
    return heads, checkpoints, count


def check_checkpoint(checkpoint: dict[str, Any], heads: dict[int, tuple[int, str]], key: Ed25519PublicKey) -> None:
    """Check a checkpoint's signature, and that the row it signs is the one that stands there."""
    n, rows, seq, head = (checkpoint[name] for name in ("n", "rows", "journal_seq", "head"))
    try:
        key.verify(bytes.fromhex(checkpoint["signature"]), f"{n}|{rows}|{seq}|{head}".encode())
    except (InvalidSignature, ValueError):
        raise Broken(f"journal_seq {seq}: checkpoint {n} is not signed by this key") from None
    if rows not in heads:
        raise Broken(f"journal_seq {seq}: checkpoint {n} signs row {rows}, the chain has {len(heads)}: it was cut off")
    if heads[rows] != (seq, head):
        raise Broken(f"journal_seq {seq}: row {rows} is not the one that checkpoint {n} signs: the chain was rebuilt")


def check(path: str, public_key: str, kept_elsewhere: list[str]) -> str:
    """Verify an export and return a sentence on it.

    Raises:
        Broken: it does not hold.
    """
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
    head = next(lines(path))
    if (head.get("format"), head.get("version")) != ("agentic-triage-audit", 1):
        raise ValueError("no audit export of version 1")
    heads, checkpoints, count = check_rows(path)
    numbers = [checkpoint["n"] for checkpoint in checkpoints]
    if numbers != list(range(1, len(numbers) + 1)):
        raise Broken("checkpoints are missing or out of order")
    for file in kept_elsewhere:
        checkpoints += lines(file)
    for checkpoint in checkpoints:
        check_checkpoint(checkpoint, heads, key)
    covered = max((checkpoint["rows"] for checkpoint in checkpoints), default=0)
    return f"{count} rows hold, {len(checkpoints)} checkpoints; {count - covered} rows after the last one are unsigned"


def main(arguments: list[str]) -> int:
    """Run from the command line."""
    if len(arguments) < 2:
        sys.stderr.write("usage: standalone_verify.py EXPORT PUBLIC_KEY_HEX [CHECKPOINT_FILE ...]\n")
        return 2
    try:
        sys.stdout.write(check(arguments[0], arguments[1], arguments[2:]) + "\n")
    except Broken as fault:
        sys.stdout.write(f"BROKEN: {fault}\n")
        return 5
    except (OSError, ValueError, KeyError, TypeError, OverflowError, AttributeError, StopIteration) as error:
        sys.stderr.write(f"cannot read the input: {type(error).__name__}: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
