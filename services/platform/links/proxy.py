"""One link: a TCP proxy between a workload and what it depends on.

What a client sees is what the real network would show it:

- `ok`: bytes pass. If the destination refuses, the listener closes until it takes connections again, so that clients
  get ECONNREFUSED as without a proxy.
- `partition`: packets vanish, as by iptables DROP. Connections stall, in both directions, and so do new ones: they are
  taken (a userspace proxy cannot leave a handshake unanswered) and nothing ever comes back.
- `refuse`: ECONNREFUSED, and existing connections are reset.
- `latency`: every chunk of bytes is held back, each way.
- `drop`: a seeded share of new connections is reset.

Healing resets the connections that lost bytes; the others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field

from broker.tasks import end
from services.platform.fault_port import LinkFault
from services.platform.links.model import OK, delay_s, drops

HOST = "127.0.0.1"
CHUNK = 64 * 1024
DIAL_TIMEOUT_S = 10.0
MIRROR_POLL_S = 0.1
MAX_HELD = 4 * 1024 * 1024
"""Bytes held back by latency in one direction of one connection before reading pauses."""


@dataclass(eq=False)
class _Connection:
    """One client, and its way on to the destination once there is one."""

    client: asyncio.StreamWriter
    upstream: asyncio.StreamWriter | None = None
    stalled: bool = False
    """Bytes were lost: the connection can only be reset."""
    held: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once nothing of it is left in this process."""

    def reset(self) -> None:
        """Send RST both ways and forget what is still held back."""
        self.done.set()
        for writer in (self.client, self.upstream):
            if writer is not None:
                _reset(writer)

    async def finish(self) -> None:
        """Close both ways once everything written is flushed; a stalled connection is reset."""
        if self.stalled or self.done.is_set():
            self.reset()
            return
        self.done.set()
        for writer in (self.client, self.upstream):
            if writer is not None:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()


class LinkProxy:
    """The proxy of one link, listening on `port` for connections to `target_port`."""

    def __init__(self, name: str, port: int, target_port: int, fault: LinkFault = OK) -> None:
        self.name = name
        self.port = port
        self.target_port = target_port
        self._fault = fault
        self._number = 0
        self._server: asyncio.Server | None = None
        self._mirror: asyncio.Task[None] | None = None
        self._connections: set[_Connection] = set()

    @property
    def fault(self) -> LinkFault:
        """What the link does now."""
        return self._fault

    @property
    def connections(self) -> int:
        """Number of open connections, stalled ones included."""
        return len(self._connections)

    async def start(self) -> None:
        """Listen, unless connections are to be refused.

        Raises:
            OSError: the port is taken.
        """
        if self._fault.mode != "refuse":
            await self._listen()

    async def set(self, fault: LinkFault) -> None:
        """Change what the link does, from now on; the same fault again changes nothing."""
        if fault == self._fault:
            return
        self._fault, self._number = fault, 0
        await self._stop_mirroring()
        for connection in tuple(self._connections):
            if fault.mode == "refuse" or (connection.stalled and fault.mode != "partition"):
                connection.reset()
        if fault.mode == "refuse":
            self._close_listener()
        else:
            await self._listen()

    async def close(self) -> None:
        """Stop listening, reset every connection and wait until they are gone."""
        await self._stop_mirroring()
        self._close_listener()
        for connection in tuple(self._connections):
            connection.reset()
            await connection.gone.wait()

    # -- listening

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, HOST, self.port, limit=CHUNK)

    def _close_listener(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _mirror_refusal(self) -> None:
        """Refuse as the destination does, until it takes connections again."""
        if self._mirror is None and self._fault.mode not in ("partition", "refuse"):
            self._close_listener()
            self._mirror = asyncio.create_task(self._await_destination())

    async def _await_destination(self) -> None:
        while True:
            await asyncio.sleep(MIRROR_POLL_S)
            try:
                _, writer = await asyncio.open_connection(HOST, self.target_port)
            except OSError:
                continue
            writer.close()
            break
        self._mirror = None
        await self._listen()

    async def _stop_mirroring(self) -> None:
        task, self._mirror = self._mirror, None
        if task is not None:
            await end(task)

    # -- connections

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._number += 1
        if drops(self.name, self._fault, self._number):
            _reset(writer)
            return
        connection = _Connection(writer)
        self._connections.add(connection)
        try:
            if self._fault.mode == "partition":
                connection.stalled = True
                await self._swallow(reader, connection)
            else:
                await self._connect(reader, connection)
            await connection.finish()
        finally:
            self._connections.discard(connection)
            connection.gone.set()

    async def _swallow(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        """Read and lose everything until the client gives up or the connection is reset."""
        with contextlib.suppress(OSError):
            while not connection.done.is_set() and await reader.read(CHUNK):
                pass

    async def _connect(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        await asyncio.sleep(delay_s(self._fault))
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                back, connection.upstream = await asyncio.open_connection(HOST, self.target_port, limit=CHUNK)
        except (OSError, TimeoutError) as error:
            if isinstance(error, ConnectionRefusedError):
                self._mirror_refusal()
            connection.reset()
            return
        if connection.done.is_set():  # reset while dialling
            _reset(connection.upstream)
            return
        pumps = (
            asyncio.create_task(self._pump(reader, connection.upstream, connection)),
            asyncio.create_task(self._pump(back, connection.client, connection)),
        )
        try:
            await asyncio.gather(*pumps)
        finally:
            for pump in pumps:
                pump.cancel()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: _Connection) -> None:
        """Carry one direction until it ends; a broken one resets the whole connection."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            while data := await reader.read(CHUNK):
                # Never before what was read earlier, also when the latency shrinks meanwhile.
                due = max(due + 1e-6, loop.time() + delay_s(self._fault))
                if delay_s(self._fault) == 0.0 and connection.held == 0:
                    self._deliver(data, writer, connection)
                else:
                    connection.held += len(data)
                    loop.call_at(due, self._deliver_held, data, writer, connection)
                    if connection.held > MAX_HELD:
                        await asyncio.sleep(due - loop.time())
                await writer.drain()
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self._end(writer, connection)
        except OSError:
            await self._break(connection)

    def _deliver_held(self, data: bytes, writer: asyncio.StreamWriter, connection: _Connection) -> None:
        connection.held -= len(data)
        self._deliver(data, writer, connection)

    def _deliver(self, data: bytes, writer: asyncio.StreamWriter, connection: _Connection) -> None:
        if self._fault.mode == "partition":
            connection.stalled = True
        if not connection.stalled and not writer.is_closing():
            writer.write(data)

    async def _end(self, writer: asyncio.StreamWriter, connection: _Connection) -> None:
        """Pass on that one side has nothing more to say; in a partition the other side never hears of it."""
        if self._fault.mode == "partition":
            connection.stalled = True
        if connection.stalled:
            await connection.done.wait()
        elif not writer.is_closing():
            writer.write_eof()

    async def _break(self, connection: _Connection) -> None:
        if self._fault.mode == "partition":
            connection.stalled = True
            await connection.done.wait()
        connection.reset()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN (linger 0), whatever is unread or unsent."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0 and not writer.is_closing():
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
