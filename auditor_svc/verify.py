"""Does a chain hold, and if not, what was done to which row. Pure: rows and checkpoints in, a report out.

Theory. Every row is checked against its own content (`row_hash`, `envelope_hash`, the derived columns), against the row
before it (`prev_hash`, rising `journal_seq`) and against the count (`number` has no gaps). A row that fails anything is
a suspect, and from the first break of the count on numbers and hashes are kept. What happened is worked out at the end:

- rows outside the longest run of rising numbers are strays: *reordered* if their number is missing elsewhere, else
  *inserted*; numbers that are nowhere are *deleted* rows (`order.py`);
- a suspect in its right place was *edited* (`diagnosis.py`);
- a chain that fits together and has another hash than a signed checkpoint says was *rebuilt*;
- a checkpoint (or the journal) that reaches beyond the last row shows a *cut_off* tail.

One pass; memory for the suspects and, after a break of the count, numbers and hashes of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from auditor_svc.chain import EMPTY, Columns, Head, Row, signature_holds
from auditor_svc.diagnosis import Diagnosis, Suspect, hash_of, true_number
from auditor_svc.order import Judgement, Order, judge_order
from auditor_svc.projections import columns_of
from auditor_svc.report import MAX_FAULTS, Fault, Report
from broker.contracts.control import Checkpoint


def verify(
    rows: Iterable[Row],
    checkpoints: Iterable[Checkpoint],
    public_key: bytes,
    *,
    journal_checkpoints: Iterable[Checkpoint] = (),
    expected_tail: int | None = None,
) -> Report:
    """Verify a whole chain.

    Args:
        rows: in the order in which they are kept (by journal_seq, or as they stand in an export).
        checkpoints: those kept beside the rows.
        public_key: the auditor's Ed25519 key, 32 bytes.
        journal_checkpoints: those kept elsewhere: in the journal, in the checkpoint file.
        expected_tail: journal sequence that the chain must have reached; the only way to see a cut after the last
            checkpoint.
    """
    verifier = Verifier(checkpoints, public_key, journal_checkpoints=journal_checkpoints)
    verifier.feed(rows)
    return verifier.finish(expected_tail=expected_tail)


class Verifier:
    """A verification that is fed rows piece by piece, for sources that stream.

    Args:
        start: where the rows begin, if not at the chain's beginning.
    """

    def __init__(
        self,
        checkpoints: Iterable[Checkpoint],
        public_key: bytes,
        *,
        journal_checkpoints: Iterable[Checkpoint] = (),
        start: Head = EMPTY,
    ) -> None:
        self._signed = _sort_out(tuple(checkpoints), tuple(journal_checkpoints), public_key)
        self._head = start
        self._count = 0
        self._suspects: list[Suspect] = []
        self._open: Suspect | None = None
        self._order: Order | None = None
        self._unsigned: list[tuple[Checkpoint, Row]] = []
        self._covered = start.rows

    def feed(self, rows: Iterable[Row]) -> None:
        """Check the next rows."""
        (rows_before, seq_before, hash_before), wanted = self._head, self._signed.by_row
        for row in rows:
            # The hot loop: plain names instead of attributes make it twice as fast (measured, docs).
            number, seq, _, _, verdict, envelope, envelope_hash, prev_hash, digest, columns = row
            self._count += 1
            if self._open is not None:
                self._open.next_prev, self._open = prev_hash, None
            body = sha256(envelope).digest()
            fits = columns is None or _fit(columns, envelope, verdict)
            if (
                not fits
                or prev_hash != hash_before
                or body != envelope_hash
                or number != rows_before + 1
                or seq <= seq_before
                or hash_of(row) != digest
            ):
                before = Head(rows_before, seq_before, hash_before)
                number = self._suspect(Suspect(row._replace(envelope=b"", columns=None), before, body, fits))
            if self._order is not None:
                self._order.add(number, row)
            if number in wanted:
                self._compare(number, row)
            rows_before, seq_before, hash_before = number, seq, digest
        self._head = Head(rows_before, seq_before, hash_before)

    def finish(
        self, *, expected_tail: int | None = None, more: Iterable[Fault] = (), notes: Sequence[str] = ()
    ) -> Report:
        """Work out what happened and return the report, `more` faults of the caller's included."""
        order = Judgement(frozenset(), self._head.rows, ()) if self._order is None else judge_order(self._order)
        signed = frozenset(checkpoint.head for held in self._signed.by_row.values() for checkpoint in held)
        faults = [*self._signed.faults, *more, *order.faults]
        faults += Diagnosis.of(self._suspects, order.strays, signed).faults
        faults += self._rebuilt({fault.journal_seq for fault in faults} | order.strays)
        faults += self._cut_off(order.reach, expected_tail)
        if self._suspects and not faults:
            first = self._suspects[0].row.journal_seq
            faults.append(Fault("edited", first, f"the row at journal_seq {first} does not fit the chain", "row"))
        faults.sort(key=lambda fault: fault.journal_seq or 0)
        return Report(
            ok=not faults,
            rows=self._count,
            head=self._head.hash.hex(),
            journal_seq=self._head.journal_seq,
            checkpoints_checked=self._signed.held,
            uncovered=max(0, self._head.rows - self._covered),
            faults_found=len(faults),
            faults=tuple(faults[:MAX_FAULTS]),
            notes=tuple(notes),
        )

    def _suspect(self, suspect: Suspect) -> int:
        self._suspects.append(suspect)
        self._open = suspect
        number = true_number(suspect)
        if self._order is None and number != suspect.before.rows + 1:
            self._order = Order.broken_after(suspect.before)
        return number

    def _compare(self, number: int, row: Row) -> None:
        for checkpoint in self._signed.by_row[number]:
            if checkpoint.head == row.row_hash.hex() and checkpoint.journal_seq == row.journal_seq:
                self._signed.held += 1
                self._covered = max(self._covered, number)
            else:
                self._unsigned.append((checkpoint, row))

    def _rebuilt(self, accused: set[int | None]) -> list[Fault]:
        """Name the first row that is not the signed one although nothing else is wrong with it."""
        found = [(checkpoint, row) for checkpoint, row in self._unsigned if row.journal_seq not in accused]
        if not found:
            return []
        checkpoint, row = found[0]
        sentence = (
            f"row {row.number} at journal_seq {row.journal_seq} is not the one that checkpoint {checkpoint.n} signs: "
            f"the chain was made again somewhere up to there ({len(found)} checkpoints do not fit)"
        )
        return [Fault("rebuilt", row.journal_seq, sentence)]

    def _cut_off(self, reach: int, expected_tail: int | None) -> list[Fault]:
        if self._signed.last is not None and self._signed.last.rows > reach:
            last = self._signed.last
            sentence = (
                f"rows {reach + 1} to {last.rows} are missing at the end: checkpoint {last.n} signs row {last.rows} at "
                f"journal_seq {last.journal_seq}, the chain ends at {self._head.journal_seq}"
            )
            return [Fault("cut_off", last.journal_seq, sentence)]
        if expected_tail is not None and self._head.journal_seq < expected_tail:
            sentence = (
                f"the chain ends at journal_seq {self._head.journal_seq}, the journal had reached {expected_tail}"
            )
            return [Fault("cut_off", expected_tail, sentence)]
        return []


def _fit(columns: Columns, envelope: bytes, verdict: str) -> bool:
    try:
        return columns == columns_of(envelope, verdict)
    except ValueError:
        return False


@dataclass(slots=True)
class _Signed:
    """Checkpoints whose signature holds, by the row they sign, and what is wrong with the others."""

    by_row: dict[int, list[Checkpoint]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    last: Checkpoint | None = None
    """The one that reaches furthest."""
    held: int = 0


def _sort_out(kept: tuple[Checkpoint, ...], elsewhere: tuple[Checkpoint, ...], public_key: bytes) -> _Signed:
    """Check signatures and numbers; a checkpoint that is kept in two places counts once."""
    signed = _Signed(faults=_missing(kept, elsewhere))
    different = {(c.n, c.rows, c.journal_seq, c.head, c.signature): c for c in (*kept, *elsewhere)}
    for checkpoint in different.values():
        if not signature_holds(checkpoint, public_key):
            sentence = f"checkpoint {checkpoint.n} at journal_seq {checkpoint.journal_seq} is not signed by the auditor"
            signed.faults.append(Fault("bad_signature", checkpoint.journal_seq, sentence))
            continue
        signed.by_row.setdefault(checkpoint.rows, []).append(checkpoint)
        if signed.last is None or checkpoint.rows > signed.last.rows:
            signed.last = checkpoint
    return signed


def _missing(kept: tuple[Checkpoint, ...], elsewhere: tuple[Checkpoint, ...]) -> list[Fault]:
    there = {checkpoint.n for checkpoint in kept}
    known = {checkpoint.n: checkpoint for checkpoint in (*elsewhere, *kept)}
    faults, expected = [], 1
    for n in sorted(known):
        if n > expected:
            which = f"checkpoint {expected} is" if n == expected + 1 else f"checkpoints {expected} to {n - 1} are"
            faults.append(Fault("checkpoint_missing", known[n].journal_seq, f"{which} missing before checkpoint {n}"))
        if n not in there:
            sentence = f"checkpoint {n} was published, but is not kept beside the chain"
            faults.append(Fault("checkpoint_missing", known[n].journal_seq, sentence))
        expected = n + 1
    return faults
