"""The life of a process: how it starts, why it does not, how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from broker.contracts.base import Contract
from broker.contracts.inventory import Device, Inventory
from broker.contracts.plan import PlanRequested
from broker.contracts.task import Task
from broker.envelope import Signer
from broker.errors import BrokerClosedError, BrokerDownError
from broker.keyring import create_master, derive_role_file, load
from broker.memory import MemoryBroker, MemoryJournal
from broker.port import Broker
from broker.runtime import process
from broker.runtime.exits import Exit
from broker.runtime.process import Context, machine_main, service_main, worker_main
from broker.runtime.settings import Settings
from broker.runtime.worker_host import Work
from broker.subjects import Role
from tests.support.machines import DeskConfig, DeskMachine, report, result, task

PASSPHRASE = "correct horse"
INVENTORY = Inventory(
    devices=(Device(name="orders", kind="service", managed=True, probe="http", host="127.0.0.1", port=1),)
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with keys and an inventory, made once: key files are slow to make on purpose."""
    home = tmp_path_factory.mktemp("stack")
    (home / "passphrase").write_text(PASSPHRASE)
    (home / "inventory.json").write_bytes(INVENTORY.encode())
    master = create_master(home / "master.keys", PASSPHRASE)
    roles: tuple[Role, ...] = ("scheduler", "operator", "log")
    for role in roles:
        derive_role_file(master, role, home / "keys" / f"{role}.keys", PASSPHRASE)
    return home


@pytest.fixture
def home(stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("TRIAGE_")]:
        monkeypatch.delenv(name)
    copy = tmp_path / "home"
    shutil.copytree(stack, copy)
    monkeypatch.setenv("TRIAGE_HOME", str(copy))
    return copy


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    yield
    root.handlers, root.level = before
    structlog.reset_defaults()


class Server:
    """Connects processes to a journal in memory. Its clock stands still unless a test moves it: stamps are real, so it
    starts now."""

    def __init__(self) -> None:
        self.journal = MemoryJournal(start_us=time.time_ns() // 1_000)
        self.passwords: list[str] = []

    async def __call__(self, url: str, *, role: Role, instance: str, password: str) -> Broker:
        self.passwords.append(password)
        return MemoryBroker(self.journal, instance, role)

    def signer(self, home: Path, role: Role) -> Signer:
        return Signer(role, f"{role}-9", load(home / "keys" / f"{role}.keys", PASSPHRASE))


def end_this_process() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def desk(_settings: Settings, inventory: Inventory) -> DeskMachine:
    assert inventory == INVENTORY
    return DeskMachine()


async def never(_context: Context) -> None:
    raise AssertionError("was started")


class TestBadStarts:
    def complaint(self, capsys: pytest.CaptureFixture[str]) -> str:
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    def test_a_missing_inventory(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (home / "inventory.json").unlink()
        assert service_main("scheduler", never, connect=Server()) == Exit.NOT_FOUND
        assert "inventory.json is missing; `triage up` writes it" in self.complaint(capsys)

    def test_an_inventory_that_is_none(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (home / "inventory.json").write_text('{"devices": 3}')
        assert service_main("scheduler", never, connect=Server()) == Exit.USAGE
        assert "inventory.json cannot be used" in self.complaint(capsys)

    def test_a_wrong_passphrase(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (home / "passphrase").write_text("guess")
        assert service_main("scheduler", never, connect=Server()) == Exit.REFUSED
        assert "wrong passphrase or damaged file" in self.complaint(capsys)

    def test_missing_keys(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (home / "keys" / "scheduler.keys").unlink()
        assert service_main("scheduler", never, connect=Server()) == Exit.REFUSED
        assert "scheduler.keys is missing" in self.complaint(capsys)

    def test_a_misspelt_setting(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (home / "triage.toml").write_text("report_grace = 3\n")
        assert service_main("scheduler", never, connect=Server()) == Exit.USAGE
        assert "did you mean 'report_grace_s'" in self.complaint(capsys)

    def test_a_port_in_use(
        self, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            monkeypatch.setenv("TRIAGE_METRICS_PORT", str(other.getsockname()[1]))
            assert service_main("scheduler", never, connect=Server()) == Exit.USAGE
        assert "is another one of this role running?" in self.complaint(capsys)

    def test_no_broker(self, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(process, "CONNECT_S", 0.0)
        monkeypatch.setattr(process, "CONNECT_RETRY_S", 0.01)

        async def nobody(url: str, *, role: Role, instance: str, password: str) -> Broker:
            raise BrokerDownError("connection refused")

        assert service_main("scheduler", never, connect=nobody) == Exit.DEPENDENCY_DOWN
        assert "no broker answers at nats://127.0.0.1:17400" in self.complaint(capsys)


class TestTheBroker:
    def test_a_connection_closed_for_good_ends_the_process_so_that_another_is_started(
        self, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(process, "BROKER_WATCH_S", 0.01)

        async def closed(broker: MemoryBroker, subject: str) -> None:
            raise BrokerClosedError("it was closed")

        monkeypatch.setattr(MemoryBroker, "last", closed)

        async def forever(context: Context) -> None:
            await asyncio.Event().wait()

        assert service_main("scheduler", forever, connect=Server()) == Exit.DEPENDENCY_DOWN
        assert "it was closed" in capsys.readouterr().err


class TestMachines:
    def test_it_runs_until_told_to_end_and_keeps_a_snapshot(self, home: Path) -> None:
        server = Server()
        healthy: list[dict[str, Any]] = []

        async def background(context: Context) -> None:
            operator = MemoryBroker(server.journal, "op-1", "operator")
            seal = server.signer(home, "operator").seal
            await operator.publish(report("i1").subject(), seal(report("i1")))
            while server.journal.last("triage.plan.i1.v1.a1.requested") is None:
                await server.journal.changed()
            healthy.append(context.health.report())
            end_this_process()
            await asyncio.Event().wait()

        began = time.monotonic()
        assert machine_main("scheduler", desk, background, connect=server) == Exit.OK
        assert time.monotonic() - began < 60.0
        assert healthy[0]["checks"] == {"broker": True, "control": True, "caught_up": True}
        assert healthy[0]["status"] == "OK"
        assert "scheduler.v1" in server.journal.snapshots
        assert server.journal.clients[0].gone == "Client Closed"

    def test_a_divergence_ends_it_with_both_texts(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        server = Server()

        async def prepare() -> None:
            operator = MemoryBroker(server.journal, "op-1", "operator")
            scheduler = MemoryBroker(server.journal, "scheduler-9", "scheduler")
            cause = await operator.publish(report("i1").subject(), server.signer(home, "operator").seal(report("i1")))
            other = PlanRequested(incident="i1", version=1, attempt=1, text="something else")
            await scheduler.publish(other.subject(), server.signer(home, "scheduler").seal(other, cause=cause))

        asyncio.run(prepare())
        code = machine_main("scheduler", lambda _s, _i: DeskMachine(DeskConfig(greeting="hm: ")), connect=server)
        assert code == Exit.FAILED
        said = capsys.readouterr()
        assert "something else" in said.err
        assert "hm: orders are slow" in said.err
        assert len(said.err.splitlines()) == 1
        assert '"event": "divergence"' in said.out

    def test_a_background_that_fails_ends_the_process(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        async def background(_context: Context) -> None:
            raise RuntimeError("no eyes")

        assert machine_main("scheduler", desk, background, connect=Server()) == Exit.FAILED
        said = capsys.readouterr()
        assert said.err == "scheduler failed: RuntimeError: no eyes; see its log\n"
        assert "Traceback" in said.out, "the log has it all"


class SlowHandler:
    """Ends this process once it has begun."""

    def __init__(self, takes_s: float) -> None:
        self._takes_s = takes_s

    async def handle(self, work: Work) -> Contract:
        assert isinstance(work.order, Task)
        end_this_process()
        await asyncio.sleep(self._takes_s)
        return result(work.order, "done")

    def failure(self, work: Work, error: Exception) -> Contract:
        assert isinstance(work.order, Task)
        return result(work.order, f"{type(error).__name__}", status="FAIL")


class TestWorkers:
    def work_once(self, home: Path, takes_s: float) -> tuple[Server, int, float]:
        server = Server()

        async def give_order() -> None:
            scheduler = MemoryBroker(server.journal, "scheduler-9", "scheduler")
            await scheduler.publish(task().subject(), server.signer(home, "scheduler").seal(task()))

        asyncio.run(give_order())
        began = time.monotonic()
        code = worker_main("log", "w-log", lambda _context: SlowHandler(takes_s), connect=server)
        return server, code, time.monotonic() - began

    def test_the_order_in_hand_is_finished(self, home: Path) -> None:
        server, code, _ = self.work_once(home, 0.2)
        assert code == Exit.OK
        assert server.journal.last("triage.result.log.i1.v1-t1.a1") is not None
        assert not server.journal.queues["w-log"].open

    def test_an_order_that_takes_too_long_is_given_back(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(process, "FINISH_S", 0.1)
        server, code, took_s = self.work_once(home, 60.0)
        assert code == Exit.OK
        assert took_s < 4.0
        assert server.journal.last("triage.result.log.i1.v1-t1.a1") is None
        assert [order.held_until_us for order in server.journal.queues["w-log"].open.values()] == [None]


class TestServices:
    def test_one_that_returns_ends_well(self, home: Path) -> None:
        seen: list[str] = []

        async def run(context: Context) -> None:
            seen.append(context.signer.sender)
            assert context.inventory == Inventory(devices=())

        server = Server()
        assert service_main("operator", run, needs_inventory=False, connect=server) == Exit.OK
        assert seen == ["operator/operator-1"]
        assert server.passwords == [load(home / "keys" / "operator.keys", PASSPHRASE).broker_password()]

    def test_one_that_is_told_to_end_may_clean_up(self, home: Path) -> None:
        cleaned: list[bool] = []

        async def run(_context: Context) -> None:
            end_this_process()
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.append(True)

        assert service_main("operator", run, connect=Server()) == Exit.OK
        assert cleaned == [True]
