"""The container of an animated picture: what goes in stands in it, and what is no picture is refused."""

from __future__ import annotations

import pytest

from tests.ui.webp import animated, chunks


def still(content: bytes) -> bytes:
    padded = content + bytes(len(content) % 2)
    body = b"WEBPVP8 " + len(content).to_bytes(4, "little") + padded
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def test_every_frame_stands_in_it_with_its_time_and_the_whole_has_the_size_it_says() -> None:
    made = animated([(still(b"abc"), 260), (still(b"defg"), 2_200)], 1_200, 750)
    assert int.from_bytes(made[4:8], "little") == len(made) - 8
    found = list(chunks(made))
    assert [name for name, _ in found] == [b"VP8X", b"ANIM", b"ANMF", b"ANMF"]
    frames = [content for name, content in found if name == b"ANMF"]
    assert [int.from_bytes(frame[12:15], "little") for frame in frames] == [260, 2_200]
    assert int.from_bytes(frames[0][6:9], "little") == 1_199
    assert frames[0][16:] == b"VP8 \x03\x00\x00\x00abc\x00"
    assert frames[1][16:] == b"VP8 \x04\x00\x00\x00defg"


@pytest.mark.parametrize("data", [b"\x89PNG", b"", still(b"abc")[:-3], still(b"abc").replace(b"VP8 ", b"EXIF")])
def test_what_holds_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"WebP|image"):
        animated([(data, 1)], 1, 1)


def test_no_frames_make_no_picture() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        animated([], 1, 1)
