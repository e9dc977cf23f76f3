"""What a verification found, as values that can be printed or sent as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

FaultKind = Literal[
    "edited",
    "deleted",
    "inserted",
    "reordered",
    "cut_off",
    "rebuilt",
    "bad_signature",
    "checkpoint_missing",
    "projection",
]
"""
- edited: a row's content is not what its hash is over
- deleted, inserted, reordered: rows are missing, foreign, or not in their place
- cut_off: rows at the end are missing
- rebuilt: the chain fits together, but is not the one that was signed
- bad_signature: a checkpoint was not signed by the auditor
- checkpoint_missing: a number is left out, or the database lacks a checkpoint that was kept elsewhere
- projection: a row of the tables beside the chain is not what its message says
"""

Family = Literal["", "header", "verdict", "envelope", "columns", "hash", "row"]
"""What of a row was edited. header: number, time, subject or journal_seq. columns: what is derived from the envelope.
hash: one of the three hashes. row: the whole row, its own hash made to fit."""

MAX_FAULTS = 1_000
"""Faults that a report lists; `faults_found` counts all."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong."""

    kind: FaultKind
    journal_seq: int | None
    """Where: the row's journal sequence; for missing rows that of the next one that is there."""
    sentence: str
    """What is wrong with what, for people."""
    family: Family = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Outcome of a verification."""

    ok: bool
    rows: int
    """Rows that were read."""
    head: str
    """Hash of the last row, hex; the genesis hash if there is none."""
    journal_seq: int
    """Journal sequence of the last row; 0 if there is none."""
    checkpoints_checked: int
    """Checkpoints whose signature holds and whose row is the one that was signed."""
    uncovered: int
    """Rows after the last of them: cutting these off leaves no trace but in the journal."""
    faults_found: int
    faults: tuple[Fault, ...]
    """The first MAX_FAULTS of them, in the order of the journal."""
    notes: tuple[str, ...] = ()
    """What is no fault but worth knowing: findings that auditors recorded when they started."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values for `json.dumps`."""
        return asdict(self)
