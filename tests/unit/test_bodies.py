"""Bodies of strangers: whole up to the bound, refused by the caller's own error from there on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from broker.bodies import whole


class TooLongError(Exception):
    """What a caller says of a body that is too long."""


async def pieces(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        yield b"x" * size


@pytest.mark.parametrize("sizes", [(), (0,), (10,), (4, 6), (4, 0, 5)])
@pytest.mark.asyncio
async def test_a_body_up_to_the_bound_is_whole(sizes: tuple[int, ...]) -> None:
    assert await whole(pieces(*sizes), 10, TooLongError()) == b"x" * sum(sizes)


@pytest.mark.asyncio
async def test_of_an_endless_body_no_piece_after_the_bound_is_read() -> None:
    read: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            read.append(4)
            yield b"xxxx"

    with pytest.raises(TooLongError):
        await whole(endless(), 10, TooLongError())
    assert sum(read) == 12
