"""Asking a workload itself whether it is well: an HTTP check, or the handshake of its protocol. No client library: a
handshake says that the server is up and serving, and needs no account."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from broker.contracts.inventory import Probe

MAX_ANSWER = 64 * 1024


@dataclass(frozen=True, slots=True)
class Health:
    """Answer of a check. `answered` is True as soon as the workload spoke, also if it spoke of trouble."""

    healthy: bool
    answered: bool
    sentence: str


class _Unwell(Exception):
    """The workload answered, and what it said is no good news."""


async def check(probe: Probe, host: str, port: int, timeout_s: float) -> Health:
    """Ask once. Never raises; whatever went wrong stands in the sentence."""
    try:
        async with asyncio.timeout(timeout_s):
            sentence = await _CHECKS[probe](host, port)
    except TimeoutError:
        return Health(False, False, f"no answer from {host}:{port} within {timeout_s:g} s")
    except _Unwell as error:
        return Health(False, True, str(error))
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        return Health(False, False, f"{host}:{port} does not answer: {type(error).__name__}: {error}")
    return Health(True, True, sentence)


async def check_http(host: str, port: int, path: str) -> str:
    """GET a path; fine if the status is 2xx.

    Raises:
        _Unwell, OSError, ValueError.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()
    answer = await _talk(host, port, request, lambda reader: reader.read(MAX_ANSWER))
    if not answer.startswith(b"HTTP/1."):
        raise ValueError("that is no HTTP answer")
    status = int(answer.split(b" ", 2)[1][:3])
    if not 200 <= status < 300:
        raise _Unwell(f"{path} answers {status}")
    return f"{path} answers {status}"


async def _postgres(host: str, port: int) -> str:
    # Start-up message (protocol 3.0): "R" asks for a password, so the server takes clients; "E" says why it does not.
    body = struct.pack("!I", 196_608) + b"user\0healthcheck\0database\0postgres\0\0"
    answer = await _talk(host, port, struct.pack("!I", len(body) + 4) + body, lambda reader: reader.read(512))
    if answer[:1] == b"R":
        return "PostgreSQL takes connections"
    if answer[:1] == b"E":
        raise _Unwell(f"PostgreSQL refuses connections: {_postgres_message(answer)}")
    raise ValueError("that is no PostgreSQL")


def _postgres_message(answer: bytes) -> str:
    fields = answer[5:].split(b"\0")
    return next((field[1:].decode(errors="replace") for field in fields if field[:1] == b"M"), "no reason given")


async def _valkey(host: str, port: int) -> str:
    answer = await _talk(host, port, b"PING\r\n", lambda reader: reader.readuntil(b"\r\n"))
    if answer != b"+PONG\r\n":
        raise _Unwell(f"Valkey answers {answer.decode(errors='replace').strip()[:100]}")
    return "Valkey answers PONG"


async def _nats(host: str, port: int) -> str:
    async def handshake(reader: asyncio.StreamReader) -> bytes:
        return await reader.readuntil(b"\r\n")

    answer = await _talk(host, port, b"", handshake)
    if not answer.startswith(b"INFO "):
        raise ValueError("that is no NATS server")
    return "NATS sends its greeting"


async def _service(host: str, port: int) -> str:
    return await check_http(host, port, "/healthz")


async def _traffic(host: str, port: int) -> str:
    return await check_http(host, port, "/stats")


async def _talk(
    host: str, port: int, request: bytes, read: Callable[[asyncio.StreamReader], Awaitable[bytes]]
) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        await writer.drain()
        answer = await read(reader)
        if not answer:
            raise ConnectionResetError("closed without an answer")
        return answer
    finally:
        writer.transport.abort()  # nothing more is wanted, and a frozen peer must not hold the caller


_CHECKS: dict[Probe, Callable[[str, int], Awaitable[str]]] = {
    "http": _service,
    "traffic": _traffic,
    "postgres": _postgres,
    "valkey": _valkey,
    "nats": _nats,
}
