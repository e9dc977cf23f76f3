"""The few bytes of each server's own protocol that show it works: a handshake or a ping, no login, no change.

Pure where bytes are judged; the coroutines only move them. Every read is bounded in length; time is bounded by the
caller.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass

from monitor_svc.errors import ProbeError
from monitor_svc.sensors.clean import clean_code, clean_text, number, parse_object

MAX_ANSWER = 65_536
USER = "health_probe"
"""A name without a database account: the handshake is ended before anybody would look it up."""
SSL_REQUEST = struct.pack(">II", 8, 80_877_103)
PROTOCOL_3 = 196_608
CANNOT_SERVE = frozenset({"57P03", "57P01", "57P02", "53300"})
"""Starting up, shutting down, crashed, out of connections."""


@dataclass(frozen=True, slots=True)
class CacheFacts:
    """What the cache's INFO tells."""

    cpu_seconds: float | None
    """Processor time used since it started."""
    mem_usage: float | None
    """Resident bytes."""


def startup_message() -> bytes:
    """Return PostgreSQL's start-up packet, which is answered by a request for a password."""
    body = struct.pack(">I", PROTOCOL_3) + b"user\0" + USER.encode() + b"\0database\0postgres\0\0"
    return struct.pack(">I", len(body) + 4) + body


def fault_of_postgres(kind: bytes, body: bytes) -> ProbeError | None:
    """Return what a database's first message says against it: None for a request to authenticate (`R`), and for an
    error that only means that the probe may not come in."""
    if kind == b"R":
        return None
    if kind != b"E":
        return ProbeError("BadAnswer", "the database's port answers another protocol")
    fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    code = clean_code(fields.get(b"C")) or "unknown"
    if code not in CANNOT_SERVE:
        return None
    return ProbeError(code, clean_text(fields.get(b"M"), 200) or "the database refuses connections")


async def postgres(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Shake hands up to the request for a password: that needs a live postmaster and a forked backend.

    Raises:
        ProbeError: it cannot serve, or speaks something else.
        OSError, EOFError: the connection broke.
    """
    writer.write(SSL_REQUEST)
    if await reader.readexactly(1) == b"S":
        return
    writer.write(startup_message())
    kind = await reader.readexactly(1)
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    body = await reader.readexactly(min(max(length - 4, 0), MAX_ANSWER))
    fault = fault_of_postgres(kind, body)
    if fault is not None:
        raise fault


def cache_facts(info: bytes) -> CacheFacts:
    """Read the few fields of INFO that telemetry carries; what is missing or odd is None."""
    lines = info.decode(errors="replace").splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    user, system = (_real(fields.get(f"used_cpu_{kind}")) for kind in ("user", "sys"))
    cpu_seconds = None if user is None or system is None else user + system
    return CacheFacts(cpu_seconds, _real(fields.get("used_memory_rss")))


def _real(text: str | None) -> float | None:
    try:
        return None if text is None else number(float(text))
    except ValueError:
        return None


async def valkey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> CacheFacts:
    """Ping the cache and ask what it uses.

    Raises:
        ProbeError: it answers the ping with an error (it loads its data, say) or speaks something else.
        OSError, EOFError: the connection broke.
    """
    writer.write(b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nINFO\r\n")
    answer = await _line(reader)
    if answer.startswith(b"-NOAUTH"):
        return CacheFacts(None, None)
    if answer.startswith(b"-"):
        code, _, text = answer[1:].decode(errors="replace").partition(" ")
        raise ProbeError(clean_code(code) or "unknown", clean_text(text, 200) or "the cache refuses to answer")
    if answer != b"+PONG":
        raise ProbeError("BadAnswer", "the cache's port answers another protocol")
    head = await _line(reader)
    if not head.startswith(b"$") or not head[1:].isdigit() or int(head[1:]) > MAX_ANSWER:
        return CacheFacts(None, None)
    return cache_facts(await reader.readexactly(int(head[1:])))


async def nats(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Wait for the queue's greeting, then ping it.

    Raises:
        ProbeError: it speaks something else or answers with an error other than a missing login.
        OSError, EOFError: the connection broke.
    """
    greeting = await _line(reader)
    facts = parse_object(greeting[5:]) if greeting.startswith(b"INFO ") else None
    if facts is None:
        raise ProbeError("BadAnswer", "the queue's port answers another protocol")
    if facts.get("auth_required"):
        return
    writer.write(b'CONNECT {"verbose":false,"pedantic":false,"name":"health_probe","lang":"probe","version":"1"}\r\n')
    writer.write(b"PING\r\n")
    while (answer := await _line(reader)) != b"PONG":
        if answer.startswith(b"-ERR"):
            text = clean_text(answer[4:].decode(errors="replace"), 200)
            raise ProbeError("NatsError", text or "the queue refuses to answer")


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        line = await reader.readuntil(b"\r\n")
    except asyncio.LimitOverrunError as error:
        raise ProbeError("BadAnswer", "the answer is longer than any of its protocol") from error
    return line[:-2]
