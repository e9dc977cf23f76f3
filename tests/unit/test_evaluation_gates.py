"""Gates of an evaluation, and the night that holds the known models against them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.errors import BadScenarioError, ModelDownError
from harness.evaluation import nightly
from harness.evaluation.gates import NAMES, figures, hold, parse
from harness.evaluation.table import BOTH, MODEL, RULEBOOK, About, Column, Table
from harness.figures import Rate, rate, spread
from harness.llm.known import KnownModel, known_models
from harness.suite import gates as suite_gates

ROOT = Path(__file__).parents[2]
ABOUT = About("2026-11-22", "0000000", "2 cores", "triage llm eval", ("measured",), "hypothesis", model="small")


def share(hits: int) -> Rate:
    return rate([True] * hits + [False] * (10 - hits))


def column(name: str, right: int, dangerous: int) -> Column:
    return Column(name, share(10), share(right), share(right), share(right), share(dangerous), None)


def table(*, asked: bool = True) -> Table:
    columns = [column(RULEBOOK, 9, 0), column(MODEL, 6, 3), column(BOTH, 9, 0)]
    return Table(
        about=ABOUT,
        situations=10,
        columns=tuple(columns if asked else columns[:1]),
        agree=share(7) if asked else None,
        agreed_right=share(8) if asked else None,
        differ_rules_right=None,
        differ_model_right=None,
        fallbacks=share(3) if asked else None,
        rules_ms=spread([1.0, 2.0, 9.0]),
        waited_s=spread([0.0]),
        seconds=spread([2.0, 3.0, 7.0]) if asked else None,
        prompt_tokens=spread([1_200.0, 1_300.0]) if asked else None,
        completion_tokens=None,
    )


def holds(text: str, found: Table) -> bool:
    (held,) = hold(parse([text]), found)
    return held.ok


@pytest.mark.parametrize(
    ("text", "ok"),
    [
        ("TOGETHER_DEVICE=0.9", True),
        ("TOGETHER_DEVICE=0.91", False),
        ("MODEL_FAULT=0.6", True),
        ("MODEL_FAULT=0.61", False),
        ("MODEL_DANGEROUS=0.3", True),
        ("MODEL_DANGEROUS=0.29", False),
        ("TOGETHER_DANGEROUS=0", True),
        ("AGREED_FAULT=0.81", False),
        ("FALLBACKS=0.3", True),
        ("RULEBOOK_MS=2", True),
        ("MODEL_S=2.9", False),
        ("PROMPT_TOKENS=1299", False),
        ("prompt-tokens=1300", True),
    ],
)
def test_of_what_is_right_at_least_the_bound_is_asked_and_of_harm_time_and_tokens_at_most(text: str, ok: bool) -> None:
    assert holds(text, table()) is ok


@pytest.mark.parametrize("text", ["MODEL_DANGEROUS=1", "MODEL_S=1000", "PROMPT_TOKENS=9000", "TOGETHER_VALID=0"])
def test_without_a_model_nothing_of_a_model_holds(text: str) -> None:
    assert not holds(text, table(asked=False))
    assert holds("RULEBOOK_DEVICE=0.9", table(asked=False))


def test_every_name_is_a_figure_and_every_figure_has_its_name() -> None:
    assert [figure.name for figure in figures(table())] == list(NAMES)


def test_a_misspelt_gate_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(BadScenarioError, match="did you mean TOGETHER_FAULT"):
        parse(["TOGETHER_FAULTS=1"])


def test_a_gate_that_does_not_hold_ends_the_command_with_5_after_the_table_was_written(tmp_path: Path) -> None:
    words = ["llm", "eval", "--rulebook", "--limit", "3", "--out", str(tmp_path), "--json"]
    done = CliRunner().invoke(app, [*words, "--gate", "RULEBOOK_VALID=1", "--gate", "RULEBOOK_MS=0"])
    assert (tmp_path / "rulebook-measured.md").exists()
    said = json.loads(done.stdout)["gates"]
    assert [(one["gate"]["name"], one["ok"]) for one in said] == [("RULEBOOK_VALID", True), ("RULEBOOK_MS", False)]
    assert getattr(done.exception, "exit_code", done.exit_code) == 5


def test_both_known_models_are_measured_every_night_with_bounds_that_exist() -> None:
    night = {one.model: one for one in nightly.nights()}
    named = {model.name for model in known_models()}
    assert set(night) <= named
    assert {"qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-1.5b-instruct"} <= set(night)
    for one in night.values():
        bounds = {gate.name: gate.bound for gate in parse([f"{name}={bound}" for name, bound in one.gates.items()])}
        assert bounds["TOGETHER_VALID"] == 1.0
        assert bounds["TOGETHER_DANGEROUS"] == 0.0
        suite_gates.parse([f"{name}={bound}" for name, bound in one.suite.items()])
    assert any(one.suite for one in night.values())


def test_the_night_asks_for_the_commands_a_person_would_give() -> None:
    (night,) = (one for one in nightly.nights() if one.suite)
    asked, played = nightly.commands(night, "http://127.0.0.1:9/v1", Path("m.gguf"), Path("out"))
    assert shlex.join(asked).startswith("llm eval --url http://127.0.0.1:9/v1 --model-file m.gguf --set measured ")
    assert "--planner http://127.0.0.1:9/v1" in shlex.join(played)
    assert "--gate SR=1" in shlex.join(played)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ModelDownError("it cannot be fetched"), ModelDownError.exit_code, "it cannot be fetched"),
        (OSError(28, "No space left on device", "/cache"), 1, "could not be measured: /cache: no space left on device"),
    ],
)
def test_a_model_that_cannot_be_had_fails_the_night_and_the_next_is_measured_all_the_same(
    error: Exception,
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, *rest = [one.model for one in nightly.nights()]
    tried = night_of(monkeypatch, {first: error})
    assert nightly.main(["--out", str(tmp_path)]) == code
    assert tried == [first, *rest]
    assert rest
    assert said in one_line(capsys)


def test_an_old_result_that_cannot_be_removed_is_told_of_and_its_model_alone_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *rest = [one.model for one in nightly.nights()]
    for name in (first, rest[0]):
        (tmp_path / name / "deep").mkdir(parents=True)
    stuck(monkeypatch, tmp_path / first)
    tried = night_of(monkeypatch)
    assert nightly.main(["--out", str(tmp_path)]) == 1
    assert tried == rest
    assert not (tmp_path / rest[0]).exists()
    assert f"{tmp_path / first} could not be removed (permission denied)" in one_line(capsys)


def test_nothing_is_measured_while_the_last_nights_answers_are_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "answers").write_text("a file where a folder should be")
    tried = night_of(monkeypatch)
    assert nightly.main(["--out", str(tmp_path)]) == 1
    assert tried == []
    assert f"{tmp_path / 'answers'} could not be removed" in one_line(capsys)


def night_of(monkeypatch: pytest.MonkeyPatch, trouble: Mapping[str, Exception] = MappingProxyType({})) -> list[str]:
    """Have a night without an engine: models are had but for those with a trouble, served by nobody, and measured well.
    Give the names of those that were asked for."""
    tried: list[str] = []

    def fetched(model: KnownModel, **_: object) -> Path:
        tried.append(model.name)
        if model.name in trouble:
            raise trouble[model.name]
        return Path("m.gguf")

    monkeypatch.setattr(nightly, "require_engine", lambda: None)
    monkeypatch.setattr(nightly, "fetch", fetched)
    monkeypatch.setattr(nightly, "examine", lambda file: file)
    monkeypatch.setattr(nightly, "serving", lambda _file: nullcontext(SimpleNamespace(url="http://127.0.0.1:9/v1")))
    monkeypatch.setattr(nightly, "TRIAGE", Path("true"))
    return tried


def stuck(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let a folder be one that the disk does not give up (a mode does not stop every user)."""
    remove = shutil.rmtree

    def refuse(path: Path, *arguments: Any, **named: Any) -> None:
        if path == folder and not named.get("ignore_errors"):
            raise PermissionError(13, "Permission denied", str(path))
        if path != folder:
            remove(path, *arguments, **named)

    monkeypatch.setattr(shutil, "rmtree", refuse)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was said on standard error, unwrapped."""
    return " ".join(capsys.readouterr().err.split())


def test_the_workflow_runs_the_local_command_and_keeps_its_tables() -> None:
    workflow = (ROOT / ".github" / "workflows" / "nightly.yml").read_text()
    assert "run: make nightly-llm" in workflow
    assert "results/nightly-llm/" in workflow
    assert re.search(r"^nightly-llm: setup-llm", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
