"""The journal as the audit keeps it: pages of messages with their verdicts, and one message with its place.

Reads only. Unlike the broker's journal it has every message that ever was, telemetry included.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from auditor_svc.reading import IncidentSummary
from auditor_svc.store import Store

_SELECT = "SELECT journal_seq, number, time_us, subject, refusal, envelope, payload"
_NOISE = """NOT starts_with(subject, 'triage.telemetry.') AND NOT starts_with(subject, 'triage.due.')"""
_OF_INCIDENT = f"""
    {_NOISE} AND (split_part(subject, '.', 3) = $3 AND split_part(subject, '.', 2) = ANY($4)
                  OR split_part(subject, '.', 4) = $3 AND split_part(subject, '.', 2) = ANY($5))"""
_THIRD = ["incident", "plan", "dead", "deviation", "verified", "approval"]
_FOURTH = ["task", "claim", "result"]


@dataclass(frozen=True, slots=True)
class AuditedMessage:
    """One row of the trail."""

    journal_seq: int
    number: int
    time_us: int
    subject: str
    refusal: str | None
    envelope: bytes
    """The message's bytes as the journal has them."""
    payload: str | None
    """The payload's exact JSON text; None for a refused message."""


@dataclass(frozen=True, slots=True)
class AuditedPlace:
    """A row with its hashes, hex."""

    message: AuditedMessage
    envelope_hash: str
    prev_hash: str
    row_hash: str


async def read_messages(
    store: Store,
    *,
    after: int | None = None,
    before: int | None = None,
    limit: int,
    incident: str | None = None,
    telemetry: bool = False,
) -> tuple[AuditedMessage, ...]:
    """Return a page of the trail, oldest first: what follows `after`, else what ends before `before`, else the newest.
    With both, what follows the one and stands before the other.

    Args:
        incident: only what stands on that incident's own subjects.
        telemetry: with telemetry and due timers, which are left out otherwise.
    """
    up = after is not None
    edge = after if after is not None else before if before is not None else 2**62
    what = "true" if telemetry else _NOISE
    arguments: list[Any] = [edge, limit]
    if incident is not None:
        what = _OF_INCIDENT
        arguments += [incident, _THIRD, _FOURTH]
    if up and before is not None:
        arguments.append(before)
        what = f"{what} AND journal_seq < ${len(arguments)}"
    query = f"""{_SELECT} FROM envelopes WHERE journal_seq {">" if up else "<"} $1 AND {what}
                ORDER BY journal_seq {"ASC" if up else "DESC"} LIMIT $2"""
    found = [AuditedMessage(**row) for row in await store.fetch(query, *arguments)]
    return tuple(found if up else reversed(found))


async def read_place(store: Store, journal_seq: int) -> AuditedPlace | None:
    """Return one message with its place in the chain, or None if the auditor has not written it."""
    found = await store.fetch(
        f"""{_SELECT}, encode(envelope_hash, 'hex') AS envelope_hash, encode(prev_hash, 'hex') AS prev_hash,
            encode(row_hash, 'hex') AS row_hash FROM envelopes WHERE journal_seq = $1""",
        journal_seq,
    )
    if not found:
        return None
    row = dict(found[0])
    hashes = {name: row.pop(name) for name in ("envelope_hash", "prev_hash", "row_hash")}
    return AuditedPlace(AuditedMessage(**row), **hashes)


async def read_row_hashes(store: Store, seqs: list[int]) -> dict[int, str]:
    """Return the hashes, hex, of the rows of these journal sequences that the auditor has written."""
    found = await store.fetch(
        "SELECT journal_seq, encode(row_hash, 'hex') AS hash FROM envelopes WHERE journal_seq = ANY($1::bigint[])", seqs
    )
    return {row["journal_seq"]: row["hash"] for row in found}


async def read_incident_page(store: Store, limit: int, before: int | None) -> tuple[IncidentSummary, ...]:
    """Return incidents reported before a journal sequence (None: the newest), newest first."""
    query = """SELECT * FROM incidents WHERE $2::bigint IS NULL OR journal_seq < $2
               ORDER BY journal_seq DESC LIMIT $1"""
    return tuple(IncidentSummary(**row) for row in await store.fetch(query, limit, before))


@dataclass(frozen=True, slots=True)
class Repaired:
    """A past incident that ended verified: what was reported, what it was, what mended it."""

    incident: str
    journal_seq: int
    text: str
    target: str
    fault_class: str
    actions: tuple[str, ...]
    """In order, such as `reconcile orders`."""


async def read_repaired(store: Store, limit: int) -> tuple[Repaired, ...]:
    """Return the newest incidents that were repaired, newest first."""
    found = await store.fetch("SELECT * FROM repaired_incidents ORDER BY journal_seq DESC LIMIT $1", limit)
    return tuple(
        Repaired(**row | {"actions": tuple(f"{a['type']} {a['target']}" for a in json.loads(row["actions"]))})
        for row in found
    )
