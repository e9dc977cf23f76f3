"""The chain's byte layout, when checkpoints are due, and what is signed."""

from __future__ import annotations

import hashlib

from auditor_svc.chain import (
    CHECKPOINT_ROWS,
    GENESIS,
    Progress,
    append,
    checkpoint,
    clean,
    due,
    row_hash,
    signature_holds,
    signed_bytes,
)
from broker.port import Stored
from tests.support.audit import PUBLIC, SECOND, SIGN, START_US, chain, journal


def field(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def message(seq: int, time_us: int = START_US, subject: str = "triage.telemetry.orders") -> Stored:
    return Stored(seq, time_us, subject, b"frame")


def test_a_rows_hash_is_over_exactly_the_documented_bytes() -> None:
    body = hashlib.sha256(b"envelope").digest()
    expected = hashlib.sha256(
        field(b"agentic-triage/audit/row/1")
        + field(GENESIS)
        + field((7).to_bytes(8, "big"))
        + field((42).to_bytes(8, "big"))
        + field(START_US.to_bytes(8, "big"))
        + field("triage.incident.ü.reported".encode())
        + field(body)
        + field(b"bad_mac")
    ).digest()
    assert row_hash(GENESIS, 7, 42, START_US, "triage.incident.ü.reported", body, "bad_mac") == expected


def test_the_layout_has_not_changed_since_it_was_published() -> None:
    rows, _ = chain([Stored(1, START_US, "triage.control.halt", b"frame")], {1: "bad_frame"})
    assert GENESIS.hex() == "b1ab5094397abfcbb860be8b55c888a7a6038160e751ecfe64a4b9e4419c8db1"
    assert rows[0].row_hash.hex() == "ae320e5cc7ce39c40ebd6f48fa7bc03275e35a5ac32b3dcadcffae98da61ed1b"


def test_fields_cannot_borrow_bytes_from_their_neighbours() -> None:
    body = hashlib.sha256(b"").digest()
    one = row_hash(GENESIS, 1, 1, 1, "triage.a", body, "accepted")
    assert one != row_hash(GENESIS, 1, 1, 1, "triage.", body, "aaccepted")


def test_each_row_is_chained_to_the_one_before_and_numbered_without_gaps() -> None:
    rows, _ = chain(journal(5))
    assert [row.number for row in rows] == [1, 2, 3, 4, 5]
    assert [row.journal_seq for row in rows] == [1, 3, 5, 7, 9]
    assert [row.prev_hash for row in rows] == [GENESIS, *(row.row_hash for row in rows[:-1])]


def test_a_checkpoint_is_due_after_a_hundred_rows() -> None:
    progress = Progress()
    for seq in range(1, CHECKPOINT_ROWS + 1):
        assert not due(progress, START_US)
        progress, _ = append(progress, message(seq), "accepted")
    assert due(progress, START_US)


def test_a_checkpoint_is_due_ten_seconds_after_the_first_uncovered_row() -> None:
    progress, _ = append(Progress(), message(1), "accepted")
    progress, _ = append(progress, message(2, START_US + 9 * SECOND), "accepted")
    assert not due(progress, START_US + 10 * SECOND - 1)
    assert due(progress, START_US + 10 * SECOND)


def test_an_idle_system_does_not_sign_checkpoints_of_checkpoints_for_ever() -> None:
    progress, _ = append(Progress(), message(1), "accepted")
    progress, _ = checkpoint(progress, SIGN)
    progress, _ = append(progress, message(2, subject="triage.audit.checkpoint.1"), "accepted")
    assert not due(progress, START_US + 1_000 * SECOND)
    progress, _ = append(progress, message(3, START_US + 1_000 * SECOND), "accepted")
    assert not due(progress, START_US + 1_000 * SECOND)


def test_a_checkpoint_signs_number_rows_sequence_and_head() -> None:
    progress, row = append(Progress(), message(9), "accepted")
    after, signed = checkpoint(progress, SIGN)
    assert signed_bytes(signed) == f"1|1|9|{row.row_hash.hex()}".encode()
    assert signature_holds(signed, PUBLIC)
    assert (after.checkpoints, after.uncovered) == (1, 0)


def test_a_changed_checkpoint_or_another_key_does_not_verify() -> None:
    _, signed = checkpoint(append(Progress(), message(9), "accepted")[0], SIGN)
    assert not signature_holds(signed.model_copy(update={"rows": 2}), PUBLIC)
    assert not signature_holds(signed.model_copy(update={"signature": "no hex"}), PUBLIC)
    assert not signature_holds(signed, bytes(32))


def test_text_that_a_database_cannot_hold_is_replaced_before_it_is_hashed() -> None:
    assert clean("a\x00b") == "a\u2400b"
    assert clean("a\ud800b") == "a?b"
    assert clean("größer") == "größer"
    _, row = append(Progress(), message(1, subject="triage.telemetry.\x00"), "wrong_channel")
    assert row.subject == "triage.telemetry.\u2400"
