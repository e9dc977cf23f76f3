"""The stage's fallback: the bundled recording, said again through a broker of its own and shown by its own page."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from harness.rebroadcast import opened
from harness.stage.surroundings import BUNDLED, page_up, said_again
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration
WAIT_S = 60.0


@pytest.mark.asyncio
async def test_the_page_of_the_fallback_shows_the_recorded_incident_and_both_are_gone_afterwards() -> None:
    incident = opened(BUNDLED).incident
    async with (
        said_again(BUNDLED) as home,
        page_up(home) as address,
        httpx.AsyncClient(base_url=address) as client,
    ):

        async def shows_it() -> bool:
            return incident in (await _snapshot(client))["view"]["incidents"]

        await eventually(shows_it, WAIT_S)
        found = await _snapshot(client)
        assert found["connected"] is True
        assert all(entry["verified"] for entry in found["entries"])
    assert not home.exists()
    async with httpx.AsyncClient(base_url=address) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("/api/health")


async def _snapshot(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/api/snapshot")
    return dict(answer.raise_for_status().json())
