"""The checkpoints kept outside the database survive a crash in the middle of a line."""

from __future__ import annotations

from pathlib import Path

from auditor_svc import checkpoint_file
from tests.support.audit import chain, journal

CHECKPOINTS = chain(journal(330))[1]


def test_what_was_added_is_read_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "kept.jsonl"
    checkpoint_file.add(path, CHECKPOINTS[:2])
    checkpoint_file.add(path, ())
    checkpoint_file.add(path, CHECKPOINTS[2:])
    assert checkpoint_file.read(path) == tuple(CHECKPOINTS)


def test_no_file_holds_nothing_and_adding_nothing_makes_none(tmp_path: Path) -> None:
    checkpoint_file.add(tmp_path / "none", ())
    assert checkpoint_file.read(tmp_path / "none") == ()
    assert not (tmp_path / "none").exists()


def test_a_line_cut_by_a_crash_is_passed_over_and_closed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    checkpoint_file.add(path, CHECKPOINTS[:2])
    path.write_bytes(path.read_bytes()[:-20])
    assert checkpoint_file.read(path) == (CHECKPOINTS[0],)
    checkpoint_file.add(path, CHECKPOINTS[1:])
    assert checkpoint_file.read(path) == tuple(CHECKPOINTS)
