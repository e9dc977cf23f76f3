"""Animated WebP out of single pictures: the container alone, since the browser encodes every frame by itself.

RFC 9649: a RIFF file of the chunks VP8X, ANIM and, for each frame, ANMF, which holds the frame's own image chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

ANIMATED = 0x02
NO_BLEND = 0x02


def animated(frames: Sequence[tuple[bytes, int]], width: int, height: int) -> bytes:
    """Return one animated WebP that plays for ever.

    Args:
        frames: lossy or lossless WebP files of one size without transparency, each with how long it stands,
            milliseconds.
        width, height: of every frame, pixels.

    Raises:
        ValueError: there are no frames, or one of them is no such file.
    """
    if not frames:
        raise ValueError("an animated picture has at least one frame")
    head = bytes([ANIMATED, 0, 0, 0]) + _u24(width - 1) + _u24(height - 1)
    body = _chunk(b"VP8X", head) + _chunk(b"ANIM", bytes(6))
    for data, ms in frames:
        place = bytes(6) + _u24(width - 1) + _u24(height - 1) + _u24(ms) + bytes([NO_BLEND])
        body += _chunk(b"ANMF", place + _image(data))
    return b"RIFF" + _u32(len(body) + 4) + b"WEBP" + body


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give the name and the content of every chunk of a WebP file.

    Raises:
        ValueError: it is none, or was cut.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise ValueError("this is no WebP file")
    at = 12
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > len(data):
            raise ValueError("this WebP file was cut")
        yield data[at : at + 4], data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _image(data: bytes) -> bytes:
    found = [(name, content) for name, content in chunks(data) if name in (b"VP8 ", b"VP8L")]
    if len(found) != 1:
        raise ValueError(f"a frame holds one image, not {len(found)}")
    return _chunk(*found[0])


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + _u32(len(content)) + content + bytes(len(content) % 2)


def _u24(value: int) -> bytes:
    return value.to_bytes(3, "little")


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")
