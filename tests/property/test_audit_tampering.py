"""Whatever is done to a chain that ends in a checkpoint is found; whatever was honestly written holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from auditor_svc.chain import ACCEPTED, Row
from auditor_svc.verify import verify
from broker.errors import REFUSALS
from broker.port import Stored
from tests.support.audit import PUBLIC, START_US, chain, journal, rebuilt, rehashed

ROWS, CHECKPOINTS = chain(journal(130))
BARE = [row._replace(columns=None) for row in ROWS]
VERDICTS = st.sampled_from((ACCEPTED, *(refusal.name for refusal in REFUSALS)))
Tamper = Callable[[list[Row]], list[Row]]

fields = st.one_of(
    st.tuples(st.just("number"), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("journal_seq"), st.integers(0, 2**63 - 1)),
    st.tuples(st.just("time_us"), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("subject"), st.text(max_size=40)),
    st.tuples(st.just("verdict"), VERDICTS),
    st.tuples(st.just("envelope"), st.binary(max_size=40)),
    st.tuples(st.sampled_from(("envelope_hash", "prev_hash", "row_hash")), st.binary(min_size=32, max_size=32)),
)
places = st.integers(0, len(BARE) - 1)


@st.composite
def edits(draw: st.DrawFn) -> Tamper:
    index, (name, value), fit = draw(places), draw(fields), draw(st.sampled_from(("not", "row", "tail")))

    def tamper(rows: list[Row]) -> list[Row]:
        index_ = index % len(rows)
        edited = rows[index_]._replace(**{name: value})
        if fit != "not" and name not in ("number", "envelope_hash", "prev_hash", "row_hash"):
            edited = rehashed(edited)
        made = [*rows[:index_], edited, *rows[index_ + 1 :]]
        return rebuilt(made, index_) if fit == "tail" else made

    return tamper


@st.composite
def deletions(draw: st.DrawFn) -> Tamper:
    first, length, fit = draw(places), draw(st.integers(1, 20)), draw(st.booleans())

    def tamper(rows: list[Row]) -> list[Row]:
        made = rows[: first % len(rows)] + rows[first % len(rows) + length :]
        return rebuilt(made, min(first % len(rows), len(made))) if fit else made

    return tamper


@st.composite
def insertions(draw: st.DrawFn) -> Tamper:
    index, number, fit = draw(places), draw(st.integers(1, 200)), draw(st.booleans())

    def tamper(rows: list[Row]) -> list[Row]:
        index_ = index % len(rows)
        before = rows[index_]
        row = rehashed(before, number=number, prev_hash=before.row_hash, journal_seq=before.journal_seq + 1)
        made = [*rows[: index_ + 1], row, *rows[index_ + 1 :]]
        return rebuilt(made, index_ + 1) if fit else made

    return tamper


@st.composite
def moves(draw: st.DrawFn) -> Tamper:
    one, other = draw(places), draw(places)

    def tamper(rows: list[Row]) -> list[Row]:
        made = list(rows)
        made.insert(other % len(rows), made.pop(one % len(rows)))
        return made

    return tamper


tampering = st.one_of(edits(), deletions(), insertions(), moves())


@settings(max_examples=150, deadline=None)
@given(st.lists(tampering, min_size=1, max_size=3))
def test_any_tampering_with_a_covered_chain_is_found(tampers: list[Tamper]) -> None:
    rows = list(BARE)
    for tamper in tampers:
        rows = tamper(rows) if rows else rows
    report = verify(rows, CHECKPOINTS, PUBLIC)
    if rows == BARE:
        assert report.ok
    elif rows[: len(BARE)] != BARE:  # what comes after the last checkpoint nobody vouches for
        assert not report.ok
    if not report.ok:
        assert report.faults_found == len(report.faults) > 0
        assert all(fault.sentence for fault in report.faults)


@settings(max_examples=100, deadline=None)
@given(places, fields)
def test_a_single_edit_is_named_as_such_at_its_row(index: int, change: tuple[str, object]) -> None:
    name, value = change
    row = BARE[index]
    edited = row._replace(**{name: value})  # type: ignore[arg-type]
    report = verify([*BARE[:index], edited, *BARE[index + 1 :]], CHECKPOINTS, PUBLIC)
    if edited == row:
        assert report.ok
    else:
        assert ("edited", edited.journal_seq) in {(fault.kind, fault.journal_seq) for fault in report.faults}


@settings(max_examples=100, deadline=None)
@given(st.sets(places, min_size=1, max_size=len(BARE) - 1).filter(lambda gone: len(BARE) - 1 not in gone))
def test_every_run_of_deleted_rows_is_counted(gone: set[int]) -> None:
    report = verify([row for i, row in enumerate(BARE) if i not in gone], CHECKPOINTS, PUBLIC)
    runs = sum(i - 1 not in gone for i in gone)
    assert [fault.kind for fault in report.faults] == ["deleted"] * runs


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4_000_000), st.binary(max_size=30), VERDICTS), max_size=300)
)
def test_whatever_is_honestly_written_holds(said: list[tuple[int, int, bytes, str]]) -> None:
    seq, time_us, messages, verdicts = 0, START_US, [], {}
    for step, wait, data, verdict in said:
        seq, time_us = seq + step, time_us + wait
        messages.append(Stored(seq, time_us, f"triage.x.{hashlib.sha256(data).hexdigest()[:5]}", data))
        verdicts[seq] = verdict
    rows, checkpoints = chain(messages, verdicts, columns=False)
    report = verify(rows, checkpoints, PUBLIC, expected_tail=seq)
    assert (report.ok, report.uncovered, report.checkpoints_checked) == (True, 0, len(checkpoints))
