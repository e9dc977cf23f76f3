"""A blocking stream as an asynchronous one: read in a thread of its own, which ends when the stream is closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def following(
    items: Iterable[T], close: Callable[[], None], broken: tuple[type[Exception], ...]
) -> AsyncGenerator[T, None]:
    """Give what a blocking stream gives, until it ends or breaks.

    Args:
        close: ends the stream from another thread; called at the end.
        broken: what the stream raises when it breaks off or is closed.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[T] | None] = asyncio.Queue()

    def tell(item: tuple[T] | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def pump() -> None:
        with suppress(*broken):
            for item in items:
                tell((item,))
        tell(None)

    threading.Thread(target=pump, name="stream", daemon=True).start()
    try:
        while (got := await queue.get()) is not None:
            yield got[0]
    finally:
        with suppress(*broken):
            close()
