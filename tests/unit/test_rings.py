"""How `make test` runs its rings: what fails is told by the exit code, whichever ring it was."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import rings


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rings of one line each: what they say, and how they end, is the test's; they write down that they ran."""
    monkeypatch.setattr(rings, "why_not", lambda: None)
    return tmp_path / "ran"


def end(monkeypatch: pytest.MonkeyPatch, ran: Path, codes: dict[str, int]) -> None:
    def command(_places: Sequence[str], marks: str, _more: Sequence[str]) -> list[str]:
        text = f"open({str(ran)!r}, 'a').write({marks!r} + chr(10)); print('said by', {marks!r}, flush=True)"
        return [sys.executable, "-c", f"{text}; raise SystemExit({codes.get(marks, 0)})"]

    monkeypatch.setattr(rings, "command", command)


def test_all_rings_run_and_what_the_one_beside_said_comes_at_the_end(
    ran: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    end(monkeypatch, ran, {})
    assert rings.main([]) == 0
    first, second, *beside = ran.read_text().splitlines()
    assert (first, second) == (rings.QUICK_MARKS, rings.MODEL_MARKS)
    assert sorted(beside) == sorted([rings.DOCKER_MARKS, rings.EMBEDDED_MARKS])
    sys.stdout.flush()
    assert capfd.readouterr().out.splitlines()[-1] == f"said by {rings.DOCKER_MARKS}"


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ({rings.DOCKER_MARKS: 1}, 1),
        ({rings.EMBEDDED_MARKS: 3}, 3),
        ({rings.DOCKER_MARKS: 1, rings.EMBEDDED_MARKS: 3}, 3),
    ],
)
def test_a_ring_that_fails_fails_the_whole(
    ran: Path, monkeypatch: pytest.MonkeyPatch, codes: dict[str, int], expected: int
) -> None:
    end(monkeypatch, ran, codes)
    assert rings.main([]) == expected
    assert len(ran.read_text().splitlines()) == 4


def test_where_a_quick_ring_fails_no_server_is_started(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end(monkeypatch, ran, {rings.QUICK_MARKS: 2})
    assert rings.main([]) == 2
    assert ran.read_text().splitlines() == [rings.QUICK_MARKS]


def test_where_the_ring_with_a_model_fails_none_follows(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end(monkeypatch, ran, {rings.MODEL_MARKS: 1})
    assert rings.main([]) == 1
    assert ran.read_text().splitlines() == [rings.QUICK_MARKS, rings.MODEL_MARKS]


@pytest.mark.parametrize("code", [0, 1])
def test_without_docker_its_ring_says_so_first(ran: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(rings, "why_not", lambda: "no engine")
    end(monkeypatch, ran, {rings.EMBEDDED_MARKS: code})
    assert rings.main([]) == code
    expected = [rings.QUICK_MARKS, rings.MODEL_MARKS, rings.DOCKER_MARKS, rings.EMBEDDED_MARKS]
    assert ran.read_text().splitlines() == expected
