"""The users' traffic: which device sends it, what it is set to, what it says of itself."""

from __future__ import annotations

import httpx

from broker.contracts.inventory import Device, Inventory
from harness.errors import StackDownError
from services.inventory.declared import TRAFFIC_RATE, TRAFFIC_SEED

SET_TIMEOUT_S = 3.0
ASK_TIMEOUT_S = 2.0


def generator(inventory: Inventory) -> Device:
    """Return the load generator.

    Raises:
        StackDownError: the inventory holds none.
    """
    found = next((device for device in inventory.devices if device.kind == "traffic"), None)
    if found is None:
        raise StackDownError("the inventory holds no device that sends the users' traffic; see: triage status")
    return found


async def set_load(inventory: Inventory, *, rate: float, noise: float, seed: int) -> None:
    """Set the load generator.

    Args:
        rate: requests per second. noise: 0..1.

    Raises:
        StackDownError: it does not answer, or refuses.
    """
    load = {"rate": rate, "noise": noise, "seed": seed}
    try:
        async with httpx.AsyncClient(timeout=SET_TIMEOUT_S, trust_env=False) as client:
            (await client.put(_url(inventory, "settings"), json=load)).raise_for_status()
    except httpx.HTTPError as error:
        raise StackDownError(f"the load generator does not answer: {error!r}; see: triage status") from error


async def reset_load(inventory: Inventory) -> None:
    """Set the load generator to what it is started with, so that whoever comes next does not inherit a run's load.

    Raises:
        StackDownError: it does not answer, or refuses.
    """
    await set_load(inventory, rate=TRAFFIC_RATE, noise=0.0, seed=TRAFFIC_SEED)


async def ask(inventory: Inventory, what: str, **parameters: int) -> dict[str, object]:
    """Return what the load generator says: `stats` over a window, or `settings`.

    Raises:
        httpx.HTTPError: it does not answer. ValueError: in words that are no object. StackDownError: there is none.
    """
    async with httpx.AsyncClient(timeout=ASK_TIMEOUT_S, trust_env=False) as client:
        answer = await client.get(_url(inventory, what), params=parameters)
        answer.raise_for_status()
        body = answer.json()
    if not isinstance(body, dict):
        raise ValueError(f"its {what} are no object")
    return body


def _url(inventory: Inventory, what: str) -> str:
    traffic = generator(inventory)
    return f"http://{traffic.host}:{traffic.port}/{what}"
