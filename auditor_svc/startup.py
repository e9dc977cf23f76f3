"""What an auditor does before it goes on with a chain: look at where it ends, and whether it is still the signed one.

Only the part since the last checkpoint is read, so that a start takes the same time however long the chain is; the
whole of it is for `triage audit verify`. A broken chain is not repaired and not abandoned: what is wrong is said,
recorded as a finding and shown in the metrics, and the auditor keeps auditing, because what comes next must be kept
whatever was done to what came before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from auditor_svc.chain import (
    CHECKPOINT_PREFIX,
    EMPTY,
    Head,
    Progress,
    Row,
    advance,
    signature_holds,
)
from auditor_svc.report import Fault
from auditor_svc.store import Store
from auditor_svc.verify import Verifier
from broker.contracts.control import Checkpoint
from broker.port import Broker

US = 1_000_000
NONCE_WINDOW_US = 150 * US
"""How long a usual message (TTL 120 s) can still be repeated, with the skew on both sides and some room."""
LONG_WINDOW_US = 24 * 3_600 * US + NONCE_WINDOW_US
"""The same for the longest TTL that an envelope may have."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a chain stands when an auditor takes it up."""

    progress: Progress
    faults: tuple[Fault, ...]
    checkpoints: tuple[Checkpoint, ...]
    """Signed checkpoints that the checkpoint file lacks, oldest first."""


async def take_up(store: Store, kept: Sequence[Checkpoint], public_key: bytes) -> Standing:
    """Return where the chain in the database stands.

    Args:
        kept: checkpoints of the checkpoint file.
    """
    head = await store.head()
    own = await store.checkpoints()
    signed = [checkpoint for checkpoint in (*own[-1:], *kept[-1:]) if signature_holds(checkpoint, public_key)]
    last = max(signed, key=lambda checkpoint: checkpoint.n, default=None)
    anchor = max(own, key=lambda checkpoint: checkpoint.n, default=None)
    rows = await store.rows_from(anchor.rows if anchor is not None else 1)
    faults = [_unsigned(c) for c in own[-1:] if c not in signed] + _check_tail(rows, anchor, public_key)
    if last is not None and last.rows > head.rows:
        faults.append(_cut_off(last, head))
    if head.rows and (not rows or rows[-1].row_hash != head.hash):
        faults.append(Fault("reordered", head.journal_seq, "the row with the highest number is not the journal's last"))
    behind = [row for row in rows if anchor is None or row.number > anchor.rows]
    number = last.n if last is not None else 0
    progress = reduce(advance, behind, Progress(checkpoints=number))
    progress = Progress(head, progress.checkpoints, progress.uncovered, progress.since_us)
    there = {checkpoint.n for checkpoint in kept}
    return Standing(progress, tuple(faults), tuple(c for c in own if c.n not in there))


async def unpublished(broker: Broker, own: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
    """Return the newest checkpoints that the journal lacks, oldest first: those signed just before a crash."""
    missing: list[Checkpoint] = []
    for checkpoint in reversed(own):
        if await broker.last(checkpoint.subject()) is not None:
            break
        missing.append(checkpoint)
    return tuple(reversed(missing))


async def last_published(broker: Broker, n: int) -> int:
    """Return the highest number from `n` on that stands in the journal without a gap; `n` if none follows."""
    while await broker.last(f"{CHECKPOINT_PREFIX}{n + 1}") is not None:
        n += 1
    return n


def _check_tail(rows: Sequence[Row], anchor: Checkpoint | None, public_key: bytes) -> list[Fault]:
    """Verify the rows from the one that `anchor` signs on, or all rows if there is none."""
    start, tail = EMPTY, rows
    if anchor is not None:
        signed = next((row for row in rows if row.number == anchor.rows), None)
        if signed is None or signed.row_hash.hex() != anchor.head:
            sentence = f"row {anchor.rows} is not the one that checkpoint {anchor.n} signs"
            return [Fault("rebuilt" if signed else "deleted", anchor.journal_seq, sentence)]
        start, tail = Head(signed.number, signed.journal_seq, signed.row_hash), [r for r in rows if r is not signed]
    verifier = Verifier((), public_key, start=start)
    verifier.feed(tail)
    return list(verifier.finish().faults)


def _unsigned(checkpoint: Checkpoint) -> Fault:
    sentence = f"checkpoint {checkpoint.n}, the last one, is not signed by the auditor"
    return Fault("bad_signature", checkpoint.journal_seq, sentence)


def _cut_off(last: Checkpoint, head: Head) -> Fault:
    sentence = f"checkpoint {last.n} signs row {last.rows}, but the chain ends at row {head.rows}"
    return Fault("cut_off", last.journal_seq, sentence)
