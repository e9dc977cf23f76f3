"""The auditor's own process on a real broker and a real database, killed with SIGKILL in the middle of its work."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from auditor_svc import api, checkpoint_file
from auditor_svc.store import Store
from broker.jetstream import JetStreamBroker
from broker.keyring import derive_role_file
from broker.port import CaughtUp, Stored
from broker.runtime.exits import Exit
from tests.integration.conftest import Connect
from tests.support.audit import PUBLIC, telemetry
from tests.support.nats_server import NatsServer
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.signing import master, signer
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

MESSAGES = 3_000


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running_postgres() as running:
        yield running


def make_home(home: Path) -> None:
    (home / "keys").mkdir(parents=True)
    passphrase = home / "passphrase"
    passphrase.write_text("open sesame\n")
    passphrase.chmod(0o600)
    derive_role_file(
        replace(master(), checkpoint_public=PUBLIC), "auditor", home / "keys" / "auditor.keys", "open sesame"
    )


@asynccontextmanager
async def auditor_process(home: Path, nats_url: str, dsn: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The role's process; killed at the end if it still lives."""
    wanted = {"TRIAGE_HOME": str(home), "TRIAGE_NATS_URL": nats_url, "TRIAGE_AUDIT_DSN": dsn}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRIAGE_")}
    log = (home / "auditor.log").open("ab")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "auditor_svc"), env=environment | wanted, stdout=log, stderr=log
    )
    log.close()
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def rows(dsn: str) -> list[int]:
    store = Store(dsn)
    try:
        return [row["journal_seq"] for row in await store.fetch("SELECT journal_seq FROM envelopes ORDER BY 1")]
    finally:
        await store.close()


async def standing(broker: JetStreamBroker) -> list[int]:
    """Return the journal's sequences as they stand now."""
    seqs = []
    async for item in broker.read(follow=False):
        if isinstance(item, Stored):
            seqs.append(item.seq)
        elif isinstance(item, CaughtUp):
            break
    return seqs


@pytest.mark.asyncio
async def test_an_auditor_killed_in_the_middle_leaves_every_message_exactly_once(
    server: PostgresServer, nats: NatsServer, join: Connect, tmp_path: Path
) -> None:
    home, dsn = tmp_path / "home", await asyncio.to_thread(server.new_database)
    make_home(home)
    seal = signer("sensors")
    sensors = await join(nats, "sensors")
    for i in range(MESSAGES):
        record = telemetry("orders", i)
        await sensors.publish(record.subject(), seal.seal(record))
    for share in (0.05, 0.5):
        async with auditor_process(home, nats.url, dsn) as process:
            seen = round(MESSAGES * share)

            async def so_many(wanted: int = seen) -> bool:
                return len(await rows(dsn)) >= wanted

            await eventually(so_many, 60)
            process.send_signal(signal.SIGKILL)
    reader = await join(nats, "reader")
    async with auditor_process(home, nats.url, dsn) as process:

        async def all_there() -> bool:
            return await rows(dsn) == await standing(reader)

        await eventually(all_there, 60)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 15) == Exit.OK
    report = await api.verify_database(dsn, PUBLIC, home / checkpoint_file.FILE_NAME)
    assert report.ok, report.faults
    assert report.rows >= MESSAGES
    assert report.uncovered <= report.checkpoints_checked


@pytest.mark.asyncio
async def test_an_auditor_without_a_database_says_what_is_missing(nats: NatsServer, tmp_path: Path) -> None:
    make_home(tmp_path / "home")
    async with auditor_process(tmp_path / "home", nats.url, "") as process:
        assert await asyncio.wait_for(process.wait(), 30) == Exit.USAGE
    assert "audit_dsn is not set" in (tmp_path / "home" / "auditor.log").read_text()
