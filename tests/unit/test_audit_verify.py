"""Every way to tamper with a chain, found by name and place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from auditor_svc.chain import NUMBER_MAX, Progress, Row, append, checkpoint, signer
from auditor_svc.projections import columns_of
from auditor_svc.report import Report
from auditor_svc.verify import verify
from broker.contracts.control import Checkpoint
from broker.port import Stored
from tests.support.audit import PUBLIC, START_US, chain, journal, rebuilt, rehashed

ROWS, CHECKPOINTS = chain(journal(230))
"""Checkpoints at rows 100, 200 and 230."""
Chain = tuple[list[Row], list[Checkpoint]]


def report(rows: list[Row], checkpoints: list[Checkpoint] | None = None, **more: object) -> Report:
    kept = CHECKPOINTS if checkpoints is None else checkpoints
    return verify(rows, kept, PUBLIC, **more)  # type: ignore[arg-type]


def named(found: Report) -> list[tuple[str, int | None, str]]:
    assert not found.ok
    assert all(fault.sentence for fault in found.faults)
    return [(fault.kind, fault.journal_seq, fault.family) for fault in found.faults]


def with_row(index: int, **changes: object) -> list[Row]:
    rows = list(ROWS)
    rows[index] = rows[index]._replace(**changes)  # type: ignore[arg-type]
    return rows


def test_an_untouched_chain_holds() -> None:
    found = report(ROWS)
    assert found.ok
    assert (found.rows, found.journal_seq, found.checkpoints_checked) == (230, 459, 3)
    assert (found.uncovered, found.faults, found.head) == (0, (), ROWS[-1].row_hash.hex())


def test_an_empty_chain_holds() -> None:
    assert report([], []).ok


def test_a_report_is_plain_values() -> None:
    assert report(with_row(5, verdict="bad_mac")).as_json()["faults"][0]["family"] == "verdict"


@pytest.mark.parametrize(
    ("changes", "family"),
    [
        ({"time_us": START_US}, "header"),
        ({"subject": "triage.telemetry.other"}, "header"),
        ({"verdict": "replayed"}, "verdict"),
        ({"verdict": "nonsense"}, "verdict"),
        ({"envelope": b"other"}, "envelope"),
        ({"row_hash": bytes(32)}, "hash"),
        ({"prev_hash": bytes(32)}, "hash"),
        ({"envelope_hash": bytes(32)}, "hash"),
        ({"number": 17}, "header"),
        ({"number": 10_000}, "header"),
        ({"number": -3}, "header"),
        ({"number": NUMBER_MAX + 1}, "header"),
    ],
)
@pytest.mark.parametrize("index", [0, 50, 99, 229])
def test_an_edited_field_is_found_at_its_row(index: int, changes: dict[str, object], family: str) -> None:
    if index == 0 and "time_us" in changes:
        changes = {"time_us": START_US + 1}
    seq = ROWS[index].journal_seq
    assert named(report(with_row(index, **changes))) == [("edited", seq, family)]


@pytest.mark.parametrize("column", ["sender", "type", "channel", "key_version", "tag", "cause", "nonce", "payload"])
def test_an_edited_column_beside_the_envelope_is_found(column: str) -> None:
    assert ROWS[7].columns is not None
    columns = ROWS[7].columns._replace(**{column: None})
    assert named(report(with_row(7, columns=columns))) == [("edited", 15, "columns")]


def test_an_envelope_that_is_no_frame_any_more_is_found() -> None:
    found = named(report([rehashed(row, envelope=b"\xc1") if row is ROWS[7] else row for row in ROWS]))
    assert found[0][:2] == ("edited", 15)


def test_an_edited_row_whose_own_hash_was_made_to_fit_is_found() -> None:
    rows = list(ROWS)
    rows[40] = rehashed(rows[40], verdict="expired", columns=columns_of(rows[40].envelope, "expired"))
    assert named(report(rows)) == [("edited", 81, "row")]


@pytest.mark.parametrize("name", ["number", "journal_seq"])
def test_a_row_with_a_number_below_zero_which_no_hash_can_be_over_is_found(name: str) -> None:
    rows = list(ROWS)
    rows[40] = rehashed(rows[40], **{name: -1})
    assert rows[40].row_hash == ROWS[40].row_hash
    assert ("edited", rows[40].journal_seq) in {found[:2] for found in named(report(rows))}


def test_an_edited_row_whose_tail_was_made_to_fit_is_found_by_the_next_checkpoint() -> None:
    rows = list(ROWS)
    rows[40] = rows[40]._replace(time_us=1)
    found = report(rebuilt(rows, 40))
    assert named(found) == [("rebuilt", ROWS[99].journal_seq, "")]
    assert found.uncovered == 230


def test_a_chain_rebuilt_and_signed_with_another_key_is_found() -> None:
    rows = rebuilt(ROWS[1:])
    progress = Progress(head=Progress().head._replace(rows=229, journal_seq=459, hash=rows[-1].row_hash))
    forged = checkpoint(progress, signer(bytes(32)))[1]
    assert named(report(rows, [forged])) == [("bad_signature", 459, "")]


@pytest.mark.parametrize(("index", "following"), [(0, 3), (50, 103), (99, 201)])
def test_a_deleted_row_is_found_at_the_row_after_it(index: int, following: int) -> None:
    assert named(report(ROWS[:index] + ROWS[index + 1 :])) == [("deleted", following, "")]


def test_several_deleted_runs_are_each_found() -> None:
    rows = ROWS[:10] + ROWS[15:60] + ROWS[61:]
    found = report(rows)
    assert named(found) == [("deleted", 31, ""), ("deleted", 123, "")]
    assert "rows 11 to 15 are missing" in found.faults[0].sentence


def test_a_deleted_row_with_the_rest_renumbered_is_found() -> None:
    rest = [row._replace(number=row.number - 1) for row in ROWS[51:]]
    kinds = {(kind, seq) for kind, seq, _ in named(report(ROWS[:50] + rest))}
    assert ("deleted", 103) in kinds


def forged(number: int, seq: int, prev: bytes) -> Row:
    """A row that fits itself and the one before it."""
    stored = Stored(seq, START_US, "triage.control.halt", ROWS[0].envelope)
    progress = Progress(head=Progress().head._replace(rows=number - 1, hash=prev))
    return append(progress, stored, "replayed", columns_of(stored.data, "replayed"))[1]


@pytest.mark.parametrize("number", [51, 52, 7, 231, 5_000])
def test_an_inserted_row_is_found_whatever_its_number(number: int) -> None:
    row = forged(number, 102, ROWS[50].row_hash)
    assert named(report([*ROWS[:51], row, *ROWS[51:]])) == [("inserted", 102, "")]


def test_an_inserted_row_with_the_rest_renumbered_is_found() -> None:
    rest = [row._replace(number=row.number + 1) for row in ROWS[51:]]
    found = named(report([*ROWS[:51], forged(52, 102, ROWS[50].row_hash), *rest]))
    assert ("inserted", 103, "") in found


def test_a_row_added_at_the_end_with_a_number_of_before_is_found() -> None:
    assert named(report([*ROWS, forged(5, 461, ROWS[-1].row_hash)])) == [("inserted", 461, "")]


def test_a_row_added_at_the_end_that_fits_is_no_fault_but_uncovered() -> None:
    found = report([*ROWS, forged(231, 461, ROWS[-1].row_hash)])
    assert (found.ok, found.uncovered) == (True, 1)


def swapped(one: int, other: int) -> list[Row]:
    rows = list(ROWS)
    rows[one], rows[other] = rows[other], rows[one]
    return rows


@pytest.mark.parametrize(("one", "other"), [(10, 11), (10, 12), (0, 229), (98, 99), (228, 229)])
def test_swapped_lines_of_an_export_are_found(one: int, other: int) -> None:
    kinds = [kind for kind, _, _ in named(report(swapped(one, other)))]
    assert set(kinds) == {"reordered"}


def test_rows_whose_journal_sequences_were_swapped_are_found() -> None:
    first, second = ROWS[10], ROWS[20]
    rows = list(ROWS)
    rows[10] = second._replace(journal_seq=first.journal_seq)
    rows[20] = first._replace(journal_seq=second.journal_seq)
    found = named(report(rows))
    assert "reordered" in {kind for kind, _, _ in found}
    assert {seq for _, seq, _ in found} <= {first.journal_seq, second.journal_seq}


def test_a_row_moved_far_away_is_found() -> None:
    rows = list(ROWS)
    rows.insert(200, rows.pop(10))
    assert named(report(rows)) == [("reordered", 21, "")]


def test_a_cut_off_tail_is_found_by_the_checkpoint_beyond_it() -> None:
    found = report(ROWS[:180])
    assert named(found) == [("cut_off", 459, "")]
    assert "rows 181 to 230" in found.faults[0].sentence


def test_a_cut_off_tail_with_its_checkpoints_is_found_by_those_kept_elsewhere() -> None:
    assert report(ROWS[:100], CHECKPOINTS[:1]).ok
    found = report(ROWS[:100], CHECKPOINTS[:1], journal_checkpoints=CHECKPOINTS)
    assert {kind for kind, _, _ in named(found)} == {"cut_off", "checkpoint_missing"}


def test_a_tail_cut_off_after_the_last_checkpoint_is_found_by_the_journals_end() -> None:
    rows, checkpoints = chain(journal(230), end=False)
    found = report(rows[:220], checkpoints)
    assert (found.ok, found.uncovered) == (True, 20)
    assert named(report(rows[:220], checkpoints, expected_tail=459)) == [("cut_off", 459, "")]
    assert report(rows, checkpoints, expected_tail=459).ok


def test_an_emptied_chain_is_found() -> None:
    assert named(report([])) == [("cut_off", 459, "")]


def test_a_missing_checkpoint_is_found() -> None:
    found = report(ROWS, [CHECKPOINTS[0], CHECKPOINTS[2]])
    assert named(found) == [("checkpoint_missing", 459, "")]
    assert named(report(ROWS, CHECKPOINTS[:2], journal_checkpoints=CHECKPOINTS))[0][0] == "checkpoint_missing"


def test_an_edited_checkpoint_is_found_by_its_signature() -> None:
    edited = CHECKPOINTS[1].model_copy(update={"head": ROWS[0].row_hash.hex()})
    assert named(report(ROWS, [CHECKPOINTS[0], edited, CHECKPOINTS[2]])) == [("bad_signature", 399, "")]


def test_the_same_checkpoint_kept_twice_counts_once() -> None:
    assert report(ROWS, journal_checkpoints=CHECKPOINTS).checkpoints_checked == 3


def test_two_faults_far_apart_are_both_found() -> None:
    rows = with_row(20, envelope=b"x")
    del rows[150]
    assert named(report(rows)) == [("edited", 41, "envelope"), ("deleted", 303, "")]


@pytest.mark.parametrize("make", [lambda row: row._replace(row_hash=bytes(32)), lambda row: rehashed(row, time_us=1)])
def test_the_last_row_is_not_safe_from_being_noticed(make: Callable[[Row], Row]) -> None:
    assert not report([*ROWS[:-1], make(ROWS[-1])]).ok


def test_a_thousand_faults_are_listed_and_all_are_counted() -> None:
    rows, checkpoints = chain(journal(1_200))
    found = report([row._replace(time_us=1) for row in rows], checkpoints)
    assert (found.faults_found, len(found.faults)) == (1_200, 1_000)
