"""The compose file as data: its walls, its hardening, its labels, which declare the same shop as the embedded stack."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.subjects import ROLES
from deploy.docker import volumes
from deploy.embedded.postgres import SETTINGS as POSTGRES_SETTINGS
from services.inventory.declared import declare

ROOT = Path(__file__).parents[2]
FILE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
FOREIGN_PROFILES = {"observability", "nui", "local-llm"}
"""Profiles of other people's images, of which we do not know what they write where."""
OURS = {
    name: service
    for name, service in SERVICES.items()
    if not FOREIGN_PROFILES.intersection(service.get("profiles", ()))
}
DEVICES = {name: service for name, service in SERVICES.items() if "triage.kind" in service.get("labels", {})}
ONE_SHOTS = {"setup", "prepare", "tool", "shop-prepare"}
DECLARED = {item.name: item for item in declare(20_000, {"orders_db_password": "o", "catalog_db_password": "c"})}


def mounts(name: str) -> dict[str, tuple[str, bool]]:
    """Return what a service mounts: volume or host path -> where, and whether it is read-only."""
    entries = SERVICES[name].get("volumes", ())
    rows = [entry.split(":") for entry in entries if isinstance(entry, str)]
    binds = [entry for entry in entries if not isinstance(entry, str)]
    return {
        **{row[0]: (row[1], row[2:] == ["ro"]) for row in rows},
        **{entry["source"]: (entry["target"], bool(entry.get("read_only"))) for entry in binds},
    }


def networks(name: str) -> set[str]:
    """Return the networks a service is in."""
    return set(SERVICES[name].get("networks", ()))


def number(text: str) -> float:
    """Return megabytes."""
    assert text.endswith("m"), text
    return float(text[:-1])


@pytest.mark.parametrize("name", OURS)
def test_every_container_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert any(str(entry).partition(":")[0] == "/tmp" for entry in service["tmpfs"])
    assert service["pids_limit"] <= 512


@pytest.mark.parametrize("name", OURS)
def test_no_container_begins_as_root_but_the_one_with_the_socket(name: str) -> None:
    uid = SERVICES[name]["user"].partition(":")[0]
    assert (uid == "0") == (name == "platform")


@pytest.mark.parametrize("name", SERVICES)
def test_logs_are_rotated(name: str) -> None:
    assert SERVICES[name]["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}


@pytest.mark.parametrize("name", sorted(OURS.keys() - ONE_SHOTS))
def test_what_stays_up_has_limits_and_a_health_check(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"] == service["memswap_limit"]
    assert 64 <= number(service["mem_limit"]) <= 1024
    assert 0 < service["cpus"] <= 2
    from_image = str(service["image"]).startswith("agentic-triage/") and "healthcheck" not in service
    assert from_image or "test" in service["healthcheck"] or service["healthcheck"] == {"disable": True}
    assert (service.get("healthcheck") == {"disable": True}) == (service.get("profiles") == ["cli"])


@pytest.mark.parametrize("name", SERVICES)
def test_the_socket_is_seen_by_the_platform_proxy_only(name: str) -> None:
    seen = [source for source in mounts(name) if "docker.sock" in source or source.startswith("/")]
    assert bool(seen) == (name == "platform")


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_published_but_monitoring_and_that_on_this_machine_only(name: str) -> None:
    ports = SERVICES[name].get("ports", ())
    assert all(str(port).startswith("127.0.0.1:") for port in ports)
    assert not ports or "edge" in networks(name)
    if name in OURS:
        assert bool(ports) == (name in {"nats", "prometheus", "dashboard"})


def test_the_networks_of_roles_and_workloads_lead_nowhere_else() -> None:
    assert {name: bool((network or {}).get("internal")) for name, network in FILE["networks"].items()} == {
        "control": True,
        "shop": True,
        "platform": True,
        "model": False,
        "edge": False,
    }


@pytest.mark.parametrize("name", DEVICES)
def test_a_workload_cannot_reach_the_control_plane(name: str) -> None:
    assert networks(name) == {"shop"}


@pytest.mark.parametrize(
    ("network", "members"),
    [
        ("platform", {"platform", "log-agent", "action-agent", "sensors", "injector", "triage", "dashboard"}),
        ("shop", {*DEVICES, "shop-prepare", "platform", "sensors", "injector", "triage", "dashboard", "prometheus"}),
    ],
)
def test_only_who_has_business_there_is_in_a_network(network: str, members: set[str]) -> None:
    assert {name for name in SERVICES if network in networks(name)} == members


@pytest.mark.parametrize("name", [n for n, s in SERVICES.items() if s.get("environment", {}).get("TRIAGE_ROLE")])
def test_a_role_mounts_its_own_secrets_and_no_others(name: str) -> None:
    role = SERVICES[name]["environment"]["TRIAGE_ROLE"]
    own = {volumes.OPERATOR, "role-injector"} if role == "operator" else {volumes.role_volume(role)}
    secret = {source for source in mounts(name) if source in volumes.SECRET_VOLUMES}
    assert role in ROLES
    assert secret == own
    assert all(read_only for source, (_, read_only) in mounts(name).items() if source in own - {volumes.OPERATOR})


@pytest.mark.parametrize("volume", volumes.SECRET_VOLUMES)
def test_a_secret_volume_is_mounted_by_setup_and_by_whom_it_is_for(volume: str) -> None:
    users = {name for name in SERVICES if volume in mounts(name)} - {"setup"}
    expected = {
        volumes.VAULT: set(),
        volumes.OPERATOR: {"injector", "triage", "dashboard"},
        volumes.TOKENS: {"platform"},
        volumes.PREPARE: {"prepare"},
        volumes.NATS: {"nats", "nats-2", "nats-3"},
        volumes.QUEUE: {"shop-mq"},
        volumes.AUDIT_DB: {"audit-db"},
        volumes.SHOP_DB: {"shop-db"},
        volumes.SHOP_PREPARE: {"shop-prepare"},
        volumes.shop_volume("catalog"): {"catalog"},
        volumes.shop_volume("orders"): {"orders"},
        volumes.role_volume("injector"): {"injector", "triage", "dashboard"},
        volumes.role_volume("log"): {"log-agent"},
        volumes.role_volume("metric"): {"metric-agent"},
        volumes.role_volume("action"): {"action-agent"},
        volumes.role_volume("runbook"): {"runbook-agent"},
    }
    assert volume in mounts("setup")
    assert users <= expected.get(volume, {volume.removeprefix("role-")})
    assert users or volume == volumes.VAULT


def test_setup_mounts_every_volume_it_writes_and_has_no_network() -> None:
    ours = (*volumes.SECRET_VOLUMES, *volumes.DATA_VOLUMES)
    assert mounts("setup") == {name: (f"{volumes.ROOT}/{name}", False) for name in ours}
    assert SERVICES["setup"]["network_mode"] == "none"
    assert set(ours) <= FILE["volumes"].keys()


def test_no_secret_stands_in_an_environment() -> None:
    named = {
        f"{name}.{variable}"
        for name, service in SERVICES.items()
        for variable in service.get("environment", {})
        if re.search(r"PASSWORD|SECRET|TOKEN(?!S$)|DSN", variable) and not variable.endswith("_FILE")
    }
    assert named == set()


def test_the_labels_declare_the_same_shop_as_the_embedded_stack() -> None:
    labelled = {
        name: (
            service["labels"]["triage.kind"],
            service["labels"]["triage.probe"],
            service["labels"]["triage.managed"] == "true",
            tuple(filter(None, service["labels"]["triage.depends_on"].split(","))),
            service["labels"].get("triage.cache_prefix"),
        )
        for name, service in DEVICES.items()
    }
    assert labelled == {
        name: (item.kind, item.probe, item.managed, item.depends_on, item.cache_prefix)
        for name, item in DECLARED.items()
    }
    order = sorted(DEVICES, key=lambda name: int(DEVICES[name]["labels"]["triage.order"]))
    assert order == list(DECLARED)


@pytest.mark.parametrize("name", [n for n, item in DECLARED.items() if item.command])
def test_a_shop_service_gets_the_variables_the_embedded_one_gets(name: str) -> None:
    given = {variable.removesuffix("_FILE") for variable in SERVICES[name]["environment"]}
    assert given == set(DECLARED[name].environment)
    assert SERVICES[name]["environment"]["SHOP_PORT"] == SERVICES[name]["labels"]["triage.port"]


@pytest.mark.parametrize("name", ["shop-db", "audit-db"])
def test_the_databases_are_set_as_in_the_embedded_stack(name: str) -> None:
    elsewhere = {"listen_addresses", "unix_socket_directories"}
    assert SERVICES[name]["command"] == [
        "postgres",
        *(f"-c{setting}={value}" for setting, value in POSTGRES_SETTINGS if setting not in elsewhere),
    ]


@pytest.mark.parametrize("name", [*DEVICES, *ONE_SHOTS])
def test_a_workload_that_was_killed_stays_down(name: str) -> None:
    assert SERVICES[name]["restart"] == "no"


@pytest.mark.parametrize("name", sorted(ONE_SHOTS))
def test_each_one_shot_is_waited_for(name: str) -> None:
    waiting = [
        other
        for other, service in OURS.items()
        if service.get("depends_on", {}).get(name, {}).get("condition") == "service_completed_successfully"
    ]
    assert waiting  # else `docker compose up --wait` takes its end for a failure


def test_sensors_begin_after_the_traffic_they_would_judge() -> None:
    assert {"loadgen", "monitor"} <= SERVICES["sensors"]["depends_on"].keys()


def test_our_images_have_a_tag_that_another_clone_can_choose() -> None:
    ours = {
        str(service["image"]) for service in SERVICES.values() if str(service["image"]).startswith("agentic-triage/")
    }
    assert ours == {f"agentic-triage/{name}:${{TRIAGE_TAG:-dev}}" for name in ("role", "shop", "tool")}
    assert SERVICES["platform"]["environment"]["TRIAGE_TOOL_IMAGE"] == SERVICES["tool"]["image"]


def test_two_schedulers_stand_ready() -> None:
    assert SERVICES["scheduler"]["deploy"]["replicas"] == 2


def test_the_dashboard_listens_for_others_only_behind_a_token_and_is_published_on_this_machine_only() -> None:
    service = SERVICES["dashboard"]
    given = service["environment"]
    assert given["TRIAGE_DASHBOARD_HOST"] == "0.0.0.0"  # noqa: S104 - a container's own address
    assert given["TRIAGE_DASHBOARD_TOKEN_FILE"].startswith(mounts("dashboard")[volumes.OPERATOR][0])
    assert service["ports"] == [f"127.0.0.1:${{TRIAGE_DASHBOARD_PORT:-17480}}:{given['TRIAGE_DASHBOARD_PORT']}"]
