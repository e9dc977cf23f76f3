"""The name that the network's DNS has for an address: a PTR question, asked of the name server itself.

`socket.gethostbyaddr` would read /etc/hosts first, where a container's own address has its bare host name.
"""

from __future__ import annotations

import secrets
import socket
import struct
from ipaddress import ip_address
from pathlib import Path

RESOLVER = Path("/etc/resolv.conf")
TIMEOUT_S = 1.0
TRIES = 3
_PTR, _INTERNET = 12, 1
_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_POINTER = 0xC0


def name_of(address: str, server: str | None = None) -> str | None:
    """Return the name of an address, or None: no server, no answer, or it knows none.

    Args:
        server: whom to ask; the first name server of /etc/resolv.conf unless given.
    """
    server = server or _name_server()
    if server is None:
        return None
    for _ in range(TRIES):
        number = secrets.randbelow(1 << 16)
        try:
            answer = _ask(server, question(number, address))
            return read_answer(answer, number)
        except (OSError, ValueError, struct.error, IndexError):
            continue
    return None


def question(number: int, address: str) -> bytes:
    """Return the packet that asks for an address' name."""
    name = ip_address(address).reverse_pointer
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return _HEADER.pack(number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", _PTR, _INTERNET)


def read_answer(packet: bytes, number: int) -> str | None:
    """Return the first name of an answer, or None if it holds none.

    Raises:
        ValueError, struct.error, IndexError: it is no answer to question `number`, or cut short.
    """
    got, _, questions, answers, _, _ = _HEADER.unpack_from(packet)
    if got != number:
        raise ValueError("an answer to another question")
    at = _HEADER.size
    for _ in range(questions):
        at = _name_at(packet, at)[1] + 4
    for _ in range(answers):
        at = _name_at(packet, at)[1]
        kind, _, _, length = _RECORD.unpack_from(packet, at)
        at += _RECORD.size
        if kind == _PTR:
            return _name_at(packet, at)[0]
        at += length
    return None


def _name_at(packet: bytes, at: int) -> tuple[str, int]:
    """Return the name that begins at an offset, and the offset behind it. A part may point back to an earlier one."""
    labels: list[str] = []
    end: int | None = None
    for _ in range(len(packet)):  # bounded: a packet of hostile pointers must not turn us in circles
        length = packet[at]
        if length == 0:
            return ".".join(labels), end or at + 1
        if length & _POINTER == _POINTER:
            end = end or at + 2
            at = (length & ~_POINTER) << 8 | packet[at + 1]
            continue
        labels.append(packet[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    raise ValueError("a name without an end")


def _ask(server: str, packet: bytes) -> bytes:
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(TIMEOUT_S)
        asking.connect((server, 53))
        asking.send(packet)
        return asking.recv(4_096)


def _name_server() -> str | None:
    try:
        lines = RESOLVER.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return next((parts[1] for parts in map(str.split, lines) if parts[:1] == ["nameserver"] and len(parts) > 1), None)
