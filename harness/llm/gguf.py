"""What a GGUF file says of itself, read from its head, and whether its end is there.

A file that is no model, or was cut while it was copied, is told apart here in a millisecond and in one sentence; the
engine itself would only say that it failed. Everything read is bounded: the file may be anybody's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from harness.errors import BadModelError, DamagedModelError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_ENTRIES = 10_000
MAX_TENSORS = 100_000
MAX_TEXT = 1_048_576
MAX_ITEMS = 10_000_000
DEFAULT_ALIGNMENT = 32
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_TEXT, _ARRAY = 8, 9
_BLOCKS: dict[int, tuple[int, int]] = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
}  # fmt: skip
"""Weights and bytes of one block, by type of tensor; a type that is not listed is not measured."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model file says of itself; its own words, bounded."""

    architecture: str
    title: str
    context: int | None
    """Longest context it was trained for, in tokens."""
    chats: bool
    """It brings a template for conversations."""
    embeds: bool
    """It is made for embeddings and answers no questions."""
    tensors: int


class _Cut(Exception):
    """The file ended before what it announced."""


def inspect(path: Path) -> ModelFacts:
    """Return what a file says of itself.

    Raises:
        BadModelError: it is no GGUF, or of a form nobody here knows. DamagedModelError: it was cut.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            raise BadModelError(f"{path} is no GGUF file; a model for llama.cpp begins with the letters GGUF")
        try:
            return _read(path, file, size)
        except _Cut:
            raise DamagedModelError(
                f"{path} was cut: {size} bytes are there and it announces more; fetch it again"
            ) from None


def _read(path: Path, file: BinaryIO, size: int) -> ModelFacts:
    version, tensors, entries = _scalar(file, "<I"), 0, 0
    if version not in VERSIONS:
        raise BadModelError(f"{path} is a GGUF file of version {version}; versions 2 and 3 can be served")
    tensors, entries = _scalar(file, "<Q"), _scalar(file, "<Q")
    if tensors > MAX_TENSORS or entries > MAX_ENTRIES:
        raise BadModelError(f"{path} announces {tensors} tensors and {entries} entries, which no model has")
    facts = {}
    for _ in range(entries):
        key = _text(path, file)
        facts[key] = _value(path, file, _scalar(file, "<I"))
    end = max((_tensor_end(path, file) for _ in range(tensors)), default=0)
    alignment = facts.get("general.alignment", DEFAULT_ALIGNMENT)
    step = alignment if isinstance(alignment, int) and 0 < alignment <= 65_536 else DEFAULT_ALIGNMENT
    if size < -(-file.tell() // step) * step + end:
        raise _Cut
    return _facts(facts, tensors)


def _facts(facts: dict[str, Any], tensors: int) -> ModelFacts:
    architecture = _word(facts.get("general.architecture"))
    context = facts.get(f"{architecture}.context_length")
    return ModelFacts(
        architecture=architecture,
        title=_word(facts.get("general.name")),
        context=context if isinstance(context, int) and not isinstance(context, bool) else None,
        chats="tokenizer.chat_template" in facts,
        embeds=f"{architecture}.pooling_type" in facts or architecture.endswith("bert"),
        tensors=tensors,
    )


def _word(value: Any) -> str:
    return value[:100] if isinstance(value, str) else ""


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise _Cut
    return data


def _scalar(file: BinaryIO, form: str) -> Any:
    return struct.unpack(form, _exactly(file, struct.calcsize(form)))[0]


def _text(path: Path, file: BinaryIO) -> str:
    length = _scalar(file, "<Q")
    if length > MAX_TEXT:
        raise BadModelError(f"{path} holds a text of {length} bytes in its head, which no model has")
    return _exactly(file, length).decode(errors="replace")


def _value(path: Path, file: BinaryIO, kind: int) -> Any:
    """Return a value of the head; arrays (vocabularies) are passed over."""
    if kind in _SCALARS:
        return _scalar(file, _SCALARS[kind])
    if kind == _TEXT:
        return _text(path, file)
    if kind != _ARRAY:
        raise BadModelError(f"{path} holds a value of the unknown type {kind} in its head; it is damaged or too new")
    item, count = _scalar(file, "<I"), _scalar(file, "<Q")
    if count > MAX_ITEMS or item == _ARRAY:
        raise BadModelError(f"{path} holds a list of {count} items in its head, which no model has")
    if item == _TEXT:
        for _ in range(count):
            _text(path, file)
    elif item in _SCALARS:
        _exactly(file, count * struct.calcsize(_SCALARS[item]))
    else:
        raise BadModelError(f"{path} holds a list of the unknown type {item} in its head; it is damaged or too new")
    return None


def _tensor_end(path: Path, file: BinaryIO) -> int:
    """Return where a tensor's data end, from the beginning of all data; as much of it as can be told."""
    _text(path, file)
    dimensions = _scalar(file, "<I")
    if dimensions > 8:
        raise BadModelError(f"{path} holds a tensor of {dimensions} dimensions, which no model has")
    weights = 1
    for _ in range(dimensions):
        weights *= _scalar(file, "<Q")
    kind, offset = _scalar(file, "<I"), _scalar(file, "<Q")
    per_block, block_bytes = _BLOCKS.get(kind, (1, 0))
    return int(offset + -(-weights // per_block) * block_bytes)
