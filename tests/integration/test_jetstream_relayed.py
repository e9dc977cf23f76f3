"""A reader that names a journal subject as its reply has the broker put an answer there, past all permissions on
publishing. What gets there in that way is refused, even if its bytes are signed with a key the reader holds."""

from __future__ import annotations

import time

import nats
import pytest

from broker.envelope import Signer
from broker.errors import WrongChannelError
from broker.gate import Gate
from broker.port import Stored
from tests.integration.conftest import Connect
from tests.support.machines import task
from tests.support.nats_server import NatsServer
from tests.support.signing import master

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]


async def test_a_forged_order_relayed_by_the_broker_is_refused(shared_nats: NatsServer, join: Connect) -> None:
    server = shared_nats
    order = task("inc-forged", "v1-t1", timer_id="x")
    forged = Signer("scheduler", "scheduler-1", master()).seal(order)
    carrier = "triage.plan.inc-forged.v1.a1.prompted"
    planner = await nats.connect(
        server.url, user="planner", password=server.passwords["planner"], inbox_prefix=b"_INBOX_planner"
    )
    try:
        await planner.jetstream().publish(carrier, forged)
        await planner.publish(f"$JS.API.DIRECT.GET.TRIAGE.{carrier}", b"", reply=order.subject())
        await planner.flush()
        agent = await join(server, order.kind)
        delivery = await agent.pull(f"w-{order.kind}", 5.0)
        assert delivery is not None, "the broker does not check replies: it did get there"
        assert delivery.stored.relayed
        with pytest.raises(WrongChannelError, match="was not published"):
            Gate(master()).admit(delivery.stored, now_us=time.time_ns() // 1_000)
        reader = await join(server, "operator")
        items = reader.read(pattern=order.subject(), follow=False)
        standing = [item async for item in items if isinstance(item, Stored)]
        assert [item.relayed for item in standing] == [True]
    finally:
        await planner.close()
