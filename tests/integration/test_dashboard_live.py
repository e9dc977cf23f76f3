"""The dashboard over real servers: a stream over a socket that breaks while the broker restarts, and the real audit."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from auditor_svc.chain import ACCEPTED, EMPTY, row_hash
from auditor_svc.projections import project
from auditor_svc.store import Batch, Store
from broker.contracts.control import Halt
from broker.contracts.registry import CONTRACTS
from broker.envelope import Signer, open_frame
from broker.jetstream import connect
from broker.port import Stored
from broker.subjects import Role
from dashboard.api.app import Parts, make_app
from dashboard.api.feed import Feed
from dashboard.api.guard import Rules
from dashboard.api.records import Records
from dashboard.api.serve import Place, server_of
from harness.control import ControlPlane
from tests.support.audit import START_US, chain, incident_messages, sealed
from tests.support.dashboard import FakeStack
from tests.support.nats_server import NatsServer
from tests.support.postgres import running_postgres
from tests.support.signing import master
from tests.support.waiting import eventually
from tests.support.world import shop_inventory

pytestmark = pytest.mark.integration


@asynccontextmanager
async def dashboard_of(nats: NatsServer, home: Path) -> AsyncIterator[tuple[Feed, str]]:
    """Serve the dashboard of a broker on a free port of loopback; give the feed and the address."""

    @asynccontextmanager
    async def open_() -> AsyncIterator[ControlPlane]:
        ring = master().restricted_to("operator")
        password = nats.passwords["operator"]
        broker = await connect(nats.url, role="operator", instance="dashboard-1", password=password)
        try:
            yield ControlPlane(home, broker, ring, Signer("operator", "dashboard", ring), shop_inventory())
        finally:
            await broker.close()

    feed, stack = Feed(open_), FakeStack(home)
    server = server_of(make_app(Parts(feed, Records(stack.audit_dsn), stack, Rules())), Place("127.0.0.1", 0))
    tasks = [asyncio.create_task(feed.run()), asyncio.create_task(server.serve())]
    try:
        await feed.until_ready()
        await server.up.wait()
        yield feed, f"http://127.0.0.1:{port_of(server)}"
    finally:
        feed.close()
        server.should_exit = True
        await tasks[1]
        tasks[0].cancel()
        with suppress(asyncio.CancelledError):
            await tasks[0]


def port_of(server: uvicorn.Server) -> int:
    return int(server.servers[0].sockets[0].getsockname()[1])


async def entries(client: httpx.AsyncClient, after: int, count: int) -> list[dict[str, Any]]:
    """Return the next entries of a stream that resumes behind a sequence; then the connection is broken."""
    found: list[dict[str, Any]] = []
    async with client.stream("GET", "/api/events", headers={"Last-Event-ID": str(after)}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            if line.startswith("data: {") and '"subject"' in line:
                found.append(json.loads(line.removeprefix("data: ")))
                if len(found) == count:
                    return found
    raise AssertionError(f"the stream ended after {len(found)} of {count} entries")


async def is_connected(feed: Feed, wanted: bool) -> bool:
    return feed.connected is wanted


async def halt(client: httpx.AsyncClient, number: int) -> int:
    headers = {"Idempotency-Key": f"halt-number-{number}"}
    answer = await client.post("/api/halt", json={"reason": f"number {number}"}, headers=headers)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["seq"])


@pytest.mark.asyncio
async def test_a_page_left_open_over_a_restart_of_the_broker_misses_nothing(nats: NatsServer, tmp_path: Path) -> None:
    async with dashboard_of(nats, tmp_path) as (feed, address), httpx.AsyncClient(base_url=address) as client:
        first = [await halt(client, number) for number in range(5)]
        seen = await entries(client, 0, 3)
        nats.kill()
        await eventually(lambda: is_connected(feed, False), 20)
        away = await client.post("/api/halt", json={}, headers={"Idempotency-Key": "while-away-1"})
        assert (away.status_code, away.json()["error"]) == (503, "stack_down")
        nats.start()
        await eventually(lambda: is_connected(feed, True), 20)
        more = [await halt(client, number) for number in range(5, 8)]
        async with asyncio.timeout(20):
            seen += await entries(client, seen[-1]["seq"], 5)
        assert [item["seq"] for item in seen] == first + more
        assert [item["payload"]["reason"] for item in seen] == [f"number {number}" for number in range(8)]
        assert {item["sender"] for item in seen} == {"operator/dashboard"}
        snapshot = (await client.get("/api/snapshot")).json()
        assert snapshot["view"]["halt"]["reason"] == "number 0"


@pytest.fixture(scope="module")
def trail() -> Iterator[tuple[str, list[Stored]]]:
    """An audit database with one incident, a refused message and telemetry; its messages."""
    said: list[tuple[Role, Any]] = [*incident_messages("inc-1"), ("operator", Halt(reason="wait"))]
    stored = [
        Stored(number, START_US + number * 1_000, message.subject(), sealed(role)(message))
        for number, (role, message) in enumerate(said, start=1)
    ]
    forged = Stored(len(stored) + 1, START_US + 99_000, "triage.control.halt", b"no frame")

    async def fill(dsn: str) -> None:
        store = Store(dsn)
        await store.migrate()
        rows, checkpoints = chain([*stored, forged], {forged.seq: "bad_frame"})
        facts = []
        for item in stored:
            frame = open_frame(item.data)
            fact = project(item.seq, item.time_us, CONTRACTS[frame.type].decode(frame.payload))
            facts += [fact] if fact else []
        await store.append(EMPTY, Batch(tuple(rows), tuple(facts), tuple(checkpoints)))
        await store.close()

    with running_postgres() as server:
        dsn = server.new_database()
        asyncio.run(fill(dsn))
        yield dsn, [*stored, forged]


@pytest.mark.asyncio
async def test_pages_of_the_journal_join_without_gap_in_both_directions(trail: tuple[str, list[Stored]]) -> None:
    dsn, stored = trail
    records = Records(lambda: dsn)
    up: list[int] = []
    edge: int | None = 0
    while edge is not None:
        page = await records.journal(after=edge, before=None, limit=3, incident=None, telemetry=True)
        up, edge = up + [entry.seq for entry in page.entries], page.next
    down: list[int] = []
    edge = 2**40
    while edge is not None:
        page = await records.journal(after=None, before=edge, limit=3, incident=None, telemetry=True)
        down, edge = [entry.seq for entry in page.entries] + down, page.next
    assert up == down == [item.seq for item in stored]


@pytest.mark.asyncio
async def test_an_export_holds_every_message_once_with_the_state_of_its_signature(
    trail: tuple[str, list[Stored]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn, stored = trail
    monkeypatch.setattr("dashboard.api.records.PORTION", 3)
    data = b"".join([part async for part in Records(lambda: dsn).lines(incident=None, telemetry=True)])
    entries = [json.loads(line) for line in data.splitlines()]
    assert [entry["seq"] for entry in entries] == [item.seq for item in stored]
    assert [entry["verified"] for entry in entries] == [True] * (len(stored) - 1) + [False]
    assert entries[-1]["refusal"]
    assert entries[-1]["payload"] is None
    assert all(entry["hmac"] for entry in entries[:-1])


@pytest.mark.asyncio
@pytest.mark.parametrize("limit", [2, 200])
async def test_a_stretch_between_two_messages_holds_neither_and_nothing_behind_it(
    trail: tuple[str, list[Stored]], limit: int
) -> None:
    dsn, stored = trail
    first, last = stored[1].seq, stored[-2].seq
    found: list[int] = []
    edge: int | None = first
    while edge is not None:
        page = await Records(lambda: dsn).journal(after=edge, before=last, limit=limit, incident=None, telemetry=True)
        found, edge = found + [entry.seq for entry in page.entries], page.next
    assert found == [item.seq for item in stored if first < item.seq < last]


@pytest.mark.asyncio
async def test_a_message_is_given_with_bytes_whose_hashes_can_be_made_again(trail: tuple[str, list[Stored]]) -> None:
    dsn, stored = trail
    records = Records(lambda: dsn)
    before = await records.proof(stored[0].seq)
    proof = await records.proof(stored[1].seq)
    assert proof.envelope_hash == hashlib.sha256(stored[1].data).hexdigest()
    assert proof.prev_hash == before.row_hash
    made = row_hash(
        bytes.fromhex(proof.prev_hash or ""),
        proof.number or 0,
        proof.seq,
        proof.time_us,
        proof.subject,
        bytes.fromhex(proof.envelope_hash),
        ACCEPTED,
    )
    assert made.hex() == proof.row_hash
    assert (proof.verdict, proof.hmac_ok, proof.entry.verified) == (ACCEPTED, True, True)


@pytest.mark.asyncio
async def test_a_refused_message_is_shown_by_name_and_without_a_payload(trail: tuple[str, list[Stored]]) -> None:
    dsn, stored = trail
    proof = await Records(lambda: dsn).proof(stored[-1].seq)
    assert (proof.verdict, proof.hmac_ok, proof.entry.payload) == ("bad_frame", None, None)


@pytest.mark.asyncio
async def test_incidents_their_story_runs_and_timeline_come_out_of_the_audit(trail: tuple[str, list[Stored]]) -> None:
    dsn, _ = trail
    records = Records(lambda: dsn)
    [incident] = (await records.incidents(10, None)).incidents
    assert incident.incident == "inc-1"
    assert (await records.incidents(10, incident.seq)).incidents == []
    story = await records.story("inc-1")
    assert story.summary["incident"] == "inc-1"
    assert story.plans
    [run] = (await records.llm_runs(10, None)).runs
    assert (await records.llm_runs(10, run.seq)).runs == []
    assert (await records.llm_records(run.run_id)).records
    rows = (await records.timeline(500, None, "inc-1")).rows
    assert [row.seq for row in rows] == sorted((row.seq for row in rows), reverse=True)
    assert all(row.row_hash for row in rows)
    assert (await records.similar("inc-1")).similar == []
    assert (await records.runs(10)).runs == []
    assert (await records.figures()).injected == 0
