"""`triage scenario`: checks files without a stack, lists sets, and refuses to prove anything without one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.compose.delegate import is_delegated, translate
from harness.errors import RefusedError
from harness.scenario import Expectation, Scenario, load
from harness.scenario_checks import require_here
from tests.support.cli import Cli, cli_of

DOCS = Path(__file__).resolve().parents[2] / "docs" / "scenarios.md"


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The CLI on a home in which no stack is up."""
    return cli_of(tmp_path / "home", capsys, monkeypatch)


def from_the_docs(tmp_path: Path) -> Path:
    """Return the file that a reader of docs/scenarios.md saves."""
    [text] = re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)
    path = tmp_path / "mine.json"
    path.write_text(text)
    return path


def test_the_scenario_of_the_docs_can_be_run_as_it_stands(cli: Cli, tmp_path: Path) -> None:
    ran = cli("scenario", "check", str(from_the_docs(tmp_path)))
    assert (ran.code, ran.out) == (0, "mine: 2 faults, can be run on embedded and docker\n")
    assert ran.out.strip() in DOCS.read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('"catalog"', '"order"'), "faults.1: service_killed does not apply to 'order'"),
        (('"when": "claim", "kind"', '"when": "claim", "at_s": 5, "kind"'), "faults.1.at_s: it is to happen at 5 s"),
        (('"verdict"', '"verdikt"'), "did you mean 'verdict'"),
        ((', "max_actions": 2', ""), "expect.max_actions: Field required"),
    ],
)
def test_a_slip_of_the_reader_is_refused_by_file_place_and_reason(
    cli: Cli, tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    path = from_the_docs(tmp_path)
    path.write_text(path.read_text().replace(*change))
    cli("scenario", "check", str(path)).refused(2, "mine.json cannot be run", words)
    cli("run", str(path)).refused(2, "mine.json cannot be run", words)


def test_a_scenario_for_containers_says_so_and_is_refused_elsewhere(cli: Cli) -> None:
    [row] = json.loads(cli("scenario", "check", "dns_broken", "--json").out)
    assert row["platforms"] == ["docker"]
    with pytest.raises(RefusedError, match=r"dns_broken cannot be run on the embedded platform: faults\.0: .* docker"):
        require_here(load("dns_broken"), "embedded")
    require_here(load("dns_broken"), "docker")


def test_what_must_be_given_stands_in_the_docs() -> None:
    text = DOCS.read_text()
    assert set(Scenario.model_json_schema()["required"]) == {"name", "summary", "expect"}
    assert set(Expectation.model_json_schema()["required"]) == {"verdict", "max_actions"}
    assert (
        "Only `name`, `summary` and `expect` must be given, and in `expect` both `verdict` and `max_actions`." in text
    )


def test_one_fault_is_said_as_one(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    mine = json.loads(from_the_docs(tmp_path).read_text())
    path.write_text(json.dumps({**mine, "name": "one", "faults": mine["faults"][:1]}))
    assert cli("scenario", "check", str(path)).out == "one: 1 fault, can be run on embedded and docker\n"


def test_the_nightly_set_is_listed(cli: Cli) -> None:
    named = [row["name"] for row in json.loads(cli("scenario", "list", "--set", "nightly", "--json").out)]
    assert named == ["cache_poison", "db_conn_drift", "network_partition"]
    assert "db_conn_drift" in cli("scenario", "list", "--set", "nightly").out


def test_nothing_is_proven_without_a_stack(cli: Cli) -> None:
    cli("scenario", "validate", "db_conn_drift").refused(7, "triage up")


@pytest.mark.parametrize("arguments", [(), ("db_conn_drift", "--all")])
def test_one_name_or_all_of_them(cli: Cli, arguments: tuple[str, ...]) -> None:
    ran = cli("scenario", "validate", *arguments)
    assert (ran.code, "give either a NAME or --all" in ran.err) == (2, True)


def test_only_a_proof_needs_the_harness_inside_a_compose_stack(tmp_path: Path) -> None:
    mine = from_the_docs(tmp_path)
    assert not is_delegated(("scenario", "check", str(mine)))
    assert is_delegated(("scenario", "validate", "db_conn_drift"))
    call = translate(("scenario", "validate", str(mine)), "u")
    assert [path for path, _ in call.sent] == [mine]
    assert call.arguments[-1] == str(call.sent[0][1])
