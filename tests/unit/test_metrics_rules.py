"""Every metric of every process keeps the rules: prefix, base unit, `_total`, no identifier as a label."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy import metrics
from deploy.metrics import Described

ALL = [pytest.param(item, id=item.name) for items in metrics.described().values() for item in items]
ODD_UNITS = re.compile(r"(^|_)(ms|millis|milliseconds|micros|us|minutes|hours|kb|mb|kib|mib|percent|pct)(_|$)")
LABELS = {
    *("reason", "outcome", "kind", "source", "verdict", "origin", "check", "role", "device"),
    *("operation", "status", "dependency", "error_code"),
    *("server", "stream", "consumer"),
    *("client", "verb", "happening"),
    *("fault", "target"),
}
"""Values of all of these come from closed lists, from the inventory, or from our own configuration."""
OWN_NAME = {"triage_build_info": {"version", "name"}}
"""What a process may say of itself."""
TARGET_LABELS = {"service", "job", "instance"}
"""Prometheus gives these; a metric's own would be renamed."""


@pytest.mark.parametrize("metric", ALL)
def test_the_name_says_whose_it_is_and_in_which_unit(metric: Described) -> None:
    assert re.fullmatch(r"(triage|shop|nats|process)_[a-z0-9]+(_[a-z0-9]+)*", metric.name)
    assert not ODD_UNITS.search(metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.kind in {"counter", "gauge", "histogram"}
    if metric.kind == "histogram":
        assert metric.name.endswith(("_seconds", "_bytes"))


@pytest.mark.parametrize("metric", ALL)
def test_its_help_is_a_sentence(metric: Described) -> None:
    assert metric.help.endswith(".")
    assert "|" not in metric.help


@pytest.mark.parametrize("metric", ALL)
def test_its_labels_are_few_and_no_identifiers(metric: Described) -> None:
    assert set(metric.labels) <= LABELS | OWN_NAME.get(metric.name, set())
    assert not set(metric.labels) & TARGET_LABELS
    assert len(metric.labels) <= 3


def test_one_name_means_one_thing() -> None:
    seen: dict[str, tuple[str, tuple[str, ...]]] = {}
    for items in metrics.described().values():
        for item in items:
            assert seen.setdefault(item.name, (item.kind, item.labels)) == (item.kind, item.labels)


def test_every_kind_of_process_has_metrics() -> None:
    assert all(metrics.described().values())


def test_no_metric_of_the_sources_is_left_out() -> None:
    """Whoever adds a metric elsewhere must add it to the table's sources, or these rules would not see it."""
    packages = ("agents", "auditor_svc", "broker", "deploy", "injector", "monitor_svc", "planner_svc")
    files = [
        file
        for package in (*packages, "scheduler_svc", "services", "harness")
        for file in (metrics.PATH.parents[1] / package).rglob("*.py")
    ]
    texts = [file.read_text(encoding="utf-8") for file in files]
    makers = re.compile(r"(?:Counter|Gauge|Histogram|Summary|MetricFamily)\(\s*\"([a-z0-9_]+)\"")
    named = {name for text in texts if "prometheus_client" in text for name in makers.findall(text)}
    assert len(named) > 40
    assert named <= {item.name for items in metrics.described().values() for item in items}


def test_the_table_in_the_documents_is_up_to_date() -> None:
    assert metrics.main(["--check"]) == 0


def test_a_table_out_of_date_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(metrics, "PATH", tmp_path / "metrics.md")
    assert metrics.main(["--check"]) == 1
    assert "run `python -m deploy.metrics`" in capsys.readouterr().err
    assert metrics.main([]) == 0
    assert metrics.main(["--check"]) == 0
