"""A client that does not hear a cancellation, or never ends its closing, holds nobody up."""

from __future__ import annotations

import asyncio

import pytest

from broker import jetstream_link
from broker.errors import BrokerDownError
from broker.jetstream_link import Link

pytestmark = pytest.mark.asyncio


class Deaf:
    """A client that takes the first cancellations for its own and goes on, as nats-py may in `connect` and `close`."""

    def __init__(self, deaf: int) -> None:
        self.left = deaf
        self.heard = 0

    async def connect(self, *_: object, **__: object) -> None:
        await self._wait_for_ever()

    async def close(self) -> None:
        await self._wait_for_ever()

    async def _wait_for_ever(self) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.heard += 1
                if self.heard > self.left:
                    raise


def link_with(client: Deaf, monkeypatch: pytest.MonkeyPatch) -> Link:
    monkeypatch.setattr(jetstream_link, "_CLOSE_S", 0.01)
    monkeypatch.setattr(jetstream_link, "_CANCEL_AGAIN_S", 0.01)
    link = Link("log", "log-1")
    monkeypatch.setattr(link, "_client", client)
    return link


@pytest.mark.parametrize("deaf", [0, 1, 3])
async def test_a_connecting_that_does_not_hear_its_cancellation_is_given_up_all_the_same(
    deaf: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Deaf(deaf)
    link = link_with(client, monkeypatch)
    async with asyncio.timeout(30):
        with pytest.raises(BrokerDownError, match="within the time given"):
            await link.start("nats://nobody", "x", 0.01)
    assert client.heard == deaf + 2  # the connecting until it heard, then the closing once
    assert link.closed


async def test_a_closing_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Deaf(1)
    link = link_with(client, monkeypatch)
    async with asyncio.timeout(30):
        await link.close()
    assert client.heard == 2
    assert link.closed
