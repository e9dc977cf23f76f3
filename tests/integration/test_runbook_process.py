"""The runbook agent as a process: a real broker, a real database, an order in, a signed answer out."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from agents.runbook.database import prepare, with_database
from auditor_svc import api
from broker.contracts.excerpt import Excerpt, decode_excerpts
from broker.contracts.task import Result, Task
from broker.jetstream import JetStreamBroker
from broker.keyring import derive_role_file
from broker.runtime.exits import Exit
from tests.integration.conftest import Connect
from tests.support.nats_server import NatsServer, free_port
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.runbooks import audit, repaired_messages, runbook_file
from tests.support.signing import gate, master, signer
from tests.support.waiting import eventually
from tests.support.world import shop_inventory

pytestmark = pytest.mark.integration
PASSPHRASE = "open sesame"
PASSWORD = "runbooks-password"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running_postgres() as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "passphrase").write_text(f"{PASSPHRASE}\n")
    (tmp_path / "passphrase").chmod(0o600)
    (tmp_path / "inventory.json").write_bytes(shop_inventory().encode())
    derive_role_file(master(), "runbook", tmp_path / "keys" / "runbook.keys", PASSPHRASE)
    return tmp_path


@contextmanager
def agent(home: Path, url: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the agent for a block; it is killed at the end if it still runs."""
    own = {"TRIAGE_HOME": str(home), "TRIAGE_NATS_URL": url, "TRIAGE_ROLE": "runbook", **settings}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRIAGE_")}
    with (home / "agent.log").open("ab") as log:
        process = subprocess.Popen(
            (sys.executable, "-m", "agents.runbook"), env=environment | own, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


PAST_INCIDENT = 'triage_runbook_documents{kind="incident"} 1.0'


def order(number: int, **args: str | int) -> Task:
    return Task(
        incident="inc-9",
        task_id=f"v1-t{number}",
        attempt=1,
        kind="runbook",
        type="search_runbook",
        target="orders",
        args={"query": "orders cannot resolve shop-db: gaierror", **args},
        plan_version=1,
        risk="read",
        timeout_s=10.0,
        timer_id=f"t{number}",
    )


async def ready(port: int) -> bool:
    try:
        async with httpx.AsyncClient() as client:
            return (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
    except httpx.HTTPError:
        return False


class Desk:
    """The scheduler's side of a broker: gives orders, takes signed answers."""

    def __init__(self, scheduler: JetStreamBroker) -> None:
        self._scheduler = scheduler
        self._seal = signer("scheduler")

    async def ask(self, number: int, **args: str | int) -> Result:
        """Give an order and wait for its result."""
        task = order(number, **args)
        await self._scheduler.publish(task.subject(), self._seal.seal(task), once=True)
        subject = task.subject().replace(".task.", ".result.")

        async def answered() -> bool:
            return await self._scheduler.last(subject) is not None

        await eventually(answered, 20)
        stored = await self._scheduler.last(subject)
        assert stored is not None
        message = gate("scheduler").admit(stored).message
        assert isinstance(message, Result)
        return message


def found(result: Result) -> list[Excerpt]:
    return list(decode_excerpts(str(result.meta["excerpts"])))


async def shows(port: int, line: str) -> bool:
    """Tell whether the agent answers, and shows a line among its metrics."""
    return await ready(port) and line in await metrics(port)


async def metrics(port: int) -> str:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"http://127.0.0.1:{port}/metrics")).text


async def databases(server: PostgresServer) -> dict[str, str]:
    """Make both databases, with one past incident in the audit; return the agent's settings for them."""
    owner = await asyncio.to_thread(server.new_database)
    await api.prepare(owner, "auditor", "auditor-password")
    await prepare(owner, "runbooks", PASSWORD)
    await api.let_read_repaired(owner, "runbooks")
    await audit(owner, repaired_messages("inc-1"))
    own = with_database(server.dsn(user="runbooks", password=PASSWORD), "runbooks")
    return {"TRIAGE_RUNBOOKS_DSN": own, "TRIAGE_AUDIT_DSN": with_database(own, owner.rpartition("/")[2])}


@pytest.mark.asyncio
async def test_an_order_is_answered_from_runbooks_users_files_and_past_incidents(
    nats: NatsServer, join: Connect, server: PostgresServer, home: Path
) -> None:
    port, desk = free_port(), Desk(await join(nats, "scheduler"))
    settings = {"TRIAGE_METRICS_PORT": str(port), "TRIAGE_MODEL_URL": f"http://127.0.0.1:{free_port()}/v1"}
    (home / "runbooks" / "bad.md").write_bytes(b"no runbook at all")
    with agent(home, nats.url, **settings, **await databases(server)) as process:
        await eventually(lambda: shows(port, PAST_INCIDENT), 30)  # it is ready, and looks for them, before it has any
        first = await desk.ask(1, symptoms="service:blame-database:gaierror=0.707 service:error:gaierror=0.707", k=8)
        assert (first.status, first.meta["ranked_by"]) == ("OK", "full text, symptoms")
        assert str(first.meta["missing"]).startswith("no vectors: the endpoint for vectors cannot be used")
        sources = {(item.kind, item.source) for item in found(first)}
        assert sources >= {("runbook", "config-drift"), ("incident", "inc-1")}
        await assert_a_new_file_is_taken_over(home, port, desk)
        process.terminate()
        assert await asyncio.to_thread(process.wait, 5) == Exit.OK
    log = (home / "agent.log").read_text()
    assert '"file": "bad.md", "reason": "does not begin with a line ---"' in log
    assert PASSWORD not in log


async def assert_a_new_file_is_taken_over(home: Path, port: int, desk: Desk) -> None:
    """Drop a runbook, and find it; what was there is still counted, and what is none is refused."""
    (home / "runbooks" / "own.md").write_bytes(runbook_file("own", body="## Repair\nCall the quagmire team.\n"))

    await eventually(lambda: shows(port, 'triage_runbook_documents{kind="runbook"} 12.0'), 20)
    assert [item.source for item in found(await desk.ask(2, query="quagmire"))] == ["own"]
    shown = await metrics(port)
    assert PAST_INCIDENT in shown
    assert "triage_runbook_files_refused 1.0" in shown


@pytest.mark.asyncio
async def test_without_any_database_it_is_ready_and_answers_from_memory(
    nats: NatsServer, join: Connect, home: Path
) -> None:
    port, desk = free_port(), Desk(await join(nats, "scheduler"))
    dsn = f"postgresql://runbooks:{PASSWORD}@127.0.0.1:{free_port()}/runbooks"
    with agent(home, nats.url, TRIAGE_METRICS_PORT=str(port), TRIAGE_RUNBOOKS_DSN=dsn):
        await eventually(lambda: ready(port), 30)
        result = await desk.ask(1)
    assert (result.status, result.meta["ranked_by"]) == ("OK", "full text in memory")
    assert PASSWORD not in (home / "agent.log").read_text()
