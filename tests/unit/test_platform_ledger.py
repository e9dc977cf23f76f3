"""The ledger of effects over a long time: what is old goes, what is new stays, whoever writes meanwhile."""

from __future__ import annotations

import os
import threading
import tracemalloc
from pathlib import Path

from services.platform.ledger import Ledger, Row


def row(key: str, at_us: int, detail: str = "") -> Row:
    return Row(key, "web", "restart", "intent", at_us, detail)


def keys(ledger: Ledger) -> list[str]:
    return [key for key, _, _ in ledger.begun()]


def test_rows_older_than_the_journal_are_dropped_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "effects.jsonl")
    rows = [row("old", 99), row("edge", 100), row("new", 500, "ünï\u2028")]
    for item in rows:
        ledger.append(item)
    with (tmp_path / "effects.jsonl").open("ab") as file:
        file.write(b'{"key": "cut')
    assert ledger.drop_before(100) == 1
    assert list(ledger.rows()) == rows[1:]
    assert (tmp_path / "effects.jsonl").stat().st_mode & 0o777 == 0o600
    ledger.append(row("next", 600))
    assert keys(ledger) == ["edge", "new", "next"]


def test_nothing_old_means_nothing_is_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "effects.jsonl")
    assert ledger.drop_before(100) == 0
    assert not (tmp_path / "effects.jsonl").exists()
    ledger.append(row("new", 500))
    before = (tmp_path / "effects.jsonl").stat()
    assert ledger.drop_before(100) == 0
    assert (tmp_path / "effects.jsonl").stat().st_ino == before.st_ino


def test_what_is_appended_while_old_rows_are_dropped_is_not_lost(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "effects.jsonl")
    ledger.append(row("new", 500))

    def write() -> None:
        for number in range(60):
            Ledger(tmp_path / "effects.jsonl").append(row(f"k{number}", 500))

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        ledger.append(row("old", 1))
        ledger.drop_before(100)
    writer.join()
    assert keys(ledger) == ["new", *(f"k{number}" for number in range(60))]


def test_a_long_ledger_is_not_held_in_memory(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "effects.jsonl")
    ledger.append(row("a", 1, "x" * 1_000))
    line = (tmp_path / "effects.jsonl").read_bytes()
    with (tmp_path / "effects.jsonl").open("ab") as file:
        file.write(line * 4_000)
    assert os.path.getsize(tmp_path / "effects.jsonl") > 4_000_000
    tracemalloc.start()
    try:
        assert ledger.past("b").intent is None
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
