"""What holds until somebody says otherwise outlives the journal's maximal age."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from broker.contracts.control import Halt, Resume, Rotate
from broker.jetstream import connect
from broker.jetstream_link import open_link
from broker.jetstream_setup import ensure, stream_configs
from broker.port import Fence, Stored
from broker.subjects import ADMIN_USER, STREAM
from tests.support.nats_server import NatsServer, running_server
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration
HALT, RESUME, ROTATE = (word.subject() for word in (Halt(reason=""), Resume(reason=""), Rotate(key_version=1)))


async def let_age_after_a_second(server: NatsServer) -> None:
    config = next(config for config in stream_configs() if config["name"] == STREAM)
    short = {**config, "max_age": 1_000_000_000, "duplicate_window": 500_000_000}
    link = await open_link(server.url, user=ADMIN_USER, password=server.passwords[ADMIN_USER], name="setup")
    try:
        answer = await link.request(f"$JS.API.STREAM.UPDATE.{STREAM}", json.dumps(short).encode(), timeout_s=5.0)
        assert "error" not in json.loads(answer.data)
    finally:
        await link.close()


@pytest.mark.asyncio
async def test_a_standing_halt_is_read_when_all_around_it_has_aged_out(tmp_path: Path) -> None:
    with running_server(tmp_path / "nats") as server:
        await ensure(server.url, password=server.passwords[ADMIN_USER])
        await let_age_after_a_second(server)
        password = server.passwords["operator"]
        operator = await connect(server.url, role="operator", instance="op-1", password=password)
        try:
            await operator.publish(ROTATE, b"before")
            # Nobody ever resumed: a fence on an empty subject holds, too.
            seq = await operator.publish(HALT, b"halt", lasting=True, fence=Fence(RESUME, 0))
            await operator.publish(ROTATE, b"after")

            async def only_the_halt_is_left() -> bool:
                found = [item async for item in operator.read(pattern="triage.control.>", follow=False)]
                return [(item.seq, item.data) for item in found if isinstance(item, Stored)] == [(seq, b"halt")]

            await eventually(only_the_halt_is_left)
        finally:
            await operator.close()
