"""The dashboard as a program of the stack: what commands say of it, and how it gives way to another one."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

import dashboard.api.__main__ as program
from dashboard.api.__main__ import await_port
from dashboard.built import NOT_BUILT, is_built
from deploy.status import ProgramStatus, StackStatus
from harness.cli import dashboard, demo
from harness.embedded import _page
from tests.support.cli import Cli, cli_of

ADDRESS = "http://127.0.0.1:26080/"


def status_of(tmp_path: Path, *, healthy: bool) -> StackStatus:
    row = ProgramStatus("dashboard", "page", "RUNNING", 1, healthy, "no answer", 0, None, 0)
    return StackStatus(tmp_path, 26_000, None, (row,), ADDRESS)


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return cli_of(tmp_path / "home", capsys, monkeypatch)


class _Up:
    def __init__(self, found: StackStatus) -> None:
        self.found = found

    async def status(self) -> StackStatus:
        return self.found


def put_up(monkeypatch: pytest.MonkeyPatch, found: StackStatus) -> None:
    for module in (dashboard, demo):
        monkeypatch.setattr(module, "deployment", lambda *_: _Up(found))
        monkeypatch.setattr(module, "is_up", lambda *_: True)


def test_the_command_says_where_the_stacks_own_is_and_serves_no_second_one(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_up(monkeypatch, status_of(tmp_path, healthy=True))
    ran = cli("dashboard")
    assert (ran.code, ran.out.strip()) == (0, ADDRESS)
    assert "--port 0" in ran.err


@pytest.mark.parametrize(("healthy", "own"), [(True, ADDRESS), (False, None)])
def test_an_own_one_that_does_not_answer_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, healthy: bool, own: str | None
) -> None:
    put_up(monkeypatch, status_of(tmp_path, healthy=healthy))
    assert dashboard.own_address() == own


def test_a_home_in_which_only_a_broker_runs_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "is_up", lambda *_: True)
    monkeypatch.setattr(dashboard, "home", lambda: tmp_path)
    assert dashboard.own_address() is None


@pytest.mark.parametrize("built", [True, False])
def test_the_line_says_how_to_build_a_page_that_is_not_built(monkeypatch: pytest.MonkeyPatch, built: bool) -> None:
    monkeypatch.setattr(dashboard, "is_built", lambda: built)
    line = dashboard.where_to_look(ADDRESS)
    assert ADDRESS in line
    assert ("make web" in line) is not built


def test_a_page_is_built_when_its_first_file_is_there(tmp_path: Path) -> None:
    assert not is_built(tmp_path)
    (tmp_path / "index.html").touch()
    assert is_built(tmp_path)


@pytest.mark.parametrize(("stays", "words"), [(True, (ADDRESS, "triage down")), (False, ("taken down", "--keep"))])
def test_the_demo_closes_with_the_address_or_with_what_leaves_the_stack_up(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stays: bool,
    words: tuple[str, ...],
) -> None:
    put_up(monkeypatch, status_of(tmp_path, healthy=True))
    monkeypatch.setattr(demo, "is_built", lambda: False)
    demo.where_to_look_after(stays, was_up=False)
    said = " ".join(capsys.readouterr().out.split())
    for word in (*words, NOT_BUILT):
        assert word in said


def test_doctor_does_not_require_it(tmp_path: Path) -> None:
    (sick,) = _page(status_of(tmp_path, healthy=False))
    assert (sick.ok, sick.required) == (False, False)
    assert "dashboard.log" in sick.detail
    assert _page(StackStatus(tmp_path, 26_000, None, ())) == []


def test_the_program_waits_while_somebody_else_has_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "WAIT_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as other:
        waiting = threading.Thread(target=await_port, args=(other.getsockname()[1],), daemon=True)
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join(30.0)
    assert not waiting.is_alive()
