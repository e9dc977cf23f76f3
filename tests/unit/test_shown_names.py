"""Files that a host carries into the compose stack and out of it go by the names that their owner gave them."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor_svc import api
from harness import shown
from harness.cli import audit
from harness.cli.context import sentence
from harness.errors import BadScenarioError
from harness.shown import VARIABLE, encoded, shown_in
from tests.support.cli import Cli, cli_of

INSIDE = "/var/lib/triage/home/recordings/0badcafe-audit.jsonl"


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return cli_of(tmp_path, capsys, monkeypatch)


def test_without_a_host_every_name_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert shown_in(f"written to {INSIDE}") == f"written to {INSIDE}"


def test_each_name_from_inside_is_replaced_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, encoded({INSIDE: "my audit.jsonl", "/other": "mine.json"}))
    assert shown_in(f"{INSIDE}: no; {INSIDE}, /other") == "my audit.jsonl: no; my audit.jsonl, mine.json"


@pytest.mark.parametrize("value", ["", "{", "[]", '{"a": 1}', "null"])
def test_what_no_host_has_set_changes_nothing(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(VARIABLE, value)
    assert shown_in("a") == "a"


def test_an_export_is_named_as_the_person_outside_will_find_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    class Site:
        audit_dsn = "postgresql://x"

    async def export(_dsn: str, _path: Path) -> int:
        return 7

    monkeypatch.setattr(audit, "open_site", lambda _home: Site)
    monkeypatch.setattr(api, "export", export)
    monkeypatch.setenv(VARIABLE, encoded({INSIDE: "audit.jsonl"}))
    assert cli("audit", "export", INSIDE).out == (
        "written to audit.jsonl; verify with: triage audit verify --export audit.jsonl\n"
    )


@pytest.mark.parametrize(
    "error", [BadScenarioError(f"{INSIDE} is no scenario"), PermissionError(13, "Permission denied", INSIDE)]
)
def test_an_error_names_it_likewise(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(shown.VARIABLE, encoded({INSIDE: "mine.json"}))
    assert sentence(error).startswith("mine.json")
