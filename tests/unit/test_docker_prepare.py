"""`prepare` waits for servers that are starting, up to a deadline, and says in one sentence why it gave up."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.runbook.errors import StoreDownError as RunbooksDownError
from auditor_svc.api import StoreDownError, StoreRefusedError
from broker.errors import BrokerDownError, BrokerError
from broker.runtime.exits import Exit
from deploy.docker import prepare
from deploy.errors import NotReadyError


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The volume `prepare`, and no waiting between tries."""
    passwords = ("nats-admin.password", "auditor.password", "operator.password", "runbooks.password")
    for name in (*passwords, "audit-admin.dsn"):
        (tmp_path / name).write_text(f"{name}\n")
    monkeypatch.setattr(prepare, "SECRETS", tmp_path)
    monkeypatch.setattr(prepare, "RETRY_S", 0.0)
    monkeypatch.delenv("TRIAGE_NATS_NODES", raising=False)
    return tmp_path


class Servers:
    """A broker and an audit database that answer after some tries, or never."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, down_for: int = 0, refusal: Exception | None = None) -> None:
        self.down_for, self.refusal = down_for, refusal
        self.asked: list[tuple[object, ...]] = []
        monkeypatch.setattr(prepare, "ensure", self.broker)
        monkeypatch.setattr(prepare, "prepare_audit_store", self.database)
        monkeypatch.setattr(prepare, "admit_operator", self.operator)
        monkeypatch.setattr(prepare, "prepare_runbooks", self.runbooks)
        monkeypatch.setattr(prepare, "let_read_runbooks", self.reader)
        monkeypatch.setattr(prepare, "let_read_repaired", self.views)

    async def broker(self, url: str, password: str, replicas: int) -> None:
        self.asked.append(("broker", url, password, replicas))
        if len([row for row in self.asked if row[0] == "broker"]) <= self.down_for:
            raise BrokerDownError("nobody listens")
        if self.refusal is not None:
            raise self.refusal

    async def database(self, dsn: str, role: str, password: str) -> None:
        self.asked.append(("database", dsn, role, password))
        if len([row for row in self.asked if row[0] == "database"]) <= self.down_for:
            raise StoreDownError("nobody listens")

    async def operator(self, dsn: str, role: str, password: str) -> None:
        self.asked.append(("operator", dsn, role, password))

    async def runbooks(self, dsn: str, role: str, password: str) -> None:
        self.asked.append(("runbooks", dsn, role, password))
        if len([row for row in self.asked if row[0] == "runbooks"]) <= self.down_for:
            raise RunbooksDownError("nobody listens")

    async def reader(self, dsn: str, role: str) -> None:
        self.asked.append(("reader", dsn, role))

    async def views(self, dsn: str, role: str) -> None:
        self.asked.append(("views", dsn, role))


def test_servers_that_are_still_starting_are_waited_for(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = Servers(monkeypatch, down_for=3)
    assert prepare.main() == 0
    assert servers.asked.count(("broker", "nats://nats:4222", "nats-admin.password", 1)) == 4
    assert servers.asked.count(("database", "audit-admin.dsn", "auditor", "auditor.password")) == 7
    assert servers.asked.count(("operator", "audit-admin.dsn", "operator", "operator.password")) == 4
    assert servers.asked.count(("runbooks", "audit-admin.dsn", "runbooks", "runbooks.password")) == 4
    assert servers.asked[-2:] == [
        ("reader", "audit-admin.dsn", "operator"),
        ("views", "audit-admin.dsn", "runbooks"),
    ]


def test_three_nodes_keep_the_journal_of_a_cluster(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = Servers(monkeypatch)
    monkeypatch.setenv("TRIAGE_NATS_NODES", "3")
    assert prepare.main() == 0
    assert ("broker", "nats://nats:4222", "nats-admin.password", 3) in servers.asked


@pytest.mark.asyncio
async def test_a_server_that_never_answers_is_named_at_the_deadline(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Servers(monkeypatch, down_for=1_000_000)
    with pytest.raises(ExceptionGroup) as failed:
        await prepare.prepare(secrets, "nats://nats:4222", deadline_s=0.05)
    text = "; ".join(str(error) for error in failed.value.exceptions)
    assert failed.group_contains(NotReadyError)
    assert "did not answer within 0.05 s: nobody listens" in text


@pytest.mark.parametrize("refusal", [BrokerError("the broker refuses stream X"), StoreRefusedError("no")])
def test_a_refusal_is_one_sentence_and_not_tried_again(
    secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], refusal: Exception
) -> None:
    servers = Servers(monkeypatch, refusal=refusal)
    assert prepare.main() == Exit.DEPENDENCY_DOWN
    assert capsys.readouterr().err == f"prepare: {refusal}\n"
    assert len([row for row in servers.asked if row[0] == "broker"]) == 1


def test_a_missing_secret_says_who_writes_it(
    secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Servers(monkeypatch)
    (secrets / "audit-admin.dsn").unlink()
    assert prepare.main() == Exit.DEPENDENCY_DOWN
    assert "audit-admin.dsn" in (text := capsys.readouterr().err)
    assert "`setup` writes what is needed" in text


def test_a_number_of_nodes_that_cannot_be_is_bad_use(
    secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRIAGE_NATS_NODES", "2")
    assert prepare.main() == Exit.USAGE
    assert capsys.readouterr().err.startswith("prepare: TRIAGE_NATS_NODES is '2'")
