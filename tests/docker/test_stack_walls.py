"""The walls of the compose stack, from inside the container of whoever was taken over."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from tests.support.compose_stack import ComposeStack

pytestmark = pytest.mark.docker

ATTACK = Path(__file__).parents[1] / "support" / "attack.py"
URL = "nats://nats:4222"
PASSPHRASE = "/run/triage/role/passphrase"
AGENTS = ("log", "metric", "action", "runbook")
ROLE_CONTAINERS = (
    *("scheduler", "planner", "monitor", "sensors", "auditor"),
    *("log-agent", "metric-agent", "action-agent", "runbook-agent"),
)


@pytest.mark.parametrize("kind", AGENTS)
class TestWhoHoldsAnAgentsSecrets:
    def test_is_refused_by_the_broker_or_by_the_gate_whatever_he_says(self, stack: ComposeStack, kind: str) -> None:
        mark = f"x{secrets.token_hex(3)}"
        keys = f"/run/triage/role/{kind}.keys"
        ran = stack.exec(
            f"{kind}-agent",
            "python",
            "-",
            URL,
            kind,
            keys,
            PASSPHRASE,
            mark,
            stdin=ATTACK.read_bytes(),
            timeout_s=180.0,
        )
        assert ran.code == 0, ran
        passed = {
            f"{row['what']} on {row['subject']}"
            for row in json.loads(ran.out)
            if row["outcome"] not in ("refused", "error")
        }
        assert not [line for line in passed if not _is_his_own(line, kind, mark)]
        rows = [row for row in stack.journal() if mark in row["subject"]]
        believed = [row for row in rows if "refused" not in row]
        assert believed == []
        assert {row["refused"] for row in rows} <= {"bad_mac", "wrong_channel", "bad_frame", "wrong_schema"}
        assert len(rows) > 20

    def test_and_the_system_goes_on(self, stack: ComposeStack, kind: str) -> None:
        closed = stack.ok("report", f"after {kind}: all right?", "--wait", "--json", timeout_s=180.0).json["closed"]
        assert closed["verdict"] == "no_fault"


def _is_his_own(line: str, kind: str, mark: str) -> bool:
    own = (f"triage.claim.{kind}.{mark}", f"triage.result.{kind}.{mark}", f"w-{kind}", f"triage.result.{kind}.{mark}c")
    readable = f"CREATE.TRIAGE.{mark}.triage.telemetry.orders"
    return (
        any(part in line for part in own)
        or (kind == "metric" and readable in line)
        or (line.startswith("look up") and f"triage.task.{kind}." in line)
    )


LOOK = """
import json, os, socket, stat, sys
files, sockets = [], []
for folder, _, names in os.walk("/"):
    if folder.startswith(("/proc", "/sys")):
        continue
    for name in names:
        path = os.path.join(folder, name)
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            sockets.append(path)
        if name.endswith((".keys", ".token", ".dsn", ".password")) or name == "secrets.json":
            files.append(path)
written = []
for path in ("/opt/project/x", "/usr/local/bin/x", "/run/triage/role/x", "/run/triage/inventory/x", "/etc/x"):
    try:
        open(path, "w").close()
        written.append(path)
    except OSError:
        pass
def reached(place):
    try:
        socket.create_connection((place.split(":")[0], int(place.split(":")[1])), timeout=2).close()
        return True
    except OSError:
        return False
status = dict(line.strip().split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
print(json.dumps({
    "secrets": sorted(files), "sockets": sockets, "written": written, "status": status,
    "environment": dict(os.environ), "reached": [place for place in sys.argv[1:] if reached(place)],
}))
"""
"""What a container can see, write and reach, told by itself."""
PORTS = {"nats": 4222, "audit-db": 5432, "platform": 7000, "shop-db": 5432, "shop-cache": 6379, "orders": 8080}
OUT = "1.1.1.1:53"


@pytest.fixture(scope="module")
def doors(whole_stack: ComposeStack) -> dict[str, str]:
    """Every door by address, for a name is known in its own networks only: `<service>@<network>` -> host:port."""
    found = {}
    for service, port in PORTS.items():
        container = f"{whole_stack.project}-{service}-1"
        said = whole_stack.engine("inspect", "--format", "{{json .NetworkSettings.Networks}}", container)
        for network, settings in said.json.items():
            found[f"{service}@{network.removeprefix(f'{whole_stack.project}_')}"] = f"{settings['IPAddress']}:{port}"
    assert {"nats@control", "nats@edge", "platform@platform", "platform@shop", "shop-db@shop"} <= found.keys()
    return found


@pytest.fixture(scope="module")
def looks(whole_stack: ComposeStack, doors: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What every role's container, and one of the shop's, says of itself."""
    found = {}
    for service in (*ROLE_CONTAINERS, "orders"):
        ran = whole_stack.exec(service, "python", "-", *doors.values(), OUT, stdin=LOOK.encode())
        assert ran.code == 0, ran
        found[service] = json.loads(ran.out)
    return found


@pytest.mark.parametrize("service", ROLE_CONTAINERS)
class TestInsideARolesContainer:
    def test_there_is_no_other_roles_key_and_no_master(self, looks: dict[str, dict[str, Any]], service: str) -> None:
        folder, role = "/run/triage/role", service.removesuffix("-agent")
        expected = {f"{folder}/{role}.keys"}
        expected |= {f"{folder}/platform.token"} if service in ("log-agent", "action-agent", "sensors") else set()
        expected |= {f"{folder}/audit.dsn"} if service in ("auditor", "runbook-agent") else set()
        expected |= {f"{folder}/runbooks.dsn"} if service == "runbook-agent" else set()
        assert set(looks[service]["secrets"]) == expected

    def test_there_is_no_capability_no_root_and_nothing_to_write_to(
        self, looks: dict[str, dict[str, Any]], service: str
    ) -> None:
        status = looks[service]["status"]
        assert {status[name] for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {"0" * 16}
        assert status["NoNewPrivs"] == "1"
        assert set(status["Uid"].split()) == {"10001"}
        assert looks[service]["written"] == []

    def test_there_is_no_socket_of_the_engine(self, looks: dict[str, dict[str, Any]], service: str) -> None:
        assert looks[service]["sockets"] == []

    def test_no_secret_stands_in_the_environment(self, looks: dict[str, dict[str, Any]], service: str) -> None:
        environment = looks[service]["environment"]
        assert [name for name in environment if "PASSWORD" in name or "SECRET" in name] == []
        assert [name for name, value in environment.items() if "://" in value and "@" in value] == []


@pytest.mark.parametrize(
    ("service", "networks"),
    [
        ("log-agent", {"control", "platform"}),
        ("action-agent", {"control", "platform"}),
        ("metric-agent", {"control"}),
        ("scheduler", {"control"}),
        ("monitor", {"control"}),
        ("auditor", {"control"}),
        ("sensors", {"control", "platform", "shop"}),
        ("orders", {"shop"}),
    ],
)
def test_a_container_reaches_only_the_networks_it_works_on(
    looks: dict[str, dict[str, Any]], doors: dict[str, str], service: str, networks: set[str]
) -> None:
    reached = set(looks[service]["reached"])
    assert OUT not in reached
    assert {door for door, address in doors.items() if address in reached} == {
        door for door in doors if door.partition("@")[2] in networks
    }


WRITE = """
import asyncio, asyncpg
async def main():
    session = await asyncpg.connect(open("/var/lib/triage/home/audit.dsn").readline().strip())
    print(await session.fetchval("SELECT count(*) > 0 FROM envelopes"))
    for table in ("envelopes", "checkpoints", "plans", "results"):
        try:
            await session.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE false")
            print(table, "taken")
        except asyncpg.InsufficientPrivilegeError:
            print(table, "refused")
asyncio.run(main())
"""


def test_a_persons_login_at_the_audit_database_reads_and_adds_nothing_to_the_record(stack: ComposeStack) -> None:
    ran = stack.exec("injector", "python", "-c", WRITE)
    assert ran.code == 0, ran
    said = ran.out.split("\n")
    assert said == ["True", "envelopes refused", "checkpoints refused", "plans refused", "results refused", ""]


ASK = """
import json, sys, urllib.error, urllib.request
token = open("/run/triage/role/platform.token").read().strip()
def asked(verb, body, token):
    call = urllib.request.Request("http://platform:7000/v1/" + verb, json.dumps(body).encode(), method="POST")
    call.add_header("authorization", "Bearer " + token)
    try:
        return urllib.request.urlopen(call, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code
print(json.dumps([asked(verb, body, token if known else "x" * 32) for verb, body, known in json.load(sys.stdin)]))
"""


class TestTheProxy:
    def test_the_log_agents_token_looks_and_does_nothing(self, stack: ComposeStack) -> None:
        key = {"key": "k" * 8}
        calls: list[tuple[str, dict[str, Any], bool]] = [
            ("restart", {"name": "orders", **key}, True),
            ("stop", {"name": "orders", **key}, True),
            ("reconcile", {"name": "orders", **key}, True),
            ("exec", {"name": "shop-cache", "command": "flush", "args": {}, **key}, True),
            ("fault.kill", {"name": "orders"}, True),
            ("fault.kill_role", {"instance": "scheduler-1", "signal": "KILL"}, True),
            ("containers/create", {}, True),
            ("inspect", {"name": "orders"}, True),
        ]
        ran = stack.exec("log-agent", "python", "-c", ASK, stdin=json.dumps(calls).encode())
        assert ran.code == 0, ran
        answers = json.loads(ran.out)
        assert answers[:6] == [403] * 6
        assert answers[6] in (403, 404)
        assert answers[7] == 200

    def test_a_made_up_token_opens_nothing(self, stack: ComposeStack) -> None:
        ran = stack.exec("log-agent", "python", "-c", ASK, stdin=b'[["inspect", {"name": "orders"}, false]]')
        assert json.loads(ran.out)[0] in (401, 403)

    def test_the_action_agents_token_changes_nothing_that_is_not_managed(self, stack: ComposeStack) -> None:
        calls = [
            ["restart", {"name": name, "key": "k" * 8}, True] for name in ("loadgen", "nats", "platform", "prometheus")
        ]
        ran = stack.exec("action-agent", "python", "-c", ASK, stdin=json.dumps(calls).encode())
        assert all(code in (403, 404) for code in json.loads(ran.out)), ran.out

    def test_what_was_refused_is_logged_and_counted(self, stack: ComposeStack) -> None:
        logged, counted = _refusals_logged(stack), _refusals_counted(stack)
        stack.exec("log-agent", "python", "-c", ASK, stdin=b'[["stop", {"name": "orders", "key": "k1234567"}, true]]')
        assert _refusals_counted(stack) == counted + 1
        assert _refusals_logged(stack) == logged + 1


def _refusals_logged(stack: ComposeStack) -> int:
    """Return how often the proxy has logged that it refused `stop` to the log agent."""
    ran = stack.engine("logs", f"{stack.project}-platform-1")
    rows = [json.loads(line) for line in (ran.out + ran.err).splitlines() if line.startswith("{")]
    refused = [row for row in rows if "platform_refused" in (row.get("event"), row.get("msg"))]
    return sum((row["client"], row["verb"]) == ("log", "stop") for row in refused)


def _refusals_counted(stack: ComposeStack) -> float:
    """Return what the proxy's own counter says of the same."""
    script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:7000/metrics').read().decode())"
    lines = stack.exec("platform", "python", "-c", script).out.splitlines()
    name = 'triage_platform_refused_total{client="log",verb="stop"}'
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))
