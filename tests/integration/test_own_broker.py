"""A broker of one's own starts also where somebody takes a port between its choice and its use."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from deploy.sockets import LOOPBACK
from harness import own_broker as module
from harness.errors import StackDownError
from harness.own_broker import own_broker
from services.inventory.ports import OFFSETS
from tests.support.world import shop_inventory

pytestmark = pytest.mark.integration
MONITORING = OFFSETS["nats-monitoring"]


@pytest.fixture(params=[0, MONITORING], ids=["clients", "monitoring"])
def overtaken(request: pytest.FixtureRequest) -> Iterator[int]:
    """Give a first port, of which one of its two is taken by somebody who listens and never answers."""
    with socket.socket() as other:
        offset = int(request.param)
        first = module._free_ports()
        other.bind((LOOPBACK, first + offset))
        other.listen()
        yield first


async def started() -> str:
    async with own_broker(shop_inventory()) as own:
        assert await own.broker.last_sequence() == 0
        return own.url


def test_a_port_that_somebody_took_meanwhile_costs_another_try(overtaken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    free = module._free_ports
    choices = iter([overtaken])
    monkeypatch.setattr(module, "_free_ports", lambda: next(choices, None) or free())
    url = asyncio.run(started())
    assert url != f"nats://{LOOPBACK}:{overtaken}"


def test_ports_that_are_always_taken_end_in_one_sentence(overtaken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_free_ports", lambda: overtaken)
    monkeypatch.setattr(module, "STARTS", 2)
    with pytest.raises(StackDownError, match=r"the broker for the replay did not start: .*address already in use"):
        asyncio.run(started())
