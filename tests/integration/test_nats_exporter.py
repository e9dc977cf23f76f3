"""The exporter against the real server: streams, durable consumers, and a server that goes away and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.contracts.incident import IncidentReported
from broker.jetstream import connect, ensure
from broker.subjects import ADMIN_USER
from tests.support.nats_server import NatsServer, free_port, running_server
from tests.support.signing import signer
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]


@contextmanager
def running_exporter(server: NatsServer) -> Iterator[str]:
    """Run the exporter's own process for the length of a block; give its address."""
    port = free_port()
    command = [sys.executable, "-m", "deploy.nats.exporter", "--port", str(port)]
    process = subprocess.Popen([*command, f"http://127.0.0.1:{server.monitoring_port}"], env=os.environ.copy())
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


async def shown(url: str) -> dict[tuple[str, ...], float]:
    """Return samples by name and the labels' values."""
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"{url}/metrics")).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value for sample in samples}


async def healthz(url: str) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"{url}/healthz")).status_code


async def test_the_journal_and_its_queues_are_shown(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        await ensure(server.url, server.passwords[ADMIN_USER])
        with running_exporter(server) as url:
            await eventually(lambda: _is(url, 200), 15)
            operator = await connect(
                server.url, role="operator", instance="operator-1", password=server.passwords["operator"]
            )
            report = IncidentReported(incident="i1", text="slow", source="operator")
            await operator.publish(report.subject(), signer("operator").seal(report))

            async def counted() -> bool:
                found = await shown(url)
                return found["nats_stream_messages", "127.0.0.1", "TRIAGE"] == 1

            await eventually(counted, 15)
            found = await shown(url)
            await operator.close()
            assert found["nats_stream_last_seq", "127.0.0.1", "TRIAGE"] == 1
            assert {key[1] for key in found if key[0] == "nats_consumer_pending_messages"} >= {"w-log", "w-metric"}
            assert found["nats_up", "127.0.0.1"] == 1
            assert found["nats_jetstream_storage_limit_bytes", "127.0.0.1"] > 0

            server.kill()
            await eventually(lambda: _is(url, 503), 15)
            gone = await shown(url)
            assert {key[0] for key in gone} == {"nats_up"}
            await asyncio.to_thread(server.start)
            await eventually(lambda: _is(url, 200), 15)


async def _is(url: str, status: int) -> bool:
    return await healthz(url) == status
