"""Probes against servers that answer, refuse, hang and talk nonsense; and the loop around them."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from broker.contracts.inventory import Device, Inventory, Objective
from broker.contracts.telemetry import Metrics, Telemetry
from broker.memory import MemoryBroker, MemoryJournal
from monitor_svc.errors import ProbeError
from monitor_svc.sensors.probes import Prober
from monitor_svc.sensors.protocols import cache_facts, fault_of_postgres, startup_message
from monitor_svc.sensors.service import Sensors
from tests.support import signing

pytestmark = pytest.mark.asyncio

AT = datetime(2026, 1, 2, tzinfo=UTC)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PG_AUTH = b"R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00"
NATS_INFO = b'INFO {"server_id":"x","auth_required":false}\r\n'
KINDS = {"http": "service", "postgres": "database", "valkey": "cache", "nats": "queue", "traffic": "traffic"}


def device(probe: str, port: int, name: str = "it") -> Device:
    return Device.model_validate(
        {"name": name, "kind": KINDS[probe], "managed": True, "probe": probe, "host": "127.0.0.1", "port": port}
    )


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """Serve on a free port; every connection is closed at the end."""
    writers: list[asyncio.StreamWriter] = []

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            await handler(reader, writer)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


@asynccontextmanager
async def prober(timeout_s: float = 0.3) -> AsyncIterator[Prober]:
    made = Prober(Objective(), timeout_s=timeout_s)
    try:
        yield made
    finally:
        await made.close()


def answering(data: bytes, *, hang: bool = False) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4_096)
        writer.write(data)
        await writer.drain()
        if hang:
            await reader.read()

    return handle


def http(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    await asyncio.sleep(3600)


async def postgres_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    assert len(await reader.readexactly(8)) == 8
    writer.write(b"N")
    assert await reader.readexactly(len(startup_message())) == startup_message()
    writer.write(PG_AUTH)
    await reader.read()


async def valkey_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    info = b"# Memory\r\nused_memory_rss:1048576\r\n# CPU\r\nused_cpu_sys:1.0\r\nused_cpu_user:2.0\r\n"
    await reader.read(4_096)
    writer.write(b"+PONG\r\n$" + str(len(info)).encode() + b"\r\n" + info + b"\r\n")
    await reader.read()


async def nats_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(NATS_INFO)
    await reader.readuntil(b"PING\r\n")
    writer.write(b"PONG\r\n")
    await reader.read()


async def sample(probe: str, handler: Handler, *, times: int = 1, timeout_s: float = 0.3) -> Telemetry:
    async with serving(handler) as port, prober(timeout_s) as asking:
        for _ in range(times):
            found = await asking.sample(device(probe, port), AT)
    return found


@pytest.mark.parametrize(
    ("probe", "handler"),
    [("postgres", postgres_server), ("valkey", valkey_server), ("nats", nats_server)],
)
async def test_a_server_that_works(probe: str, handler: Handler) -> None:
    found = await sample(probe, handler, timeout_s=5.0)
    assert (found.status, found.error_code) == ("OK", None)
    assert found.metrics.latency_ms is not None


async def test_the_cache_s_own_numbers_are_taken_over_from_the_second_look_on() -> None:
    found = await sample("valkey", valkey_server, times=2, timeout_s=5.0)
    assert (found.metrics.mem_usage, found.metrics.cpu_load) == (1_048_576.0, 0.0)


async def test_a_service_that_works() -> None:
    found = await sample("http", answering(http(b'{"status":"OK"}')), timeout_s=5.0)
    assert (found.status, found.error_code) == ("OK", None)


async def test_the_traffic_is_asked_for_the_objective_s_window() -> None:
    asked = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n")).split()[1])
        writer.write(http(json.dumps({"window_s": 5, "ok": 100, "failed": 0, "p95_ms": 3.0}).encode()))
        await writer.drain()

    found = await sample("traffic", handle, timeout_s=5.0)
    assert (found.status, found.metrics.request_rate, asked) == ("OK", 20.0, [b"/stats?window_s=5"])


@pytest.mark.parametrize("probe", list(KINDS))
async def test_nobody_listens(probe: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    async with prober(5.0) as asking:
        found = await asking.sample(device(probe, port), AT)
    assert (found.status, found.error_code, found.metrics.latency_ms) == ("ERROR", "ECONNREFUSED", None)


@pytest.mark.parametrize("probe", list(KINDS))
async def test_a_server_that_hangs(probe: str) -> None:
    found = await sample(probe, hang)
    assert (found.status, found.error_code) == ("ERROR", "TIMEOUT")


@pytest.mark.parametrize("probe", list(KINDS))
async def test_a_server_that_hangs_up(probe: str) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async def hang_up_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    found = await sample(probe, hang_up_at_once if probe == "nats" else hang_up, timeout_s=5.0)
    assert found.status == "ERROR"
    assert found.error_code in {"ECONNRESET", "RemoteProtocolError", "ReadError"}


@pytest.mark.parametrize("probe", list(KINDS))
@pytest.mark.parametrize(
    "noise",
    [b"\x00" * 100, b"garbage\r\n" * 50, b"\xff" * 70_000, b"HTTP/1.1 200 OK\r\n\r\n<html>", b"-ERR no\r\n"],
    ids=["zeros", "lines", "flood", "html", "refusal"],
)
async def test_a_server_that_talks_nonsense(probe: str, noise: bytes) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(noise)
        await writer.drain()
        await reader.read()

    found = await sample(probe, babble)
    assert found.status == "ERROR"
    assert found.error_code
    assert Telemetry.decode(found.encode()) == found


async def test_an_endless_answer_is_cut_off() -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    found = await sample("http", pour, timeout_s=5.0)
    assert (found.status, found.error_code) == ("ERROR", "BadAnswer")


async def test_a_database_that_is_starting_up() -> None:
    body = b"SFATAL\0C57P03\0Mthe database system is starting up\0\0"

    async def starting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"N")
        await reader.read(4_096)
        writer.write(b"E" + (len(body) + 4).to_bytes(4, "big") + body)
        await reader.read()

    found = await sample("postgres", starting, timeout_s=5.0)
    assert (found.status, found.error_code, found.log_sample) == (
        "ERROR",
        "57P03",
        "the database system is starting up",
    )


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        (b"R", b"", None),
        (b"E", b"SFATAL\0C28000\0Mno pg_hba.conf entry\0\0", None),
        (b"E", b"SFATAL\0C53300\0Mtoo many clients\0\0", "53300"),
        (b"E", b"", None),
        (b"X", b"", "BadAnswer"),
    ],
)
async def test_what_a_database_s_first_word_means(kind: bytes, body: bytes, code: str | None) -> None:
    fault = fault_of_postgres(kind, body)
    assert (fault and fault.code) == code


async def test_a_cache_that_still_loads_its_data() -> None:
    found = await sample("valkey", answering(b"-LOADING Valkey is loading the dataset\r\n", hang=True), timeout_s=5.0)
    assert (found.status, found.error_code, found.log_sample) == ("ERROR", "LOADING", "Valkey is loading the dataset")


@pytest.mark.parametrize("info", [b"", b"used_cpu_user:nan\r\nused_cpu_sys:x", b":::\r\n\xff", b"used_memory_rss:-5"])
async def test_odd_facts_of_a_cache_are_not_measured(info: bytes) -> None:
    facts = cache_facts(info)
    assert (facts.cpu_seconds, facts.mem_usage) == (None, None)


class FakeSampler:
    """Answers at once, hangs, or breaks, by the device's name."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.news = asyncio.Event()

    async def sample(self, device: Device, at: datetime) -> Telemetry:
        self.asked.append(device.name)
        self.news.set()
        if device.name == "hangs":
            await asyncio.sleep(3600)
        if device.name == "breaks":
            raise RuntimeError("a bug")
        metrics = Metrics(cpu_load=None, mem_usage=None, latency_ms=1.0)
        return Telemetry(device_id=device.name, timestamp=at, status="OK", metrics=metrics)


def sensors(journal: MemoryJournal, sampler: FakeSampler, *names: str) -> Sensors:
    return Sensors(
        Inventory(devices=tuple(device("http", 1, name) for name in names)),
        MemoryBroker(journal, "sensors-1", "sensors"),
        signing.signer("sensors", journal=journal),
        sampler,
        clock=lambda: AT,
        period_s=0.01,
    )


async def running(sensing: Sensors, sampler: FakeSampler, done: Callable[[], bool]) -> None:
    """Run the sensors until a condition holds at the taking of a sample."""
    task = asyncio.create_task(sensing.run())
    try:
        async with asyncio.timeout(10):
            while not done():
                sampler.news.clear()
                await sampler.news.wait()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_samples_are_published_signed_and_perishable() -> None:
    journal = MemoryJournal()
    sampler = FakeSampler()
    sensing = sensors(journal, sampler, "orders", "catalog")
    await running(sensing, sampler, lambda: len(journal.messages("triage.telemetry.*")) >= 6)
    gate = signing.gate("monitor")
    trusted = [gate.admit(stored) for stored in journal.messages("triage.telemetry.*")]
    assert {message.stored.subject for message in trusted} == {"triage.telemetry.orders", "triage.telemetry.catalog"}
    await journal.advance(3_601)
    assert journal.messages("triage.telemetry.*") == []


async def test_a_probe_that_hangs_or_breaks_never_stops_the_others() -> None:
    journal, sampler = MemoryJournal(), FakeSampler()
    sensing = sensors(journal, sampler, "hangs", "breaks", "works")
    await running(sensing, sampler, lambda: sampler.asked.count("works") >= 5 and sampler.asked.count("breaks") >= 5)
    assert sampler.asked.count("hangs") == 1
    assert {stored.subject for stored in journal.messages()} == {"triage.telemetry.works"}


async def test_without_a_broker_samples_are_dropped_and_later_ones_come_through() -> None:
    journal, sampler = MemoryJournal(), FakeSampler()
    sensing = sensors(journal, sampler, "works")
    journal.stop()
    await running(sensing, sampler, lambda: len(sampler.asked) >= 3)
    assert journal.log == []
    journal.restart()
    await running(sensing, sampler, lambda: len(journal.log) >= 2)


async def test_probe_errors_say_what_they_carry() -> None:
    error = ProbeError("TIMEOUT", "it hangs")
    assert (str(error), error.code, error.latency_ms) == ("it hangs", "TIMEOUT", None)
