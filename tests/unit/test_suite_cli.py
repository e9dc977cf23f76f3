"""`triage suite` as a user meets it before anything is started: what it refuses, compares, and hands on."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import pytest

from harness.compose.delegate import EXCHANGE, is_delegated, translate
from harness.suite.report import report
from harness.suite.store import REPORT_JSON
from tests.support.cli import Cli, cli_of
from tests.support.suites import about, failed, run


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The CLI in an empty folder, with a home in which no stack is up."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIAGE_PLATFORM", "embedded")
    return cli_of(tmp_path / "home", capsys, monkeypatch)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--gate", "SRR=1"), 2, "did you mean SR?"),
        (("--gate", "SR"), 2, "NAME=NUMBER"),
        (("--set", "nihgtly"), 3, "did you mean nightly?"),
        (("--set", ","), 2, "no scenarios"),
        (("--planner", "gpt"), 2, "URL of a model's endpoint"),
        (("--planner", "rulebook,rulebook"), 2, "given twice"),
    ],
)
def test_a_wrong_wish_is_refused_before_anything_is_started(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    cli("suite", *arguments).refused(code, words)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_answer_is_not_replaced_by_the_rulebook(cli: Cli, tmp_path: Path) -> None:
    cli("suite", "--planner", "http://127.0.0.1:9/v1", "--set", "no_fault").refused(7, "no model answers at")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "arguments", [("--seeds", "0"), ("--seeds", "x"), ("--sets", "nightly"), ("comapre", "a", "b")]
)
def test_wrong_usage_is_usage(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert cli("suite", *arguments).code == 2


def kept(folder: Path, *names: str) -> Path:
    folder.mkdir()
    runs = tuple((failed if name == "failed" else run)(seed=seed) for seed, name in enumerate(names, 1))
    (folder / REPORT_JSON).write_text(report(about(), runs).model_dump_json())
    return folder


def test_two_reports_are_compared_for_people_and_for_programs(cli: Cli, tmp_path: Path) -> None:
    first, second = kept(tmp_path / "a", "good", "failed"), kept(tmp_path / "b", "good", "good")
    page = tmp_path / "new" / "compared.html"
    shown = cli("suite", "compare", str(first), str(second), "--html", str(page))
    assert shown.code == 0
    assert "mended: db_conn_drift seed 2, rulebook" in shown.out
    assert page.read_text().startswith("<!DOCTYPE html>")
    told = json.loads(cli("suite", "compare", str(first), str(second), "--json").out)
    assert [one["change"] for one in told["changed"]] == ["mended"]


def test_what_is_no_report_cannot_be_compared(cli: Cli, tmp_path: Path) -> None:
    first = kept(tmp_path / "a", "good")
    cli("suite", "compare", str(first), str(tmp_path / "b")).refused(3, "cannot be read")
    (tmp_path / "c.json").write_text("{}")
    cli("suite", "compare", str(first), str(tmp_path / "c.json")).refused(5, "no report of a suite")


def test_on_containers_a_suite_runs_inside_and_its_report_is_fetched() -> None:
    words = ("suite", "--set", "nightly", "--out", "results/nightly", "--gate", "SR=1")
    assert is_delegated(words)
    call = translate(words, "u")
    inside = EXCHANGE / "suite-nightly"
    assert call.arguments == ("suite", "--set", "nightly", "--gate", "SR=1", "--out", str(inside))
    assert (inside / "report.html", Path("results/nightly/report.html")) in call.fetched
    assert translate(("suite", "--out=x/y"), "u").fetched[0] == (
        PurePosixPath(EXCHANGE / "suite-y" / "report.json"),
        Path("x/y/report.json"),
    )


def test_reports_are_compared_where_they_are() -> None:
    assert not is_delegated(("suite", "compare", "a", "b"))
