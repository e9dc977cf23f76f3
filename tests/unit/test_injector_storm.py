"""A storm of attempts: seen by what the client runs with, told with how much it makes its dependency work."""

from __future__ import annotations

import httpx
import pytest

from injector.fault import Evidence, Spec, World
from injector.faults.storm import RetryStorm
from services.inventory.declared import inventory
from services.shop.settings import Environment, Reads
from tests.support.world import FakeFaults

CLIENT = httpx.AsyncClient
SHOP = inventory(21_000, {"orders_db_password": "x", "catalog_db_password": "y"})
STORM = Spec("retry_storm", "gateway", {"attempts": 40})
TOLD = {"GATEWAY_READ_ATTEMPTS": "40", "GATEWAY_READ_TIMEOUT_MS": "1", "GATEWAY_READ_PAUSE_MS": "0"}


def services_tell(monkeypatch: pytest.MonkeyPatch, rates: dict[str, object]) -> None:
    """Let every service answer its health check, as one that fails half its requests."""
    name_of = {device.port: device.name for device in SHOP.devices}

    def answer(request: httpx.Request) -> httpx.Response:
        name = name_of[request.url.port or 0]
        assert request.url.path == "/healthz"
        if name not in rates:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(503, json={"requests": rates[name]})

    transport = httpx.MockTransport(answer)
    monkeypatch.setattr(httpx, "AsyncClient", lambda **given: CLIENT(**given, transport=transport))


async def evidence(world: FakeFaults, spec: Spec = STORM) -> Evidence:
    return await RetryStorm().evidence(World(world, SHOP), spec)


@pytest.fixture(autouse=True)
def _nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    services_tell(monkeypatch, {})


@pytest.mark.asyncio
async def test_a_storm_of_as_many_attempts_as_wanted_is_seen_and_no_other() -> None:
    world = FakeFaults()
    await RetryStorm().inject(World(world, SHOP), STORM)
    assert world.changed == {"gateway": TOLD}
    assert (await evidence(world)).present
    assert not (await evidence(world, Spec("retry_storm", "gateway"))).present
    world.changed["gateway"] = {**TOLD, "GATEWAY_READ_PAUSE_MS": "50"}
    assert not (await evidence(world)).present
    await RetryStorm().heal(World(world, SHOP), STORM)
    assert not (await evidence(world)).present


def test_what_it_is_told_are_settings_of_the_gateway() -> None:
    assert Reads.read(Environment(TOLD), "GATEWAY") == Reads(40, 0.001, 0.0)


@pytest.mark.asyncio
async def test_the_evidence_holds_the_rates_that_both_services_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    services_tell(monkeypatch, {"gateway": {"rate": 20.0}, "catalog": {"rate": 380.4}})
    found = await evidence(FakeFaults())
    without = "gateway runs without the injected GATEWAY_READ_ATTEMPTS, GATEWAY_READ_TIMEOUT_MS, GATEWAY_READ_PAUSE_MS"
    assert found == Evidence(False, f"{without}; catalog finished 380 requests a second, gateway 20")


@pytest.mark.asyncio
@pytest.mark.parametrize("told", [{}, {"rate": None}, {"rate": "much"}, None, []])
async def test_services_that_tell_no_rates_leave_the_environment_as_evidence(
    monkeypatch: pytest.MonkeyPatch, told: object
) -> None:
    services_tell(monkeypatch, {"gateway": {"rate": 20.0}, "catalog": told})
    found = await evidence(FakeFaults(changed={"gateway": TOLD}))
    assert (found.present, found.detail.endswith("; how often it asks catalog is not told")) == (True, True)
