"""What processes cannot suffer: refused in one sentence that says where it can be done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.platform.embedded.faults import EmbeddedFaults
from services.platform.fault_port import Limits, LinkFault
from services.platform.links.model import parse_fault
from services.platform.port import NotOnThisPlatformError

ONLY_CONTAINERS: dict[str, Callable[[EmbeddedFaults], Awaitable[None]]] = {
    "processor": lambda faults: faults.set_limits("orders", Limits(cpu_cores=0.1)),
    "memory": lambda faults: faults.set_limits("orders", Limits(memory_bytes=1 << 20)),
    "network": lambda faults: faults.disconnect("orders"),
    "names": lambda faults: faults.break_names("orders"),
    "volume": lambda faults: faults.fill_volume("shop-cache"),
    "throttle": lambda faults: faults.set_link("orders", "shop-db", LinkFault("throttle", rate_kbit=8.0)),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ONLY_CONTAINERS)
async def test_a_fault_of_containers_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotOnThisPlatformError, match=r"the embedded platform cannot do this: .*; use the docker"):
        await ONLY_CONTAINERS[name](EmbeddedFaults(tmp_path))


@pytest.mark.asyncio
async def test_there_is_never_anything_of_the_kind_to_heal(tmp_path: Path) -> None:
    faults = EmbeddedFaults(tmp_path)
    assert await faults.disconnected("orders") == ()
    assert not await faults.names_broken("orders")
    assert await faults.filler("shop-cache") == 0
    for heal in (faults.reconnect, faults.restore_names, faults.free_volume):
        await heal("orders")


def test_the_proxies_of_links_know_no_throttle() -> None:
    with pytest.raises(ValueError, match="mode must be one of"):
        parse_fault({"mode": "throttle", "rate_kbit": 8.0})
