"""Background tasks that lose a cancellation, and how they are ended nevertheless."""

from __future__ import annotations

import asyncio

import pytest

from broker.tasks import end, until_any_ends

PATIENCE_S = 5.0


class Deaf:
    """Goes round in a loop, and takes its first cancellation for a time-out, as `asyncio.wait_for` may."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.cancelled = 0

    async def run(self) -> None:
        while True:
            try:
                self.running.set()
                await asyncio.sleep(60.0)
            except asyncio.CancelledError:
                self.cancelled += 1
                if self.cancelled > 1:
                    raise


@pytest.mark.asyncio
async def test_a_task_that_loses_its_cancellation_is_cancelled_again() -> None:
    deaf = Deaf()
    task = asyncio.create_task(deaf.run())
    await deaf.running.wait()
    async with asyncio.timeout(PATIENCE_S):
        await end(task)
    assert task.cancelled()
    assert deaf.cancelled == 2


@pytest.mark.asyncio
async def test_ending_tasks_that_have_ended_or_failed_is_quiet() -> None:
    async def fails() -> None:
        raise ValueError("nobody asked")

    async def returns() -> None:
        return None

    tasks = asyncio.create_task(fails()), asyncio.create_task(returns())
    await asyncio.wait(tasks)
    await end(*tasks)
    await end()


@pytest.mark.asyncio
async def test_one_that_fails_ends_the_others_even_if_they_lose_their_cancellation() -> None:
    deaf = Deaf()

    async def fails() -> None:
        await deaf.running.wait()
        raise ValueError("this is why")

    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(ValueError, match="this is why"):
            await until_any_ends(deaf.run(), fails())
    assert deaf.cancelled == 2
