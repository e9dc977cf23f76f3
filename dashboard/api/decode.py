"""From bytes that were verified, or refused, to an `Entry`."""

from __future__ import annotations

import json
from typing import Any

from auditor_svc.api import AuditedMessage
from broker.contracts.registry import CONTRACTS
from broker.envelope import Envelope, open_frame
from broker.errors import Refusal, SchemaError
from broker.gate import Gate, Trusted
from broker.port import Stored
from dashboard.api.core.entry import Entry
from dashboard.api.core.said import said
from harness.control import Refused


def entry_of(item: Trusted | Refused) -> Entry:
    """Return what the gate made of a message."""
    if isinstance(item, Refused):
        return refused_entry(item.stored, item.name, item.detail)
    payload: dict[str, Any] = json.loads(item.envelope.payload)
    return _entry(item.stored, item.envelope, None, said(item.message), payload)


def refused_entry(stored: Stored, name: str, detail: str) -> Entry:
    """Return a message that the gate did not let in: nothing in it is believed."""
    return _entry(stored, _frame(stored.data), name, f"refused as {name}: {detail}"[:300], None)


def audited_entry(row: AuditedMessage) -> Entry:
    """Return a message as the auditor judged it when it came."""
    stored = Stored(row.journal_seq, row.time_us, row.subject, row.envelope)
    envelope = _frame(row.envelope)
    if row.refusal is not None or row.payload is None or envelope is None:
        return refused_entry(stored, row.refusal or "bad_frame", "the gate did not let it in")
    return _entry(stored, envelope, None, _said(envelope.type, row.payload), json.loads(row.payload))


def recorded_entry(gate: Gate, stored: Stored) -> Entry:
    """Return a message of a recording, judged by a gate without keys: the recording's own chain was checked."""
    try:
        return entry_of(gate.admit(stored))
    except Refusal as refusal:
        return refused_entry(stored, refusal.name, str(refusal))


def _said(type_: str, payload: str) -> str:
    try:
        return said(CONTRACTS[type_].decode(payload.encode()))
    except (KeyError, SchemaError):
        return type_  # of another version of this program: the payload shows what it said


def _frame(data: bytes) -> Envelope | None:
    try:
        return open_frame(data)
    except Refusal:
        return None


def _entry(
    stored: Stored, envelope: Envelope | None, refusal: str | None, message: str, payload: dict[str, Any] | None
) -> Entry:
    return Entry(
        seq=stored.seq,
        time_us=stored.time_us,
        subject=stored.subject,
        type=envelope.type if envelope else None,
        sender=envelope.sender if envelope else None,
        tag=envelope.tag if envelope else None,
        key_version=envelope.key_version if envelope else 0,
        cause=envelope.cause if envelope else 0,
        hmac=envelope.hmac.hex() if envelope else "",
        verified=refusal is None,
        refusal=refusal,
        message=message,
        payload=payload,
    )
