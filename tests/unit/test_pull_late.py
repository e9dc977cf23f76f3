"""A message that comes after its pull was given up: a fault of timing, made certain by a server of the test's own.

The client's flush overtakes the unsubscription it should confirm, so no answer of the server says that nothing more
comes. With a real server it was seen once in 1,500 given-up pulls on a busy machine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from broker.jetstream_link import Link, open_link
from broker.jetstream_queue import PullQueue

pytestmark = pytest.mark.asyncio
REPLY = "$JS.ACK.TRIAGE.w-log.1.7.7.1795385038809144507.0"
PATIENCE_S = 5.0
BUSY_S = 0.05
"""How long the server is busy before it sends what it had matched."""


class LateServer:
    """Speaks just enough of the protocol to take one pull, and to answer it when it has been given up."""

    def __init__(self) -> None:
        self.pulled = asyncio.Event()
        self.handed_back: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._sid = b""
        self._sids: dict[bytes, bytes] = {}
        self._handed_over = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"server_id": "S", "version": "2.11.0", "max_payload": 1_048_576, "headers": True, "proto": 1}
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        while line := await reader.readline():
            verb, *words = line.split()
            match verb:
                case b"PING":
                    writer.write(b"PONG\r\n")
                case b"SUB":
                    self._sids[words[0]] = words[-1]
                case b"PUB":
                    body = (await reader.readexactly(int(words[-1]) + 2))[:-2]
                    self._take(words, body, writer)
                case b"UNSUB":
                    await self._hand_over_late(words[0], writer)
                case _:
                    pass
        writer.close()

    def _take(self, words: list[bytes], body: bytes, writer: asyncio.StreamWriter) -> None:
        if b"MSG.NEXT" in words[0]:
            self._sid = self._sids[words[1]]
            self.pulled.set()
        elif words[0].decode() == REPLY and not self.handed_back.done():
            self.handed_back.set_result(body)

    async def _hand_over_late(self, sid: bytes, writer: asyncio.StreamWriter) -> None:
        if sid == self._sid and not self._handed_over:
            self._handed_over = True
            await asyncio.sleep(BUSY_S)
            writer.write(b"MSG triage.task.log.i.t7.a1 " + sid + b" " + REPLY.encode() + b" 5\r\norder\r\n")


@pytest_asyncio.fixture
async def server() -> AsyncIterator[tuple[LateServer, Link]]:
    late = LateServer()
    listening = await asyncio.start_server(late.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    link = await open_link(f"nats://127.0.0.1:{port}", user="log", password="x", name="log-1")
    yield late, link
    await link.close()
    listening.close()


async def test_what_comes_after_a_pull_was_given_up_is_handed_back_at_once(server: tuple[LateServer, Link]) -> None:
    late, link = server
    queue = PullQueue(link, "w-log")
    waiting = asyncio.ensure_future(queue.pull(PATIENCE_S))
    await asyncio.wait_for(late.pulled.wait(), PATIENCE_S)
    waiting.cancel()
    assert await asyncio.wait_for(late.handed_back, PATIENCE_S) == b"-NAK"
