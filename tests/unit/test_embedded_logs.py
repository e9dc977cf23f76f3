"""Reading logs from their end."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.contracts.telemetry import LogLine
from services.platform.embedded.logs import BLOCK, read_lines
from services.platform.lines import parse_line

START = datetime(2026, 1, 1, tzinfo=UTC)


def _us(seconds: float) -> int:
    return int((START + timedelta(seconds=seconds)).timestamp() * 1_000_000)


def _json(seconds: float, msg: str, level: str = "INFO") -> str:
    ts = (START + timedelta(seconds=seconds)).isoformat()
    return json.dumps({"ts": ts, "level": level, "service": "orders", "msg": msg, "meta": {"n": 1}})


def _write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _read(path: Path, since: float = 0.0, until: float | None = None, limit: int = 100) -> list[str]:
    until_us = None if until is None else _us(until)
    return [x.msg for x in read_lines(path, "orders", since_us=_us(since), until_us=until_us, limit=limit)]


def test_lines_of_a_span_come_oldest_first(tmp_path: Path) -> None:
    log = _write(tmp_path / "a.log", *(_json(n, f"line {n}") for n in range(10)))
    assert _read(log, since=3, until=5) == ["line 3", "line 4", "line 5"]


def test_a_limit_keeps_the_newest(tmp_path: Path) -> None:
    log = _write(tmp_path / "a.log", *(_json(n, f"line {n}") for n in range(10)))
    assert _read(log, limit=2) == ["line 8", "line 9"]


def test_lines_across_blocks_are_whole(tmp_path: Path) -> None:
    lines = [_json(n, f"{n} " + "x" * 700) for n in range(400)]
    log = _write(tmp_path / "a.log", *lines)
    assert log.stat().st_size > 3 * BLOCK
    assert [msg.split()[0] for msg in _read(log, limit=1_000)] == [str(n) for n in range(400)]


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = _write(tmp_path / "a.log", *(_json(n / 10, "x" * 1_000) for n in range(2_000)))
    asked: list[str] = []

    def counted(text: str, service: str) -> LogLine | None:
        asked.append(text)
        return parse_line(text, service)

    monkeypatch.setattr("services.platform.embedded.logs.parse_line", counted)
    assert len(_read(log, since=199)) == 10
    assert len(asked) < 50


def test_a_traceback_has_the_time_of_the_line_before_it(tmp_path: Path) -> None:
    log = _write(tmp_path / "a.log", _json(1, "boom", "ERROR"), "Traceback:", "  File x", _json(9, "later"))
    found = read_lines(log, "orders", since_us=_us(0), until_us=_us(5), limit=10)
    assert [line.msg for line in found] == ["boom", "Traceback:", "  File x"]
    assert {line.ts for line in found} == {START + timedelta(seconds=1)}


def test_the_rotated_file_is_read_on(tmp_path: Path) -> None:
    _write(tmp_path / "a.log.1", _json(1, "old"))
    log = _write(tmp_path / "a.log", _json(2, "new"))
    assert _read(log) == ["old", "new"]


def test_a_missing_log_has_no_lines(tmp_path: Path) -> None:
    assert _read(tmp_path / "none.log") == []


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        '{"ts": "2026-01-01T00:00:00+00:00"}',
        '{"ts": "2026-01-01T00:00:00", "msg": "no zone"}',
        '{"ts": 5, "msg": "x"}',
        '{"ts": "2026-01-01T00:00:00+00:00", "msg": "x", "meta": [1]}',
        '{"ts": "2026-01-01T00:00:00+00:00", "msg": "\\ud800"}',
        '{"a":' * 20_000,
    ],
)
def test_broken_json_is_a_line_of_plain_text(tmp_path: Path, text: str) -> None:
    log = _write(tmp_path / "a.log", _json(1, "good"), text)
    assert _read(log)[0] == "good"
    assert _read(log)[1] == text[: 64 * 1024]


def test_bytes_that_are_no_text_and_endless_lines_are_tamed(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(_json(1, "good").encode() + b"\n\xff\xfe\x00\x1b[0m\n" + b"y" * 300_000)
    good, binary, endless = _read(log)
    assert good == "good"
    assert binary == "��[0m"
    assert len(endless) <= 64 * 1024 + BLOCK


@pytest.mark.parametrize(
    ("text", "level", "msg"),
    [
        (
            "2026-01-01 00:00:01.500 UTC [77] FATAL:  password authentication failed",
            "ERROR",
            "password authentication failed",
        ),
        ("2026-01-01 00:00:01.500 UTC [77] LOG:  ready", "INFO", "ready"),
        ("[12] 2026/01/01 00:00:01.500000 [WRN] slow consumer", "WARN", "slow consumer"),
        ("9:M 01 Jan 2026 00:00:01.500 # Out of memory", "WARN", "Out of memory"),
        ("9:M 01 Jan 2026 00:00:01.500 * Ready", "INFO", "Ready"),
    ],
)
def test_lines_of_the_servers_keep_their_time_and_level(text: str, level: str, msg: str) -> None:
    line = parse_line(text, "shop-db")
    assert line is not None
    assert (line.ts, line.level, line.msg) == (START + timedelta(seconds=1.5), level, msg)
