"""Dashboards, rules and scrape configuration, without Grafana and Prometheus: every name in them exists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.contracts.inventory import Objective
from deploy import metrics
from deploy.grafana import __main__ as grafana
from tests.support.promql import labels_of, metrics_of

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = [rule for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"] for rule in group["rules"]]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
OF_PROMETHEUS = {"up"}
OF_TARGETS = {"service", "instance", "job"}
UNITS = {
    *("short", "percentunit", "s", "bytes", "Bps", "reqps", "mps", "cores"),
}


def exposed() -> dict[str, set[str]]:
    """Return every series' name with its labels: a histogram has three."""
    found: dict[str, set[str]] = {name: set() for name in OF_PROMETHEUS}
    for items in metrics.described().values():
        for item in items:
            parts = ("_bucket", "_sum", "_count") if item.kind == "histogram" else ("",)
            for part in parts:
                found[item.name + part] = {*item.labels, *(("le",) if part == "_bucket" else ())}
    return found


EXPOSED = exposed()


def dashboard(name: str) -> dict[str, Any]:
    found = json.loads((grafana.FOLDER / name).read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def queries() -> list[Any]:
    return [
        pytest.param(target["expr"], id=f"{name}:{panel['title']}:{target['refId']}")
        for name in grafana.DASHBOARDS
        for panel in dashboard(name)["panels"]
        for target in panel.get("targets", ())
    ]


ALERTS = [pytest.param(rule["expr"], id=rule.get("record", rule.get("alert"))) for rule in RULES]


@pytest.mark.parametrize("expr", [*queries(), *ALERTS])
def test_every_metric_and_label_of_a_query_exists(expr: str) -> None:
    names = metrics_of(expr)
    assert names
    assert names <= set(EXPOSED) | RECORDED, f"nobody exposes {names - set(EXPOSED) - RECORDED}"
    labels: set[str] = set(OF_TARGETS).union(*(EXPOSED.get(name, set()) for name in names))
    if names & RECORDED:
        labels |= {"kind"}
    assert labels_of(expr) <= labels


@pytest.mark.parametrize("expr", [*queries(), *ALERTS])
def test_no_share_is_taken_of_a_counter_that_has_a_series_for_each_outcome(expr: str) -> None:
    """A rate loses what a new series begins with, so failures of a new status would be more than all requests."""
    assert not re.search(r"/[^/]*shop_requests_total", expr)


def test_the_finder_finds_names_and_labels() -> None:
    expr = '1 - sum by (le, kind) (rate(a_total{x="b c(d)", y=~"$z"}[5m])) / on (q) max(b:c:d) > bool time() * 2e3'
    assert metrics_of(expr) == {"a_total", "b:c:d"}
    assert labels_of(expr) == {"le", "kind", "x", "y", "q"}


@pytest.mark.parametrize("name", grafana.DASHBOARDS)
def test_a_dashboards_file_is_the_one_that_is_said(name: str) -> None:
    assert (grafana.FOLDER / name).read_text(encoding="utf-8") == grafana.text_of(grafana.DASHBOARDS[name])


def test_files_out_of_date_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(grafana, "FOLDER", tmp_path)
    assert grafana.main(["--check"]) == 1
    assert "run `python -m deploy.grafana`" in capsys.readouterr().err
    assert (grafana.main([]), grafana.main(["--check"])) == (0, 0)


@pytest.mark.parametrize("name", grafana.DASHBOARDS)
def test_panels_are_numbered_once_named_and_have_units_and_a_text(name: str) -> None:
    panels = dashboard(name)["panels"]
    numbers = [panel["id"] for panel in panels]
    assert len(set(numbers)) == len(numbers)
    for panel in panels:
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert panel["targets"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)
        assert panel["datasource"]["uid"] == "prometheus"


@pytest.mark.parametrize("name", grafana.DASHBOARDS)
def test_panels_do_not_overlap_and_fit_the_grid(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard(name)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells


@pytest.mark.parametrize("name", grafana.DASHBOARDS)
def test_variables_that_are_used_are_declared_and_the_other_way_round(name: str) -> None:
    found = dashboard(name)
    declared = {variable["name"] for variable in found["templating"]["list"]}
    exprs = [target["expr"] for panel in found["panels"] for target in panel.get("targets", ())]
    used = {word for expr in exprs for word in re.findall(r"\$(\w+)", expr)}
    assert used - {"__rate_interval", "__range"} == declared
    for variable in found["templating"]["list"]:
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
        assert label in EXPOSED[metric] | OF_TARGETS


@pytest.mark.parametrize("name", grafana.DASHBOARDS)
def test_states_are_told_by_a_word_and_not_by_colour_alone(name: str) -> None:
    for panel in dashboard(name)["panels"]:
        if panel["type"] == "state-timeline":
            assert panel["fieldConfig"]["defaults"]["mappings"]


def test_dashboards_have_ids_of_their_own() -> None:
    uids = [item.uid for item in grafana.DASHBOARDS.values()]
    assert len(set(uids)) == len(uids) == 3


def test_the_data_source_is_the_one_that_panels_name() -> None:
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert (source["uid"], source["url"]) == ("prometheus", "http://prometheus:9090")
    [provider] = yaml.safe_load((folder / "dashboards" / "triage.yml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


def test_the_rules_know_the_objective_of_the_inventory() -> None:
    objective = Objective()
    by_name = {rule.get("record") or rule["alert"]: rule["expr"] for rule in RULES}
    assert by_name["UsersAreNotServed"].endswith(f"< {objective.success_ratio}")
    assert by_name["UsersWaitLong"].endswith(f"> {objective.latency_ms / 1000:g}")
    assert by_name["users:error_budget_burn:rate1m"].endswith(f"/ {round(1 - objective.success_ratio, 6)}")


def test_every_alert_says_what_and_how_grave() -> None:
    for rule in RULES:
        if "alert" in rule:
            assert rule["annotations"]["summary"].endswith(".")
            assert rule["labels"]["severity"] in {"page", "notice"}


def scrape_jobs() -> dict[str, Any]:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    return {job["job_name"]: job for job in config["scrape_configs"]}


def test_every_service_of_the_stack_that_has_metrics_is_scraped() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    jobs = scrape_jobs()
    names = {name for job in jobs.values() for found in job.get("dns_sd_configs", ()) for name in found["names"]}
    standing = {name: service for name, service in compose.items() if "profiles" not in service}
    roles = {name for name, service in standing.items() if "triage.role" in (service.get("labels") or {})}
    shop = {
        name
        for name, service in compose.items()
        if (service.get("labels") or {}).get("triage.probe") in {"http", "traffic"}
    }
    assert names - {"platform", "nats-exporter", "injector"} == (roles | shop) - {"injector"}
    assert names <= set(compose)


def test_a_target_cannot_say_another_ones_name() -> None:
    """With honor_labels a workload that is broken into could speak as any other."""
    assert not any(job.get("honor_labels") for job in scrape_jobs().values())


def test_prometheus_takes_no_orders() -> None:
    """Workloads share a network with it: it must have no interface that changes anything."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["prometheus"]
    assert not [flag for flag in compose["command"] if flag.startswith("--web.enable")]
