"""Which messages of the shop's queue are read, dropped, or break who reads them; and what fulfilment does with each."""

from __future__ import annotations

import pytest

from services.inventory.declared import declare
from services.platform.embedded.messages import POISON
from services.shop.fulfilment import Fulfilment
from services.shop.messages import MALFORMED, breaks, order_in
from services.shop.settings import Environment, FulfilmentSettings

ORDER = "0d6f3a3e-7c0e-4f43-9f27-0a3f9d8a1b11"


def test_an_order_is_read() -> None:
    message = f'{{"id": "{ORDER}", "sku": "SKU-001"}}'.encode()
    assert str(order_in(message)) == ORDER
    assert breaks(message) is None


@pytest.mark.parametrize("message", [b"", b"not json", b"\xff", b"[]", b"{}", b'{"id": "x"}', b'{"id": null}'])
def test_a_malformed_message_is_dropped_and_breaks_nobody(message: bytes) -> None:
    with pytest.raises(MALFORMED):
        order_in(message)
    assert breaks(message) is None


def test_a_message_nested_too_deep_breaks_the_decoder() -> None:
    assert (breaks(POISON) or "").startswith("RecursionError: maximum recursion depth exceeded")


def test_a_number_for_an_id_breaks_who_reads_it() -> None:
    assert (breaks(b'{"id": 17}') or "").startswith("AttributeError: ")


@pytest.mark.asyncio
@pytest.mark.parametrize(("message", "code"), [(POISON, "RecursionError"), (b'{"id": 17}', "AttributeError")])
async def test_fulfilment_reports_what_breaks_it_and_wants_the_message_again(message: bytes, code: str) -> None:
    fulfilment = _fulfilment()
    assert not await fulfilment.ship(message)
    _, body = fulfilment.service.health.report()
    assert body["last_error"]["error_code"] == code
    assert body["requests"]["errors"] == 1


@pytest.mark.asyncio
async def test_fulfilment_drops_a_malformed_message_and_stays_well() -> None:
    fulfilment = _fulfilment()
    assert await fulfilment.ship(b"not json")
    _, body = fulfilment.service.health.report()
    assert (body["last_error"], body["requests"]["errors"]) == (None, 0)


def _fulfilment() -> Fulfilment:
    declared = {item.name: item for item in declare(21_000, {"orders_db_password": "a", "catalog_db_password": "b"})}
    return Fulfilment(FulfilmentSettings.read(Environment(declared["fulfilment"].environment)))
