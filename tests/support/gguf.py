"""Small GGUF files: proper ones, and ones damaged in a chosen place."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(item: Any) -> bytes:
    """Return an entry's type and value."""
    if isinstance(item, str):
        return struct.pack("<I", 8) + text(item)
    if isinstance(item, int):
        return struct.pack("<II", 4, item)
    assert isinstance(item, list)
    return struct.pack("<IIQ", 9, 8, len(item)) + b"".join(text(one) for one in item)


ENTRIES: dict[str, Any] = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "llama.context_length": 64,
    "tokenizer.ggml.tokens": ["a", "b", "c"],
    "tokenizer.chat_template": "{{ messages }}",
}


def gguf(entries: dict[str, Any] | None = None, *, version: int = 3, tensors: int = 2, weights: int = 64) -> bytes:
    """Return a file of tensors of `weights` half-precision numbers each."""
    entries = ENTRIES if entries is None else entries
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, len(entries))
    head += b"".join(text(key) + value(item) for key, item in entries.items())
    for number in range(tensors):
        head += text(f"blk.{number}.weight") + struct.pack("<IQIQ", 1, weights, 1, number * weights * 2)
    head += bytes(-len(head) % 32)
    return head + bytes(tensors * weights * 2)


def write(path: Path, data: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(data)
    return path
