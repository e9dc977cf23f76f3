"""Exports: written, read, and judged alike by two verifiers that share no code."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from auditor_svc import standalone_verify
from auditor_svc.api import verify_export
from auditor_svc.chain import Row
from auditor_svc.errors import ExportError
from auditor_svc.export import write_export
from broker.contracts.control import Checkpoint
from tests.support.audit import PUBLIC, chain, journal, rebuilt, rehashed

ROWS, CHECKPOINTS = chain(journal(230), {7: "bad_mac"})
Rows = list[Row]


class Source:
    """A chain that is read as a store gives it."""

    def __init__(self, rows: Rows, checkpoints: list[Checkpoint]) -> None:
        self._rows, self._checkpoints = rows, checkpoints

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        yield

    async def stream(self) -> AsyncIterator[Rows]:
        for start in range(0, len(self._rows), 100):
            yield self._rows[start : start + 100]

    async def checkpoints(self) -> tuple[Checkpoint, ...]:
        return tuple(self._checkpoints)


def written(path: Path, rows: Rows, checkpoints: list[Checkpoint] | None = None) -> Path:
    source = Source(rows, CHECKPOINTS if checkpoints is None else checkpoints)
    assert asyncio.run(write_export(source, path)) == len(rows)
    return path


def replaced(index: int, change: Callable[[Row], Row]) -> Rows:
    return [*ROWS[:index], change(ROWS[index]), *ROWS[index + 1 :]]


TAMPERINGS: dict[str, tuple[Rows, list[Checkpoint], str]] = {
    "edited header": (replaced(30, lambda r: r._replace(time_us=1)), CHECKPOINTS, "edited"),
    "edited verdict": (replaced(3, lambda r: r._replace(verdict="accepted")), CHECKPOINTS, "edited"),
    "edited envelope": (replaced(30, lambda r: r._replace(envelope=b"x")), CHECKPOINTS, "edited"),
    "edited and made to fit": (replaced(30, lambda r: rehashed(r, time_us=1)), CHECKPOINTS, "edited"),
    "edited link": (replaced(30, lambda r: r._replace(prev_hash=bytes(32))), CHECKPOINTS, "edited"),
    "deleted": ([*ROWS[:30], *ROWS[31:]], CHECKPOINTS, "deleted"),
    "inserted": ([*ROWS[:30], ROWS[90], *ROWS[30:]], CHECKPOINTS, "inserted"),
    "swapped": ([*ROWS[:30], ROWS[31], ROWS[30], *ROWS[32:]], CHECKPOINTS, "reordered"),
    "cut off": (ROWS[:180], CHECKPOINTS, "cut_off"),
    "rebuilt": (rebuilt(replaced(30, lambda r: r._replace(time_us=1)), 30), CHECKPOINTS, "rebuilt"),
    "bad signature": (ROWS, [CHECKPOINTS[0].model_copy(update={"rows": 99}), *CHECKPOINTS[1:]], "bad_signature"),
    "missing checkpoint": (ROWS, CHECKPOINTS[1:], "checkpoint_missing"),
}


def test_an_export_holds_for_both_verifiers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "a.jsonl", ROWS)
    report = verify_export(path, PUBLIC)
    assert (report.ok, report.rows, report.checkpoints_checked, report.uncovered) == (True, 230, 3, 0)
    assert standalone_verify.main([str(path), PUBLIC.hex()]) == 0
    assert "230 rows hold, 3 checkpoints" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", TAMPERINGS)
def test_both_verifiers_find_the_same_tampering(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, checkpoints, kind = TAMPERINGS[name]
    path = written(tmp_path / "a.jsonl", rows, checkpoints)
    report = verify_export(path, PUBLIC)
    assert {fault.kind for fault in report.faults} == {kind}
    assert standalone_verify.main([str(path), PUBLIC.hex()]) == 5
    assert capsys.readouterr().out.startswith("BROKEN: ")


@pytest.mark.parametrize("index", range(0, 230, 23))
def test_both_verifiers_point_at_the_same_edited_row(
    index: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "a.jsonl", replaced(index, lambda row: row._replace(subject="triage.x")))
    (fault,) = verify_export(path, PUBLIC).faults
    assert standalone_verify.main([str(path), PUBLIC.hex()]) == 5
    assert f"journal_seq {fault.journal_seq}:" in capsys.readouterr().out


def test_checkpoints_kept_elsewhere_show_a_cut_to_both(tmp_path: Path) -> None:
    path, kept = written(tmp_path / "a.jsonl", ROWS[:100], CHECKPOINTS[:1]), tmp_path / "kept.jsonl"
    kept.write_bytes(b"".join(checkpoint.encode() + b"\n" for checkpoint in CHECKPOINTS))
    assert verify_export(path, PUBLIC).ok
    assert "cut_off" in {f.kind for f in verify_export(path, PUBLIC, journal_checkpoints=CHECKPOINTS).faults}
    assert standalone_verify.main([str(path), PUBLIC.hex()]) == 0
    assert standalone_verify.main([str(path), PUBLIC.hex(), str(kept)]) == 5


def test_another_key_verifies_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", ROWS)
    assert {fault.kind for fault in verify_export(path, bytes(32)).faults} == {"bad_signature"}
    assert standalone_verify.main([str(path), bytes(32).hex()]) == 5


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda lines: lines[:-1], "end line"),
        (lambda lines: lines[:50], "end line"),
        (lambda lines: [*lines[:50], lines[50][:40]], "line 51: not JSON"),
        (lambda lines: lines[1:], "no audit export"),
        (lambda lines: ['{"format":"agentic-triage-audit","version":2}', *lines[1:]], "version 1"),
        (lambda lines: [lines[0], '{"row":[1,2]}', *lines[2:]], "line 2: no row"),
        (lambda lines: [lines[0], "[]", *lines[2:]], "line 2: not an object"),
        (lambda lines: [lines[0], '{"checkpoint":{}}', *lines[1:]], "line 2: no checkpoint"),
        (lambda lines: [*lines, lines[-1].replace("230", "229")], "end line"),
    ],
)
def test_a_damaged_export_is_refused_with_the_line(
    damage: Callable[[list[str]], list[str]], named: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.jsonl", ROWS)
    path.write_text("\n".join(damage(path.read_text().splitlines())) + "\n")
    with pytest.raises(ExportError, match=named):
        verify_export(path, PUBLIC)
    assert standalone_verify.main([str(path), PUBLIC.hex()]) in (2, 5)


def test_a_row_that_is_no_row_is_refused_by_its_field(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", ROWS)
    lines = path.read_text().splitlines()
    row = json.loads(lines[1])
    row["row"][0] = "1"
    path.write_text("\n".join([lines[0], json.dumps(row), *lines[2:]]) + "\n")
    with pytest.raises(ExportError, match="line 2: no row"):
        verify_export(path, PUBLIC)


def test_an_export_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    class Failing(Source):
        async def stream(self) -> AsyncIterator[Rows]:
            yield ROWS[:10]
            raise OSError(28, os.strerror(28))

    with pytest.raises(OSError, match="No space left"):
        asyncio.run(write_export(Failing(ROWS, CHECKPOINTS), tmp_path / "a.jsonl"))
    assert list(tmp_path.iterdir()) == []


def test_the_standalone_verifier_says_what_it_needs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert standalone_verify.main([]) == 2
    assert standalone_verify.main([str(tmp_path / "none"), PUBLIC.hex()]) == 2
    assert standalone_verify.main([str(written(tmp_path / "a", ROWS)), "no hex"]) == 2
    assert "usage" in capsys.readouterr().err
