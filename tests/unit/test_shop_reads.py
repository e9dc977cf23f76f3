"""A neighbour is asked again for what may be asked for twice, as often and as patiently as the caller was told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest

from services.shop import calls
from services.shop.calls import Neighbour
from services.shop.errors import DependencyFailed, RequestRefused
from services.shop.settings import Reads

GOOD = httpx.Response(200, json={"sku": "SKU-001"})
BROKEN = httpx.Response(500, json={"error": {"code": "gaierror", "msg": "no such name"}})
REFUSED = httpx.Response(404, json={"error": {"code": "refused", "msg": "no product"}})
SILENT = None
PATIENT_S = 60.0


@dataclass
class Catalog:
    """Answers by a list, whose last entry stands for all that follow."""

    answers: list[httpx.Response | None]
    takes_s: float = 0.0
    asked: list[httpx.Request] = field(default_factory=list)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if answer is None:
            raise httpx.ReadTimeout("", request=request)
        await asyncio.sleep(self.takes_s)
        return httpx.Response(answer.status_code, content=answer.content)

    def waited_for(self) -> set[float]:
        """Return for how long an answer was waited for, seconds."""
        return {request.extensions["timeout"]["read"] for request in self.asked}


Asking = Callable[[Catalog], Neighbour]


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> Asking:
    monkeypatch.setattr(calls, "WHOLE_TIMEOUT_S", PATIENT_S)  # a busy machine gets through all attempts
    client = httpx.AsyncClient

    def neighbour(catalog: Catalog) -> Neighbour:
        transport = httpx.MockTransport(catalog.answer)
        monkeypatch.setattr(httpx, "AsyncClient", lambda **given: client(**given, transport=transport))
        return Neighbour("catalog", "http://catalog")

    return neighbour


@pytest.mark.asyncio
async def test_unless_told_otherwise_a_neighbour_is_asked_once_and_waited_for_as_ever(asking: Asking) -> None:
    async with asking(catalog := Catalog([BROKEN, GOOD])) as neighbour:
        with pytest.raises(DependencyFailed) as failed:
            await neighbour.read("/products", Reads())
    assert (failed.value.status, len(catalog.asked), catalog.waited_for()) == (502, 1, {calls.TIMEOUT_S})


@pytest.mark.asyncio
async def test_after_a_failed_answer_it_is_asked_again_until_one_is_good(asking: Asking) -> None:
    async with asking(catalog := Catalog([BROKEN, SILENT, GOOD])) as neighbour:
        assert await neighbour.read("/products/SKU-001", Reads(5, PATIENT_S, 0.001)) == {"sku": "SKU-001"}
    assert [(one.method, one.url.path) for one in catalog.asked] == [("GET", "/products/SKU-001")] * 3


@pytest.mark.asyncio
async def test_after_the_last_attempt_its_failure_is_told(asking: Asking) -> None:
    async with asking(catalog := Catalog([SILENT, BROKEN])) as neighbour:
        with pytest.raises(DependencyFailed) as failed:
            await neighbour.read("/products", Reads(3, PATIENT_S, 0.0))
    assert (failed.value.status, len(catalog.asked)) == (502, 3)
    assert failed.value.upstream == {"code": "gaierror", "msg": "no such name"}


@pytest.mark.asyncio
async def test_a_refusal_is_an_answer(asking: Asking) -> None:
    async with asking(catalog := Catalog([REFUSED, GOOD])) as neighbour:
        with pytest.raises(RequestRefused, match="no product"):
            await neighbour.read("/products/SKU-999", Reads(5, PATIENT_S, 0.0))
    assert len(catalog.asked) == 1


@pytest.mark.asyncio
async def test_an_answer_that_comes_too_late_is_not_used_although_it_came(asking: Asking) -> None:
    """A busy process may find the answer and the end of its patience at once."""
    async with asking(catalog := Catalog([GOOD], takes_s=0.005)) as neighbour:
        with pytest.raises(DependencyFailed, match=r"catalog took \d+ ms, 1 ms are waited for") as failed:
            await neighbour.read("/products", Reads(8, 0.001, 0.0))
    assert (failed.value.status, len(catalog.asked), catalog.waited_for()) == (504, 8, {0.001})


@pytest.mark.asyncio
async def test_nobody_waits_longer_for_many_attempts_than_for_one(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "WHOLE_TIMEOUT_S", 0.3)
    async with asking(catalog := Catalog([BROKEN])) as neighbour:
        with pytest.raises(DependencyFailed):
            await neighbour.read("/products", Reads(100, PATIENT_S, 0.1))
    assert 1 <= len(catalog.asked) <= 6


@pytest.mark.parametrize(("draw", "pause_s"), [(0.0, 0.1), (0.5, 0.15), (1.0, 0.2)])
def test_the_pause_before_the_next_attempt_is_drawn(draw: float, pause_s: float) -> None:
    assert Reads(pause_s=0.2).pause(draw) == pytest.approx(pause_s)
