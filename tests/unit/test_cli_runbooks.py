"""`triage runbook`: list, show, search without a stack."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import Cli, cli_of
from tests.support.runbooks import runbook_file


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home" / "runbooks").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return cli_of(home, capsys, monkeypatch)


def test_ours_and_ones_own_are_listed_and_bad_files_are_named(cli: Cli, home: Path) -> None:
    (home / "runbooks" / "own.md").write_bytes(runbook_file("own", title="Mine [bold]and only mine[/bold]"))
    (home / "runbooks" / "bad.md").write_bytes(b"x")
    ran = cli("runbook", "list")
    assert ran.code == 0
    assert "process-down" in ran.out
    assert "[bold]and" in ran.out, "markup of strangers is text"
    assert "bad.md does not begin with a line ---; it is not used" in ran.err
    listed = json.loads(cli("runbook", "list", "--json").out)
    assert len(listed["runbooks"]) == 12
    assert listed["refused"] == [{"name": "bad.md", "reason": "does not begin with a line ---"}]
    own = next(item for item in listed["runbooks"] if item["id"] == "own")
    assert (own["origin"], own["fault_class"], own["actions"]) == (
        *("own.md", "config_drift"),
        ["check_config", "reconcile"],
    )


def test_one_is_shown_whole(cli: Cli) -> None:
    ran = cli("runbook", "show", "disk-full")
    assert ran.code == 0
    assert "actions: check_logs, check_config, check_metrics (risk read); on: database, cache, queue" in ran.out
    assert "## Do not" in ran.out
    assert json.loads(cli("runbook", "show", "disk-full", "--json").out)["body"].count("## ") == 5


def test_an_unknown_one_names_the_nearest(cli: Cli) -> None:
    cli("runbook", "show", "disc-full").refused(3, "there is no runbook 'disc-full'", "did you mean disk-full?")
    cli("runbook", "show", "zzz").refused(3, "`triage runbook list` shows them")


def test_a_search_without_a_stack_is_ranked_in_memory_and_says_so(cli: Cli, home: Path) -> None:
    (home / "runbooks" / "own.md").write_bytes(runbook_file("own", body="## Repair\nthe quagmire \x1b[2J valve\n"))
    ran = cli("runbook", "search", "quagmire", "-k", "1")
    assert ran.code == 0
    assert ran.out.startswith("runbook own (Repair) [0.0164; text 1] the quagmire [2J valve")
    assert (
        "1 passages, ranked by full text in memory; no vectors and no past incidents: no database is named" in ran.err
    )
    found = json.loads(cli("runbook", "search", "Festplatte voll", "--json").out)
    assert found["excerpts"][0]["source"] == "disk-full"
    assert found["ranked_by"] == "full text in memory"


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_nothing_to_search_for_is_refused(cli: Cli, text: str) -> None:
    cli("runbook", "search", text).refused(4, "there is nothing to search for")


def test_a_flood_of_words_is_cut_and_searched(cli: Cli) -> None:
    assert cli("runbook", "search", "gaierror " * 5_000).code == 0
