"""When fulfilment says that its queue gives it nothing, and what its health makes of it."""

from __future__ import annotations

import pytest

from services.inventory.declared import CONSUMERS, declare
from services.platform.embedded.consumers import differences
from services.platform.port import Drift
from services.shop.errors import ConsumerStalledError
from services.shop.fulfilment import Fulfilment
from services.shop.messages import ORDERS_CREATED, ORDERS_DELIVERY
from services.shop.queue import Served
from services.shop.settings import Environment, FulfilmentSettings
from services.shop.stalls import Look, Stalls

DECLARED = CONSUMERS[0]
AS_DECLARED = Served(ORDERS_CREATED.subject, ORDERS_DELIVERY, None)
UNTIL = "2100-01-01T00:00:00Z"


def judged(*looks: Look | None) -> ConsumerStalledError | None:
    """Return the judgement after the last of several looks in a row."""
    stalls = Stalls()
    found = None
    for look in looks:
        found = stalls.judge(look)
    return found


def test_messages_that_wait_for_a_whole_fetch_while_none_is_given_are_a_stall() -> None:
    stall = judged(Look(3, 40), Look(9, 40))
    assert stall is not None
    assert (stall.waiting, str(stall)) == (9, "9 messages wait and none is given")


def test_a_pause_is_named_with_its_end() -> None:
    assert str(judged(Look(1, 40, UNTIL), Look(1, 40, UNTIL))) == (
        f"1 message waits and none is given: its consumer is paused until {UNTIL}"
    )


@pytest.mark.parametrize(
    "looks",
    [
        (Look(3, 40),),
        (Look(0, 40), Look(0, 40)),
        (Look(0, 40), Look(3, 40)),
        (Look(3, 40), Look(0, 40)),
        (Look(3, 40), Look(3, 41)),
        (Look(3, 40), None),
        (Look(3, 40), None, Look(3, 40)),
        (None, Look(3, 40)),
    ],
    ids=["a first look", "nothing comes", "it came just now", "all is given", "some are given", "the server is away",
         "it was away between", "it is back"],
)  # fmt: skip
def test_no_stall_without_two_looks_that_show_it(looks: tuple[Look | None, ...]) -> None:
    assert judged(*looks) is None


def test_a_message_given_in_between_is_a_new_beginning() -> None:
    stalls = Stalls()
    stalls.judge(Look(3, 40))
    stalls.fed()
    assert stalls.judge(Look(3, 40)) is None


def test_fulfilment_that_is_given_nothing_answers_and_warns_until_it_is_given_again() -> None:
    fulfilment = _fulfilment()
    fulfilment.stalled(ConsumerStalledError(12, "12 messages wait and none is given"))
    status, body = fulfilment.service.health.report()
    assert (status, body["status"]) == (200, "WARN")
    assert body["stalled"] == {"dependency": "shop-mq", "messages": 12}
    assert body["last_error"]["error_code"] == "ConsumerStalledError"
    assert body["requests"]["errors"] == 0
    fulfilment.stalled(None)
    status, body = fulfilment.service.health.report()
    assert (status, body["status"], body["stalled"]) == (200, "OK", None)


def test_a_consumer_that_is_served_as_declared_is_no_drift() -> None:
    assert differences(DECLARED, AS_DECLARED) == []


def test_a_paused_consumer_is_drift_that_names_its_end() -> None:
    found = differences(DECLARED, AS_DECLARED._replace(paused_until=UNTIL))
    assert found == [Drift("consumer", "fulfilment paused", "no", f"until {UNTIL}")]


def test_each_setting_that_somebody_changed_is_drift_of_its_own() -> None:
    changed = Served("shop.orders.nobody", ORDERS_DELIVERY._replace(ack_wait_s=600.0, max_ack_pending=1), None)
    assert [(item.name, item.declared, item.actual) for item in differences(DECLARED, changed)] == [
        ("fulfilment subject", "shop.orders.created", "shop.orders.nobody"),
        ("fulfilment ack_wait_s", "5", "600"),
        ("fulfilment max_ack_pending", "1000", "1"),
    ]


def _fulfilment() -> Fulfilment:
    declared = {item.name: item for item in declare(21_000, {"orders_db_password": "a", "catalog_db_password": "b"})}
    return Fulfilment(FulfilmentSettings.read(Environment(declared["fulfilment"].environment)))
