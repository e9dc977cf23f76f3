"""docs/telemetry.json is what the contracts say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from broker.contracts.registry import CONTRACTS
from broker.contracts.telemetry import Telemetry
from deploy import schemas


def test_the_document_in_the_repository_is_up_to_date() -> None:
    assert schemas.main(["--check"]) == 0


def test_an_edited_document_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = schemas.PATH.read_text(encoding="utf-8")
    edited = tmp_path / "telemetry.json"
    edited.write_text(document.replace("device_id", "device"), encoding="utf-8")
    monkeypatch.setattr(schemas, "PATH", edited)
    assert schemas.main(["--check"]) == 1
    assert "out of date" in capsys.readouterr().err
    assert schemas.main([]) == 0
    assert schemas.main(["--check"]) == 0


def test_the_fields_of_the_specification_are_all_there() -> None:
    document = json.loads(schemas.PATH.read_text(encoding="utf-8"))
    telemetry = document["telemetry"]
    assert {"device_id", "timestamp", "status", "metrics", "error_code", "log_sample", "note"} <= set(
        telemetry["properties"]
    )
    assert {"device_id", "timestamp", "status", "metrics"} <= set(telemetry["required"])
    assert {"cpu_load", "mem_usage", "latency_ms"} <= set(telemetry["$defs"]["Metrics"]["properties"])
    assert {"ts", "level", "service", "msg", "meta"} == set(document["log_line"]["properties"])
    assert all("section 3" in document[name]["$comment"] for name in ("telemetry", "log_line"))


def test_units_reach_the_document_from_the_contract() -> None:
    metrics = schemas.document()["telemetry"]["$defs"]["Metrics"]["properties"]
    assert metrics["mem_usage"]["description"] == "Resident memory, bytes."
    assert schemas.attribute_docstrings(Telemetry)["error_code"].startswith("Name of the failure")


def test_a_new_message_type_reaches_the_page_which_then_does_not_compile_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(CONTRACTS, "telemetry.new", Telemetry)
    assert '"telemetry.new": "device_id" | "timestamp"' in schemas.page()
    assert schemas.main(["--check"]) == 1
