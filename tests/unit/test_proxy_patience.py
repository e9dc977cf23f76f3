"""How long the proxy waits for a caller who does not say what he wants, or does not take his answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.platform.port import Workload
from services.platform.proxy import listening
from services.platform.proxy.listening import CALLERS_OF_ONE_ADDRESS
from tests.support.proxy_world import ManagedPlatform, MemoryWorld, Proxied, proxied
from tests.support.world import running

PATIENCE_S = 0.3


@pytest_asyncio.fixture
async def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxied]:
    monkeypatch.setattr(listening, "PATIENCE_S", PATIENCE_S)
    async with proxied(tmp_path, MemoryWorld(ManagedPlatform({"orders": running("orders")}))) as served:
        yield served


async def opened(proxy: Proxied) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = proxy.url.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port))


async def is_hung_up(reader: asyncio.StreamReader) -> None:
    """Read until the other end has closed."""
    async with asyncio.timeout(5):
        try:
            while await reader.read(65_536):
                pass
        except ConnectionResetError:
            return


HEAD = b"POST /v1/list HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"


@pytest.mark.parametrize(
    ("begin", "drip"),
    [(b"", b""), (b"POST /v1/list HTTP/1.1\r\n", b"X: y\r\n"), (HEAD, b""), (HEAD + b"\r\n", b" ")],
    ids=["nothing", "a head that drips in", "half a head", "a body that drips in"],
)
@pytest.mark.asyncio
async def test_a_call_that_is_never_finished_is_hung_up_on(proxy: Proxied, begin: bytes, drip: bytes) -> None:
    reader, writer = await opened(proxy)

    async def go_on() -> None:
        while True:
            writer.write(drip)
            await asyncio.sleep(PATIENCE_S / 10)

    writer.write(begin)
    dripping = asyncio.create_task(go_on())
    try:
        await is_hung_up(reader)
    finally:
        dripping.cancel()
        writer.close()
    assert len(await proxy.platform("log").list()) == 1


@pytest.mark.asyncio
async def test_answers_that_nobody_takes_are_dropped(proxy: Proxied) -> None:
    many = {f"w{number}": Workload(f"w{number}", True, "running", 1, 1, 0, ()) for number in range(20_000)}
    proxy.world.platform.workloads = many
    token = proxy.token("log").read_text().strip()
    reader, writer = await opened(proxy)
    call = f"POST /v1/list HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n{{}}"
    writer.write(call.encode() * 8)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.sleep(PATIENCE_S * 4)
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    await is_hung_up(reader)
    writer.close()


@pytest.mark.asyncio
async def test_a_call_that_takes_longer_is_waited_for_and_the_connection_serves_the_next(proxy: Proxied) -> None:
    async def slow(name: str) -> Workload:
        await asyncio.sleep(PATIENCE_S * 2)
        return running(name)

    proxy.world.platform.inspect = slow
    token = proxy.token("log").read_text().strip()
    reader, writer = await opened(proxy)
    head = f"POST /v1/inspect HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 17\r\n"
    for rest in ("", "", "Connection: close\r\n"):
        writer.write(f'{head}{rest}\r\n{{"name":"orders"}}'.encode())
        async with asyncio.timeout(5):
            answer = await reader.readuntil(b"}")
        assert answer.startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.asyncio
async def test_a_stream_of_events_outlasts_the_patience(proxy: Proxied) -> None:
    token = proxy.token("sensors").read_text().strip()
    reader, writer = await opened(proxy)
    writer.write(f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    async with asyncio.timeout(5):
        await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(PATIENCE_S * 2)
    assert not reader.at_eof()
    writer.close()


@pytest.mark.asyncio
async def test_one_address_cannot_take_all_connections(proxy: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "PATIENCE_S", 30.0)
    first, *others = [await opened(proxy) for _ in range(CALLERS_OF_ONE_ADDRESS + 1)]
    await is_hung_up(others[-1][0])
    first[1].write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await first[0].readline()).startswith(b"HTTP/1.1 200")
    for _, writer in (first, *others):
        writer.close()
