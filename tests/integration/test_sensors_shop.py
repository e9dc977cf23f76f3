"""The sensors against the real shop: what they say of it whole, and of each way to break it."""

from __future__ import annotations

import asyncio
import signal
import time
from datetime import UTC, datetime

import pytest

from broker.contracts.inventory import Objective
from broker.contracts.telemetry import Telemetry
from monitor_svc.sensors.probes import Prober
from services.inventory.declared import inventory
from services.platform.fault_port import LinkFault
from tests.support.shop import Shop, eventually, running_shop

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

WORKS = ("shop-db", "shop-cache", "shop-mq", "catalog", "orders", "fulfilment", "gateway", "loadgen")


class Look:
    """Sensors of one shop."""

    def __init__(self, shop: Shop) -> None:
        self.devices = {device.name: device for device in inventory(shop.base, shop.secrets).devices}
        self.prober = Prober(Objective())

    async def at(self, name: str) -> Telemetry:
        return await self.prober.sample(self.devices[name], datetime.now(UTC))

    async def at_all(self) -> dict[str, str]:
        samples = await asyncio.gather(*(self.at(name) for name in WORKS))
        return {sample.device_id: sample.status for sample in samples}


async def test_the_shop_whole_and_broken() -> None:
    async with running_shop() as shop:
        look = Look(shop)
        try:
            await eventually(look.at_all, lambda seen: set(seen.values()) == {"OK"}, 30.0)
            await _a_stopped_cache(shop, look)
            await _a_hanging_queue(shop, look)
            await _a_broken_link(shop, look)
        finally:
            await look.prober.close()


async def _a_stopped_cache(shop: Shop, look: Look) -> None:
    await shop.end("shop-cache", signal.SIGKILL)
    sample = await look.at("shop-cache")
    assert (sample.status, sample.error_code) == ("ERROR", "ECONNREFUSED")
    seen = await eventually(lambda: look.at("catalog"), lambda found: found.status == "WARN", 10.0)
    assert (seen.note or "").startswith("shop-cache=")
    shop.start_cache()
    await eventually(lambda: look.at("catalog"), lambda found: found.status == "OK", 15.0)


async def _a_hanging_queue(shop: Shop, look: Look) -> None:
    shop.processes["shop-mq"].send(signal.SIGSTOP)
    try:
        started = time.monotonic()
        sample = await look.at("shop-mq")
        assert (sample.status, sample.error_code) == ("ERROR", "TIMEOUT")
        assert time.monotonic() - started < 10.0
    finally:
        shop.processes["shop-mq"].send(signal.SIGCONT)
    await eventually(lambda: look.at("shop-mq"), lambda found: found.status == "OK", 10.0)


async def _a_broken_link(shop: Shop, look: Look) -> None:
    link = shop.links[("orders", "shop-db")]
    await link.set(LinkFault("refuse"))
    sample = await eventually(lambda: look.at("orders"), lambda found: found.status == "ERROR", 10.0)
    assert "shop-db=" in (sample.note or "")
    assert (await look.at("shop-db")).status == "OK"
    users = await eventually(lambda: look.at("loadgen"), lambda found: found.status == "ERROR", 15.0)
    assert users.metrics.success_ratio is not None
    assert users.metrics.success_ratio < 0.99
    await link.set(LinkFault("ok"))
    await eventually(lambda: look.at("orders"), lambda found: "shop-db=" not in (found.note or ""), 15.0)
