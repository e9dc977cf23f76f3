"""What was done to a row that failed a check, told by which single change makes its hashes fit again. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from struct import error as StructError
from typing import Any

from auditor_svc.chain import ACCEPTED, Head, Row, row_hash
from auditor_svc.report import Family, Fault, FaultKind
from broker.errors import REFUSALS

_VERDICTS = (ACCEPTED, *(refusal.name for refusal in REFUSALS))
_SHIFTS = (*range(1, 9), *range(-1, -9, -1))
"""By how many rows a renumbered tail is recognised as such; beyond that every row of it is named as edited."""
_WHAT: dict[Family, str] = {
    "header": "its number, time, subject or journal_seq was edited",
    "verdict": "its verdict was edited",
    "envelope": "its envelope was edited",
    "hash": "one of its hashes was edited",
}


@dataclass(slots=True)
class Suspect:
    """A row that failed a check, without its envelope."""

    row: Row
    before: Head
    body: bytes
    """What the envelope's hash really is."""
    columns_fit: bool
    next_prev: bytes | None = None
    """The following row's `prev_hash`; None at the end."""

    def hash(self, **instead: Any) -> bytes:
        """Return the row's hash, with some of its fields as given instead; empty if it cannot be hashed."""
        return hash_of(self.row._replace(**instead))


def hash_of(row: Row) -> bytes:
    """Return what a row's hash must be by its own content; empty if the content cannot even be laid out."""
    number, seq, time_us, subject, verdict, _, envelope_hash, prev_hash, _, _ = row
    try:
        return row_hash(prev_hash, number, seq, time_us, subject, envelope_hash, verdict)
    except (StructError, UnicodeEncodeError):
        return b""


def true_number(suspect: Suspect) -> int:
    """Return the number the row was hashed with: its own, or the expected one if only the number was edited."""
    row, expected = suspect.row, suspect.before.rows + 1
    edited = row.number != expected and suspect.hash() != row.row_hash
    return expected if edited and suspect.hash(number=expected) == row.row_hash else row.number


@dataclass(slots=True)
class Diagnosis:
    """Faults of all suspects that stand in their place, in order."""

    strays: frozenset[int]
    signed: frozenset[str]
    """Heads of signed checkpoints, hex: a row that hashes to one of them has only its own hash edited."""
    faults: list[Fault]
    shift: int = 0
    """By how much rows are renumbered at this point."""
    hash_edited: int = 0
    """Number of the last row whose own hash was edited: the row after it is innocent."""

    @classmethod
    def of(cls, suspects: Iterable[Suspect], strays: frozenset[int], signed: frozenset[str]) -> Diagnosis:
        """Judge all suspects, in the order of the chain."""
        diagnosis = cls(strays, signed, [])
        for suspect in suspects:
            if suspect.row.journal_seq not in strays:
                diagnosis._judge(suspect)
        return diagnosis

    def _judge(self, suspect: Suspect) -> None:
        row, before = suspect.row, suspect.before
        where = f"row {row.number} at journal_seq {row.journal_seq}"
        if suspect.hash() != row.row_hash:
            self._judge_hash(suspect)
        elif suspect.body != row.envelope_hash:
            self._edited(row.journal_seq, f"{where}: {_WHAT['envelope']}", "envelope")
        elif not suspect.columns_fit:
            self._edited(row.journal_seq, f"{where}: its columns are not what its envelope says", "columns")
        elif row.prev_hash != before.hash:
            if not self._explained(row, before):
                self._replaced(row, before)
        elif row.journal_seq <= before.journal_seq:
            sentence = f"{where} follows journal_seq {before.journal_seq}"
            self.faults.append(Fault("reordered", row.journal_seq, sentence))

    def _judge_hash(self, suspect: Suspect) -> None:
        row, by = suspect.row, self._renumbered(suspect)
        if not by:
            family = self._family(suspect)
            if family == "hash" and suspect.next_prev == suspect.hash():
                self.hash_edited = row.number
            self._edited(row.journal_seq, f"row {row.number} at journal_seq {row.journal_seq}: {_WHAT[family]}", family)
        elif by != self.shift:
            kind: FaultKind = "inserted" if by > self.shift else "deleted"
            sentence = f"from journal_seq {row.journal_seq} on, numbers look as if rows had been {kind} before it"
            self.faults.append(Fault(kind, row.journal_seq, sentence))
            self.shift = by

    def _renumbered(self, suspect: Suspect) -> int:
        """Return by how much the row was renumbered (rows slipped in before it: positive); 0 if that is not it."""
        row = suspect.row
        if suspect.before.rows + 1 != row.number:
            return 0
        shifts = (by for by in (self.shift, *_SHIFTS) if by and row.number > by)
        return next((by for by in shifts if suspect.hash(number=row.number - by) == row.row_hash), 0)

    def _explained(self, row: Row, before: Head) -> bool:
        """Tell whether a broken link follows from what else was found: a missing, stray or edited neighbour."""
        gap = row.number != before.rows + 1
        return gap or before.journal_seq in self.strays or bool(self.hash_edited and self.hash_edited == before.rows)

    def _replaced(self, row: Row, before: Head) -> None:
        if before.rows == 0:
            self._edited(
                row.journal_seq, f"the first row, at {row.journal_seq}, does not begin at the genesis hash", "hash"
            )
            return
        sentence = (
            f"row {before.rows} at journal_seq {before.journal_seq} was replaced as a whole: its hash fits it, but the "
            f"row after it, at {row.journal_seq}, was chained to another"
        )
        self._edited(before.journal_seq, sentence, "row")

    def _edited(self, journal_seq: int, sentence: str, family: Family) -> None:
        self.faults.append(Fault("edited", journal_seq, sentence, family))

    def _family(self, suspect: Suspect) -> Family:
        row, computed = suspect.row, suspect.hash()
        if row.row_hash in (suspect.hash(prev_hash=suspect.before.hash), suspect.hash(envelope_hash=suspect.body)):
            return "hash"
        if computed and (suspect.next_prev == computed or computed.hex() in self.signed):
            return "hash"
        if any(suspect.hash(verdict=other) == row.row_hash for other in _VERDICTS):
            return "verdict"
        return "envelope" if suspect.body != row.envelope_hash or not suspect.columns_fit else "header"
