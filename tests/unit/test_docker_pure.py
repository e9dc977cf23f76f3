"""The docker adapter's pure parts: the engine's words into values, labels into devices, differences into drift."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.platform.docker import drift, logs
from services.platform.docker.container import (
    Blueprint,
    Container,
    Endpoint,
    Resources,
    blueprint_of,
    container_of,
    health_command,
    is_of_interest,
    microseconds,
    newest,
    variables,
)
from services.platform.docker.declaration import Declarations, Starts, counted
from services.platform.docker.events import event_of
from services.platform.docker.labels import device_of, read_labels
from services.platform.docker.readings import Process, foreign, processes_of, split_lines, usage_of
from services.platform.docker.roster import wellness
from services.platform.docker.view import state_of

MIB = 2**20


def raw(service: str = "orders", number: int = 1, **changes: Any) -> dict[str, Any]:
    """Return what the engine says of a running container; `changes` are merged in by dotted name."""
    body: dict[str, Any] = {
        "Id": f"{service}{number}".encode().hex().ljust(64, "0"),
        "Name": f"/shop-{service}-{number}",
        "Created": "2026-01-01T00:00:00Z",
        "Image": "sha256:aaaaaaaaaaaaaaaa",
        "RestartCount": 0,
        "Config": {
            "Hostname": f"{service}{number}".encode().hex().ljust(64, "0")[:12],
            "Image": "shop:dev",
            "Entrypoint": ["python", "-m"],
            "Cmd": ["services.shop.orders"],
            "Env": ["A=1", "DB_PASSWORD=hush"],
            "Labels": {
                "com.docker.compose.project": "shop",
                "com.docker.compose.service": service,
                "com.docker.compose.container-number": str(number),
                "com.docker.compose.config-hash": "h1",
                "com.docker.compose.image": "sha256:aaaaaaaaaaaaaaaa",
                "triage.kind": "service",
                "triage.probe": "http",
                "triage.port": "8080",
                "triage.managed": "true",
            },
        },
        "HostConfig": {"Memory": 64 * MIB, "MemorySwap": 64 * MIB, "NanoCpus": 0, "Binds": None, "PidsLimit": None},
        "Mounts": [],
        "State": {"Status": "running", "Pid": 7, "StartedAt": "2026-01-01T00:00:01.5Z", "ExitCode": 0},
        "NetworkSettings": {"Networks": {"shop_shop": {"Aliases": ["orders"], "IPAddress": "10.0.0.2"}}},
    }
    for name, value in changes.items():
        part, _, key = name.partition("__")
        body[part] = {**body[part], key: value} if key else value
    return body


def made(service: str = "orders", number: int = 1, **changes: Any) -> Container:
    return container_of(raw(service, number, **changes))


def labelled(service: str, **labels: str | None) -> Container:
    body = raw(service)
    given = {f"triage.{name}": value for name, value in labels.items()}
    merged = {**body["Config"]["Labels"], **given}
    body["Config"]["Labels"] = {name: value for name, value in merged.items() if value is not None}
    return container_of(body)


# -- the engine's words


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01T00:00:01.5Z", 1_500_000),
        ("1970-01-01T00:00:00.000001999Z", 1),
        ("2026-11-22T15:52:22.489122187Z", 1_795_362_742_489_122),
    ],
)
def test_the_engines_time_is_read_to_the_microsecond(stamp: str, expected: int) -> None:
    assert microseconds(stamp) == expected


def test_variables_may_hold_equals_signs_or_nothing() -> None:
    assert variables(["A=b=c", "EMPTY=", "BARE"]) == {"A": "b=c", "EMPTY": "", "BARE": ""}
    assert variables(None) == {}


@pytest.mark.parametrize(
    ("check", "command"),
    [
        (None, ()),
        ({"Test": ["NONE"]}, ()),
        ({"Test": ["CMD", "healthy", "1"]}, ("healthy", "1")),
        ({"Test": ["CMD-SHELL", "a && b"]}, ("/bin/sh", "-c", "a && b")),
    ],
)
def test_the_health_checks_command_line_is_known(check: Any, command: tuple[str, ...]) -> None:
    assert health_command(check) == command


def test_a_container_that_does_not_run_has_neither_process_nor_start() -> None:
    down = made(State={"Status": "exited", "Pid": 0, "StartedAt": "2026-01-01T00:00:01Z", "ExitCode": 137})
    assert (down.pid, down.started_at_us, down.running) == (None, None, False)


def test_a_blueprint_keeps_volumes_networks_and_limits_and_drops_what_the_engine_chose() -> None:
    mounts = [
        {"Type": "volume", "Name": "anon", "Destination": "/data"},
        {"Type": "volume", "Name": "named", "Destination": "/named"},
        {"Type": "volume", "Name": "filled", "Destination": "/mounted"},
    ]
    host = {"Binds": ["named:/named"], "Mounts": [{"Type": "volume", "Target": "/mounted"}], "Memory": 5}
    blueprint = blueprint_of(raw(Mounts=mounts, HostConfig=host))
    assert blueprint.host["Binds"] == ["named:/named", "anon:/data"]
    assert blueprint.host["Mounts"] == [{"Type": "volume", "Target": "/mounted", "Source": "filled"}]
    assert "Hostname" not in blueprint.config
    assert blueprint.networks == (Endpoint("shop_shop", ("orders",)),)
    body = blueprint.body
    assert body["NetworkingConfig"] == {"EndpointsConfig": {"shop_shop": {"Aliases": ["orders"]}}}
    assert (body["HostConfig"]["Memory"], body["Image"]) == (5, "shop:dev")


def test_a_declared_host_name_is_kept() -> None:
    assert blueprint_of(raw(Config__Hostname="mine")).config["Hostname"] == "mine"


def test_a_changed_blueprint_differs_in_nothing_else() -> None:
    before = blueprint_of(raw())
    after = before.with_environment({"A": "2"}).with_image("x").with_resources(Resources(memory=1))
    assert after.config == {**before.config, "Env": ["A=2"], "Image": "x"}
    assert after.host["Memory"] == 1
    assert after.networks == before.networks
    assert isinstance(before, Blueprint)
    assert before.config["Env"] == ["A=1", "DB_PASSWORD=hush"]


def test_what_compose_replaces_and_what_was_run_once_by_hand_does_not_count() -> None:
    old, new = made(Created="2026-01-01T00:00:00Z"), made(Created="2026-01-02T00:00:00Z", Id="f" * 64)
    assert newest([new, made("catalog"), old]) == (made("catalog"), new)
    assert is_of_interest({"Names": ["/shop-orders-1"], "Labels": {"com.docker.compose.oneoff": "False"}})
    assert not is_of_interest({"Names": ["/shop-orders-run-1"], "Labels": {"com.docker.compose.oneoff": "True"}})
    assert not is_of_interest({"Names": ["/shop-orders-1-replaced"], "Labels": {}})


@pytest.mark.parametrize(
    ("status", "code", "oom", "expected"),
    [
        ("running", 0, False, "running"),
        ("paused", 0, False, "paused"),
        ("created", 0, False, "stopped"),
        ("restarting", 1, False, "starting"),
        ("exited", 0, False, "stopped"),
        ("exited", 143, False, "stopped"),
        ("exited", 137, False, "failed"),
        ("exited", 1, False, "failed"),
        ("exited", 0, True, "failed"),
        ("dead", 0, False, "failed"),
        ("removing", 0, False, "stopped"),
    ],
)
def test_every_state_of_the_engine_has_a_word_of_the_port(status: str, code: int, oom: bool, expected: str) -> None:
    state = {"Status": status, "Pid": 1, "StartedAt": "2026-01-01T00:00:01Z", "ExitCode": code, "OOMKilled": oom}
    assert state_of(made(State=state)) == expected
    assert state_of(None) == "stopped"


# -- labels


def test_labels_make_the_inventory_in_the_order_of_declaration() -> None:
    found = read_labels(
        [
            labelled("web", order="2", depends_on="db, cache"),
            labelled("db", kind="database", probe="postgres", port="5432", order="1"),
            labelled("cache", kind="cache", probe="valkey", cache_prefix="catalog:", managed="false", order="3"),
            labelled("late"),
            labelled("early"),
            labelled("nats", kind=None),
        ]
    )
    assert found.faults == ()
    assert found.inventory.names() == ("db", "web", "cache", "early", "late")
    web, cache = found.inventory.get("web"), found.inventory.get("cache")
    assert web is not None
    assert cache is not None
    assert (web.depends_on, web.host, web.port, web.managed) == (("db", "cache"), "web", 8080, True)
    assert (cache.cache_prefix, cache.managed) == ("catalog:", False)


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        ({"port": "http"}, "triage.port must be a TCP port"),
        ({"port": None}, "triage.port must be a TCP port"),
        ({"kind": "toaster"}, "kind"),
        ({"probe": None}, "probe"),
    ],
)
def test_bad_labels_cost_their_own_container_only(labels: dict[str, str | None], fault: str) -> None:
    found = read_labels([labelled("bad", **labels), labelled("good", depends_on="bad")])
    assert found.inventory.names() == ("good",)
    assert [sentence for sentence in found.faults if fault in sentence and "shop-bad-1" in sentence]
    assert [sentence for sentence in found.faults if "good depends on bad, which no label makes a device" in sentence]


@pytest.mark.parametrize("text", ["²", "9" * 5_000, "first", "-", ""])
def test_a_label_that_is_no_number_puts_its_container_last(text: str) -> None:
    found = read_labels([labelled("a", order=text), labelled("b", order="1")])
    assert found.inventory.names() == ("b", "a")
    body = raw()
    body["Config"]["Labels"]["com.docker.compose.container-number"] = text
    assert container_of(body).number == 1


def test_without_the_label_nothing_is_managed() -> None:
    device = device_of(labelled("web", managed=None))
    assert not isinstance(device, str)
    assert not device.managed


# -- drift


def test_a_container_as_declared_has_no_drift() -> None:
    assert drift.of_container(made(), made()) == []
    elsewhere = made(NetworkSettings={"Networks": {"shop_shop": {"Aliases": ["orders", "more"], "IPAddress": "1"}}})
    assert drift.of_container(made(), elsewhere) == []


def test_every_difference_is_named_and_secrets_are_masked() -> None:
    now = made(
        Image="sha256:bbbbbbbbbbbbbbbb",
        Config__Env=["A=2", "DB_PASSWORD=other"],
        Config__Cmd=["sleep"],
        HostConfig={"Memory": 0, "NanoCpus": 500_000_000, "PidsLimit": 9},
        NetworkSettings={"Networks": {"other": {"Aliases": None}}},
    )
    found = drift.of_container(made(), now)
    assert {(item.what, item.name) for item in found} == {
        ("image", "orders"),
        ("command", "orders"),
        ("environment", "A"),
        ("environment", "DB_PASSWORD"),
        ("limits", "memory"),
        ("limits", "cpu"),
        ("limits", "processes"),
        ("network", "shop_shop"),
        ("network", "other"),
    }
    assert "hush" not in repr(found)
    assert "other" not in [item.actual for item in found if item.name == "DB_PASSWORD"]
    cpu = next(item for item in found if item.name == "cpu")
    assert (cpu.declared, cpu.actual) == ("(unset)", "0.5 cores")
    assert drift.needs_recreation(found)


def test_a_quota_and_as_many_cores_are_the_same_limit() -> None:
    quota = made(HostConfig={"CpuQuota": 50_000, "CpuPeriod": 100_000})
    cores = made(HostConfig={"NanoCpus": 500_000_000})
    assert drift.of_container(quota, cores) == []


def test_what_can_be_put_right_alive_needs_no_other_container() -> None:
    networks = drift.of_container(made(), made(NetworkSettings={"Networks": {}}))
    processes = drift.of_processes([Process(5, 1, "x" * 300)])
    assert not drift.needs_recreation([*networks, *processes])
    assert len(processes[0].actual) == 200


# -- declarations


def test_the_first_container_of_a_key_is_the_declaration_and_the_next_key_another(tmp_path: Path) -> None:
    kept = Declarations(tmp_path)
    kept.adopt([made()])
    kept.adopt([made(Id="f" * 64, Config__Env=["A=2"])])
    assert Declarations(tmp_path).of("orders")["orders", 1].environment == {"A": "1", "DB_PASSWORD": "hush"}
    other = raw(Config__Env=["A=3"])
    other["Config"]["Labels"] = {**other["Config"]["Labels"], "com.docker.compose.config-hash": "h2"}
    kept.adopt([container_of(other)])
    assert kept.of("orders")["orders", 1].environment == {"A": "3"}
    rebuilt = raw(Image="sha256:c", Config__Env=["A=4"])
    rebuilt["Config"]["Labels"] = {**other["Config"]["Labels"], "com.docker.compose.image": "sha256:c"}
    kept.adopt([container_of(rebuilt)])
    assert kept.all()["orders", 1].environment == {"A": "4"}


def test_a_container_that_has_never_run_is_looked_at_again(tmp_path: Path) -> None:
    kept = Declarations(tmp_path)
    state = {"Status": "created", "Pid": 0, "StartedAt": "0001-01-01T00:00:00Z"}
    kept.adopt([made(State=state, NetworkSettings={"Networks": {}})])
    kept.adopt([made()])
    assert [place.network for place in kept.all()["orders", 1].networks] == ["shop_shop"]
    kept.adopt([made(NetworkSettings={"Networks": {}})])
    assert [place.network for place in kept.all()["orders", 1].networks] == ["shop_shop"]


def test_declarations_are_for_their_owner_only_and_survive_damage(tmp_path: Path) -> None:
    kept = Declarations(tmp_path)
    kept.adopt([made()])
    [file] = (tmp_path / "declared").glob("*.json")
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("{")
    assert Declarations(tmp_path).all() == {}
    kept.adopt([made()])
    assert list(kept.all()) == [("orders", 1)]


def test_roles_have_no_declaration_and_services_that_are_no_more_are_forgotten(tmp_path: Path) -> None:
    kept = Declarations(tmp_path)
    kept.adopt([made(), labelled("agent", kind=None), made("gone")])
    assert kept.forget([made(), labelled("agent", kind=None)]) == ()
    assert list(kept.all()) == [("gone", 1), ("orders", 1)]
    anew = made(Created="2026-01-02T00:00:00Z")
    assert kept.forget([anew, made("stranger", Created="2026-01-03T00:00:00Z")]) == ("gone",)
    assert list(kept.all()) == [("orders", 1)]
    assert kept.forget([]) == ("orders",)


def test_a_declaration_that_has_never_run_counts_from_when_it_was_made(tmp_path: Path) -> None:
    kept = Declarations(tmp_path)
    kept.adopt([made("unborn", State={"Status": "created", "Pid": 0, "StartedAt": "0001-01-01T00:00:00Z"})])
    assert kept.forget([made(Created="2025-12-31T23:59:59.5Z")]) == ()
    assert kept.forget([made(Created="2026-01-01T00:00:00.5Z")]) == ("unborn",)


def test_a_service_name_that_begins_like_another_is_another(tmp_path: Path) -> None:
    kept = Declarations(tmp_path)
    kept.adopt([made("shop"), made("shop.db")])
    assert list(kept.of("shop")) == [("shop", 1)]
    assert kept.of("sho*") == kept.of("../declared/shop") == kept.of("/etc/shop") == {}
    assert set(kept.starts()) == {("shop", 1), ("shop.db", 1)}


def test_starts_are_counted_once_each_and_by_the_engines_own_count() -> None:
    first = counted(None, made())
    assert first == Starts(made().id, 1_767_225_601_500_000, 0, 1)
    assert first is not None
    assert counted(first, made()) == first
    later = made(State={"Status": "running", "Pid": 8, "StartedAt": "2026-01-01T00:01:00Z"})
    assert counted(first, later) == replace(first, started_at_us=later.started_at_us or 0, starts=2)
    looped = counted(first, replace(later, restart_count=4))
    assert looped is not None
    assert looped.restarts == 4
    down = made(State={"Status": "exited", "Pid": 0, "StartedAt": "2026-01-01T00:01:00Z"})
    assert counted(first, down) == first
    assert counted(None, down) is None


# -- readings


def test_what_was_brought_in_from_outside_is_foreign_with_all_its_children() -> None:
    found = (
        Process(10, 1, "init"),
        Process(11, 10, "python serve"),
        Process(20, 1, "sh -c while"),
        Process(21, 20, "child"),
        Process(30, 1, "/bin/sh -c curl -f  x"),
        Process(31, 30, "curl -f x"),
    )
    check = ("/bin/sh", "-c", "curl -f x")
    assert [item.pid for item in foreign(found, 10, check)] == [20, 21]
    assert [item.pid for item in foreign(found, 10, ())] == [20, 21, 30, 31]
    assert foreign((), 10, ()) == ()


def test_a_health_check_that_is_a_script_shows_its_interpreter_and_its_path() -> None:
    found = (Process(10, 1, "init"), Process(30, 1, "/bin/bash /usr/local/bin/healthy 8080"), Process(31, 30, "sleep"))
    assert foreign(found, 10, ("healthy", "8080")) == ()
    assert foreign(found, 10, ("/usr/local/bin/healthy", "8080")) == ()
    assert [item.pid for item in foreign(found, 10, ("healthy", "8081"))] == [30, 31]
    assert [item.pid for item in foreign(found, 10, ("sleep",))] == [30, 31]


def test_a_shell_that_became_its_command_is_still_the_health_check() -> None:
    assert foreign((Process(10, 1, "init"), Process(30, 1, "curl -f x")), 10, ("/bin/sh", "-c", "curl -f x")) == ()


def test_processes_that_ended_are_none() -> None:
    top = {"Titles": ["PID", "PPID", "COMMAND"], "Processes": [["5", "1", "sh -c x"], ["6", "1", "[sh] <defunct>"]]}
    assert processes_of(top) == (Process(5, 1, "sh -c x"),)
    assert processes_of({}) == ()


@pytest.mark.parametrize("cache", ["total_inactive_file", "inactive_file"])
def test_usage_is_in_cores_and_without_the_page_cache(cache: str) -> None:
    cpu = {"cpu_usage": {"total_usage": 3_000}, "system_cpu_usage": 20_000, "online_cpus": 2}
    before = {"cpu_usage": {"total_usage": 1_000}, "system_cpu_usage": 10_000}
    memory = {"usage": 100, "stats": {cache: 30}, "limit": 500}
    body = {"cpu_stats": cpu, "precpu_stats": before, "memory_stats": memory, "pids_stats": {"current": 4}}
    usage = usage_of(body)
    assert (usage.cpu_cores, usage.memory_bytes, usage.memory_limit_bytes, usage.processes) == (0.4, 70, 500, 4)
    assert usage_of({}).cpu_cores == 0.0


def test_log_lines_are_taken_apart_at_line_feeds_only() -> None:
    data = "1970-01-01T00:00:01.5Z a b\n1970-01-01T00:00:02Z x\u2028y\x0bz\n\nbroken\n".encode()
    assert split_lines(data) == [(1_500_000, "a b"), (2_000_000, "x\u2028y\x0bz"), (2_000_000, "broken")]


def test_lines_keep_their_own_time_or_have_the_engines() -> None:
    own = json.dumps({"ts": "1970-01-01T00:00:05+00:00", "level": "error", "msg": "no\x1b[1m", "service": "orders"})
    lines = logs.read([(6_000_000, own), (7_250_000, "Traceback"), (8_000_000, "  ")], "orders")
    assert [(line.level, line.msg, line.ts) for line in lines] == [
        ("ERROR", "no[1m", datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)),
        ("INFO", "Traceback", datetime(1970, 1, 1, 0, 0, 7, 250_000, tzinfo=UTC)),
    ]
    assert [line.msg for line in logs.newest(lines, 0, None, 1)] == ["Traceback"]
    assert [line.msg for line in logs.newest(lines, 0, 5_000_000, 9)] == ["no[1m"]
    assert logs.newest(lines, 7_250_001, None, 9) == ()
    assert logs.newest(lines, 0, None, 0) == ()


# -- events, wellness


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("die", "died"),
        ("oom", "oom"),
        ("start", "started"),
        ("health_status: unhealthy", "unhealthy"),
        ("health_status: healthy", "healthy"),
        ("destroy", "removed"),
        ("exec_die", None),
        ("rename", None),
    ],
)
def test_events_of_interest_are_told_of_workloads_only(action: str, expected: str | None) -> None:
    attributes = {"com.docker.compose.service": "orders", "triage.kind": "service", "exitCode": "137"}
    body = {"Action": action, "timeNano": 5_000_000_123, "Actor": {"Attributes": attributes}}
    event = event_of(body)
    assert (event.happening if event else None) == expected
    if event is not None:
        assert (event.name, event.at_us, event.exit_code) == ("orders", 5_000_000, 137 if action == "die" else None)
    attributes["name"] = "shop-orders-1-replaced"
    assert event_of(body) is None
    attributes["name"] = "shop-orders-1"
    del attributes["triage.kind"]
    assert event_of(body) is None


@pytest.mark.parametrize(
    ("state", "restart", "role", "well"),
    [
        ({"Status": "running", "Pid": 1}, "no", None, True),
        ({"Status": "running", "Pid": 1, "Health": {"Status": "healthy"}}, "no", "log", True),
        ({"Status": "running", "Pid": 1, "Health": {"Status": "starting"}}, "no", "log", False),
        ({"Status": "exited", "ExitCode": 0}, "no", None, True),
        ({"Status": "exited", "ExitCode": 1}, "no", None, False),
        ({"Status": "exited", "ExitCode": 0}, "unless-stopped", None, False),
        ({"Status": "exited", "ExitCode": 0}, "no", "log", False),
        ({"Status": "paused", "Pid": 1}, "no", "log", False),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, "no", None, False),
    ],
)
def test_a_container_that_was_to_run_once_and_did_is_well(
    state: dict[str, Any], restart: str, role: str | None, well: bool
) -> None:
    body = raw(State={"StartedAt": "2026-01-01T00:00:01Z", **state}, HostConfig={"RestartPolicy": {"Name": restart}})
    del body["Config"]["Labels"]["triage.kind"]
    body["Config"]["Labels"] |= {"triage.role": role} if role else {}
    assert wellness(container_of(body))[0] is well
