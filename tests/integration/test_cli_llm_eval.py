"""`triage llm eval` against a real HTTP server, on a made-up set: figures, files, going on, refusals."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.evaluation import command
from harness.evaluation.data import Half
from harness.evaluation.library import Case
from tests.support.cli import Cli, cli_of
from tests.support.evaluation import RIGHT, case_of, window_of
from tests.support.model_server import ModelServer, always, completion, serving

pytestmark = pytest.mark.integration
DAY = ("--date", "2026-01-02")


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    window = window_of()

    def few(half: Half) -> tuple[Case, ...]:
        return tuple(case_of(window, name=f"{half}-{number}", text=f"no orders {number}") for number in range(4))

    monkeypatch.setattr(command, "cases", few)
    monkeypatch.chdir(tmp_path)
    return cli_of(tmp_path / "home", capsys, monkeypatch)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with serving(always(200, completion(RIGHT))) as endpoint:
        yield endpoint


def test_rulebook_alone_needs_no_endpoint_and_writes_its_table(cli: Cli, tmp_path: Path) -> None:
    ran = cli("llm", "eval", "--rulebook", "--set", "all", *DAY)
    assert ran.code == 0, ran
    page = (tmp_path / "docs/results/rulebook-all.md").read_text()
    assert "tuning and measured, 8 situations" in page
    assert "| device and class of fault right | **1.00** (0.68..1.00), 8 of 8 |" in page
    assert "2026-01-02" in page
    assert "rulebook's own time" in ran.out


def test_model_is_measured_and_what_was_answered_is_not_asked_again(
    cli: Cli, server: ModelServer, tmp_path: Path
) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"weights")
    options = ("--url", server.url, "--out", "results", "--model-file", str(file), *DAY)
    first = cli("llm", "eval", *options, "--limit", "2", "--json")
    assert first.code == 0, first
    figures = json.loads(first.out)
    assert len(server.chats()) == 2
    assert figures["about"]["model"] == "qwen-0.5b"
    assert figures["about"]["model_sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert figures["about"]["endpoint"] == server.url
    assert figures["columns"]["model alone"]["both"] == pytest.approx(
        {"hits": 2, "total": 2, "rate": 1.0, "low": 0.342, "high": 1.0}, abs=1e-3
    )
    assert figures["together"]["agree"]["hits"] == 2
    assert figures["spans"]["prompt_tokens"]["median"] == 700
    assert cli("llm", "eval", *options).code == 0
    assert len(server.chats()) == 4, "two of the four were known"
    page = (tmp_path / "results/qwen-0.5b-hypothesis-measured.md").read_text()
    assert "both (the pipeline)" in page
    assert len((tmp_path / "results/answers/qwen-0.5b-hypothesis.jsonl").read_text().splitlines()) == 4


def test_endpoint_that_is_not_there_is_a_dependency_that_is_down(cli: Cli, free_url: str) -> None:
    cli("llm", "eval", "--url", free_url).refused(7, "no model to evaluate", "--rulebook")


@pytest.fixture
def free_url() -> str:
    with serving(always(200, b"")) as endpoint:
        return endpoint.url


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--date", "tomorrow"), "tomorrow"),
        (("--set", "secret"), "secret"),
        (("--limit", "0"), "--limit"),
        (("--mode", "guess"), "guess"),
    ],
)
def test_wrong_usage_is_refused(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    ran = cli("llm", "eval", "--rulebook", *arguments)
    assert ran.code == 2
    assert said in ran.err


def test_model_file_that_is_not_there_is_named(cli: Cli, server: ModelServer) -> None:
    cli("llm", "eval", "--url", server.url, "--model-file", "nowhere.gguf").refused(3, "nowhere.gguf cannot be read")


def test_damaged_answers_are_refused_by_line(cli: Cli, server: ModelServer, tmp_path: Path) -> None:
    kept = tmp_path / "docs/results/answers/qwen-0.5b-hypothesis.jsonl"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}\n")
    cli("llm", "eval", "--url", server.url).refused(5, "line 1 of")


def test_few_situations_are_spread_over_the_half(cli: Cli, spread: Callable[[int], list[str]]) -> None:
    assert spread(2) == ["measured-0", "measured-2"]
    assert spread(99) == [f"measured-{number}" for number in range(4)]


@pytest.fixture
def spread() -> Callable[[int], list[str]]:
    return lambda limit: [case.situation.name for case in command.chosen(("measured",), limit)]
