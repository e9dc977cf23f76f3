"""What a client sees of a link under each fault, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from services.platform.fault_port import LinkFault
from services.platform.links.model import OK
from services.platform.links.proxy import HOST, LinkProxy
from tests.support.embedded_world import free_ports
from tests.support.waiting import eventually

PARTITION = LinkFault("partition")
REFUSE = LinkFault("refuse")
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Site:
    """An echo server behind a link."""

    proxy: LinkProxy
    server: asyncio.Server

    async def connect(self) -> Ends:
        return await asyncio.open_connection(HOST, self.proxy.port)


ECHOING: set[asyncio.StreamWriter] = set()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    ECHOING.add(writer)
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    ECHOING.discard(writer)


async def _silent() -> bool:
    return not ECHOING


@asynccontextmanager
async def site(fault: LinkFault = OK) -> AsyncIterator[Site]:
    way, target = free_ports(2)
    here = Site(LinkProxy("a--b", way, target, fault), await asyncio.start_server(_echo, HOST, target))
    await here.proxy.start()
    try:
        yield here
    finally:
        await here.proxy.close()
        await eventually(_silent)
        here.server.close()
        await here.server.wait_closed()


async def ask(ends: Ends, text: bytes, timeout_s: float = 2.0) -> bytes:
    ends[1].write(text)
    await ends[1].drain()
    return await asyncio.wait_for(ends[0].read(1_000), timeout_s)


async def hang_up(*all_ends: Ends) -> None:
    for _, writer in all_ends:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.asyncio
async def test_bytes_pass_unchanged_both_ways_also_large_ones() -> None:
    async with site() as here:
        reader, writer = await here.connect()
        sent = bytes(range(256)) * 8_000
        writer.write(sent)
        assert await asyncio.wait_for(reader.readexactly(len(sent)), 5.0) == sent
        await hang_up((reader, writer))


@pytest.mark.asyncio
async def test_an_answer_still_comes_after_the_client_has_nothing_more_to_say() -> None:
    async with site() as here:
        reader, writer = await here.connect()
        sent = b"x" * 1_000_000
        writer.write(sent)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5.0) == sent
        await hang_up((reader, writer))


@pytest.mark.asyncio
async def test_a_partition_stalls_old_and_new_connections() -> None:
    async with site() as here:
        old = await here.connect()
        assert await ask(old, b"before") == b"before"
        await here.proxy.set(PARTITION)
        new = await here.connect()
        for ends in (old, new):
            with pytest.raises(TimeoutError):
                await ask(ends, b"lost", timeout_s=0.1)
        await hang_up(old, new)


@pytest.mark.asyncio
async def test_healing_a_partition_resets_what_lost_bytes_and_spares_what_lost_none() -> None:
    async with site() as here:
        talker, idler = await here.connect(), await here.connect()
        assert await ask(talker, b"1") + await ask(idler, b"2") == b"12"
        await here.proxy.set(PARTITION)
        with pytest.raises(TimeoutError):
            await ask(talker, b"lost", timeout_s=0.1)
        await here.proxy.set(OK)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(talker[0].read(10), 2.0)
        assert await ask(idler, b"still here") == b"still here"
        await hang_up(talker, idler)


@pytest.mark.asyncio
async def test_in_a_partition_clients_that_give_up_leave_nothing_behind() -> None:
    async with site(PARTITION) as here:
        ends = [await here.connect() for _ in range(5)]

        async def all_in() -> bool:
            return here.proxy.connections == 5

        async def none_left() -> bool:
            return here.proxy.connections == 0

        await eventually(all_in)
        await hang_up(*ends)
        await eventually(none_left)


@pytest.mark.asyncio
async def test_refusing_resets_old_connections_and_new_ones_are_refused_until_healed() -> None:
    async with site() as here:
        old = await here.connect()
        assert await ask(old, b"x") == b"x"
        await here.proxy.set(REFUSE)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(old[0].read(10), 2.0)
        with pytest.raises(ConnectionRefusedError):
            await here.connect()
        await here.proxy.set(OK)
        again = await here.connect()
        assert await ask(again, b"y") == b"y"
        await hang_up(old, again)


@pytest.mark.asyncio
async def test_latency_delays_each_way_and_keeps_the_order() -> None:
    async with site(LinkFault("latency", latency_ms=100.0)) as here:
        reader, writer = await here.connect()
        began = time.monotonic()
        for number in range(20):
            writer.write(b"%02d" % number)
            await asyncio.sleep(0.001)
        got = await asyncio.wait_for(reader.readexactly(40), 5.0)
        assert got == b"".join(b"%02d" % number for number in range(20))
        assert time.monotonic() - began >= 0.2
        await here.proxy.set(LinkFault("latency", latency_ms=600_000.0))
        await here.proxy.set(OK)
        assert await asyncio.wait_for(ask((reader, writer), b"fast"), 60.0) == b"fast"
        await hang_up((reader, writer))


@pytest.mark.asyncio
async def test_dropping_resets_the_same_connections_for_the_same_seed() -> None:
    async def outcomes(seed: int) -> list[bool]:
        async with site(LinkFault("drop", drop_ratio=0.4, seed=seed)) as here:
            return [await _survives(here) for _ in range(25)]

    first, again, other = await outcomes(1), await outcomes(1), await outcomes(2)
    assert first == again
    assert first != other
    assert 0 < first.count(False) < 25


async def _survives(here: Site) -> bool:
    try:
        ends = await here.connect()
    except ConnectionError:
        return False
    try:
        return await ask(ends, b"?") == b"?"
    except ConnectionError:
        return False
    finally:
        await hang_up(ends)


@pytest.mark.asyncio
async def test_a_destination_that_refuses_is_refused_by_the_link_until_it_is_back() -> None:
    async with site() as here:
        here.server.close()
        await here.server.wait_closed()
        ends = await here.connect()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(ends[0].read(10), 2.0)
        with pytest.raises(ConnectionRefusedError):
            await here.connect()
        here.server = await asyncio.start_server(_echo, HOST, here.proxy.target_port)

        async def back() -> bool:
            again = await here.connect()
            answer = await ask(again, b"!")
            await hang_up(again)
            return answer == b"!"

        await eventually(back)
        await hang_up(ends)


@pytest.mark.asyncio
async def test_the_same_fault_again_disturbs_nobody() -> None:
    async with site(LinkFault("latency", latency_ms=1.0)) as here:
        ends = await here.connect()
        await here.proxy.set(LinkFault("latency", latency_ms=1.0))
        assert await ask(ends, b"x") == b"x"
        await hang_up(ends)
