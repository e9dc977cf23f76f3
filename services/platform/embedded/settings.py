"""Asking a running Valkey for its settings, in a few bytes of its own protocol: no client library, no login.

Blocking, and bounded: a server that does not answer in time, or answers in other words, has told nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from services.platform.differences import MASK, SECRET_NAME, UNSET
from services.platform.embedded.world import Program
from services.platform.port import Drift

TIMEOUT_S = 0.5
MAX_LINE = 4_096
PASSWORD = "requirepass"  # noqa: S105 - a setting's name


def settings_drift(program: Program) -> list[Drift]:
    """Compare the settings that a running server has with the declared ones; what it does not tell is no drift."""
    if program.probe != "valkey" or not program.settings:
        return []
    try:
        found = ask(program.host, program.port, tuple(program.settings))
    except (OSError, ValueError):
        return []
    if found is None:
        return [
            Drift("settings", PASSWORD, _shown(PASSWORD, program.settings.get(PASSWORD)), f"{MASK} (another value)")
        ]
    return compare(program.settings, found)


def compare(declared: Mapping[str, str], found: Mapping[str, str]) -> list[Drift]:
    """Name every setting that was told and differs."""
    return [
        Drift("settings", name, _shown(name, value), _shown(name, found[name]))
        for name, value in declared.items()
        if name in found and found[name] != value
    ]


def ask(host: str, port: int, names: Sequence[str]) -> dict[str, str] | None:
    """Return the settings of these names; None if the server wants a password first.

    Raises:
        OSError: no answer within half a second. ValueError: an answer of another kind.
    """
    with socket.create_connection((host, port), timeout=TIMEOUT_S) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.sendall(_request("CONFIG", "GET", *names))
        with connection.makefile("rb") as answer:
            return read(answer)


def read(answer: BinaryIO) -> dict[str, str] | None:
    """Read the answer: an array of names and values in turn.

    Raises:
        ValueError: it is something else. OSError: it does not come.
    """
    head = answer.readline(MAX_LINE)
    if head.startswith(b"-NOAUTH"):
        return None
    words = [_word(answer) for _ in range(_count(head, b"*"))]
    if len(words) % 2:
        raise ValueError("a name without a value")
    return dict(zip(words[::2], words[1::2], strict=True))


def _word(answer: BinaryIO) -> str:
    length = _count(answer.readline(MAX_LINE), b"$")
    word = answer.read(length + 2)
    if not word.endswith(b"\r\n") or len(word) != length + 2:
        raise ValueError("a word that is cut off")
    return word[:length].decode()


def _count(line: bytes, kind: bytes) -> int:
    if line[:1] != kind or line[-2:] != b"\r\n" or not line[1:-2].isdigit() or int(line[1:]) > MAX_LINE:
        raise ValueError(f"the answer begins with {line[:40]!r}")
    return int(line[1:])


def _request(*words: str) -> bytes:
    parts = [b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(parts)


def _shown(name: str, value: str | None) -> str:
    if not value:
        return UNSET
    return f"{MASK} (another value)" if name == PASSWORD or SECRET_NAME.search(name) else value
