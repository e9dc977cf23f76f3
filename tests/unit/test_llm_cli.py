"""`triage llm` and `triage doctor --model` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import llm as llm_cli
from harness.compose.delegate import is_delegated
from harness.errors import DamagedModelError
from harness.llm import cache, server
from harness.llm.known import KnownModel
from tests.support.cli import Cli, cli_of
from tests.support.gguf import gguf, write
from tests.support.model_server import always, completion, serving
from tests.support.ports import free_base


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The CLI with a cache of its own, an engine that seems to be installed, and no stack."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(server, "ENGINE", "json")
    for name in ("TRIAGE_MODEL_URL", "TRIAGE_MODEL_NAME"):
        monkeypatch.delenv(name, raising=False)
    return cli_of(tmp_path / "home", capsys, monkeypatch)


def test_known_models_are_listed_and_what_is_cached(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    write(tmp_path / "cache" / "mine.gguf", gguf())
    ran = cli("llm", "models")
    assert ran.code == 0
    assert "qwen2.5-coder-1.5b-instruct" in ran.out
    assert "mine.gguf" in ran.out
    listed = json.loads(cli("llm", "models", "--json").out)
    assert [model["fetched"] for model in listed["known"]] == [False, False, False]
    assert all(len(model["sha256"]) == 64 for model in listed["known"])
    assert [item["known"] for item in listed["cached"]] == [None]


def test_what_cannot_be_served_is_refused_in_one_sentence(cli: Cli, tmp_path: Path) -> None:
    whole = gguf()
    cli("llm", "serve", "no-such-model").refused(3, "no file no-such-model", "smollm2-135m-instruct")
    cli("llm", "serve", "smollm2").refused(3, "triage llm fetch smollm2-135m-instruct")
    cli("llm", "serve", str(tmp_path)).refused(3, "is a folder")
    cli("llm", "serve", str(write(tmp_path / "a.gguf", b"not a model"))).refused(2, "is no GGUF file")
    cli("llm", "serve", str(write(tmp_path / "b.gguf", whole[:-1]))).refused(5, "was cut")
    cli("llm", "serve", str(write(tmp_path / "c.gguf", whole)), "--alias", "\n").refused(2, "--alias")


def test_missing_extra_is_said_before_a_gigabyte_is_read(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ENGINE", "no_such_package_anywhere")
    cli("llm", "serve", str(write(tmp_path / "c.gguf", gguf()))).refused(7, "make setup-llm")


@pytest.mark.integration
def test_taken_port_names_whoever_has_it(cli: Cli, tmp_path: Path) -> None:
    with serving(always(200, b"")) as other:
        port = other.url.rpartition(":")[2].removesuffix("/v1")
        ran = cli("llm", "serve", str(write(tmp_path / "c.gguf", gguf())), "--port", port)
    ran.refused(4, f"port {port} is taken", "--port")


@pytest.mark.parametrize("option", [("--port", "70000"), ("--ctx", "1"), ("--threads", "0")])
def test_options_out_of_their_bounds_are_wrong_usage(cli: Cli, option: tuple[str, str]) -> None:
    assert cli("llm", "serve", "smollm2", *option).code == 2


def test_unknown_name_is_not_fetched(cli: Cli) -> None:
    cli("llm", "fetch", "gpt-5").refused(3, "no model is known as 'gpt-5'")


def test_bytes_that_are_not_the_known_ones_are_a_failed_verification(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(model: KnownModel, **_more: object) -> Path:
        raise DamagedModelError(f"what was fetched as {model.name} has other bytes")

    monkeypatch.setattr(llm_cli, "fetch_model", fetch)
    cli("llm", "fetch", "smollm2").refused(5, "other bytes")


def test_endpoint_is_probed_by_its_address_and_a_dead_one_is_down(cli: Cli) -> None:
    cli("doctor", "--model", f"http://127.0.0.1:{free_base()}/v1").refused(7, "no model to probe", "not reachable")
    cli("doctor", "--model", "localhost:1234").refused(2, "model_url")
    cli("doctor", "--model", "http://u:secret-word@127.0.0.1:99999/v1").refused(2, "model_url is no address")
    assert cli("doctor", "http://127.0.0.1:1/v1").code == 2


@pytest.mark.integration
def test_endpoint_that_does_not_help_fails_the_probe_with_the_reason(cli: Cli) -> None:
    with serving(always(200, completion('{"target":"gateway","fault_class":"disk_full","confidence":1}'))) as endpoint:
        ran = cli("doctor", "--model", endpoint.url)
        as_json = cli("doctor", "--model", endpoint.url, "--json")
    ran.refused(1, "the planner does better without qwen-0.5b")
    assert "planner_mode rulebook" in ran.out
    report = json.loads(as_json.out)
    assert (report["recommended"], report["server"]) == ("rulebook", "unknown")
    assert len(report["answers"]) >= 7


def test_models_of_this_machine_are_no_matter_for_a_compose_stack() -> None:
    assert not is_delegated(("llm", "serve", "smollm2"))
    assert not is_delegated(("llm", "fetch", "smollm2"))
    assert not is_delegated(("llm",))
    assert is_delegated(("llm", "show", "inc1.v1.a1"))
