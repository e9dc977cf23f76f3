"""What each broker user is kept from, tried against the real server: wall by wall, and the tricks around them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import pytest

from broker.errors import BrokerDownError, NotAllowedError
from broker.jetstream import JetStreamBroker, connect
from broker.jetstream_link import Link, NoAnswerError, Received, open_link
from broker.jetstream_queue import acknowledge
from broker.port import CaughtUp, Connection, Stored
from broker.subjects import Role
from tests.integration.conftest import Connect
from tests.support.nats_server import NatsServer, free_port

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]
QUICK_S = 2.0
"""A refusal is told at once, never as a time-out."""


async def refused(call: Any) -> None:
    started = time.monotonic()
    with pytest.raises(NotAllowedError):
        await call
    assert time.monotonic() - started < QUICK_S


async def all_of(broker: JetStreamBroker, pattern: str) -> list[Stored | CaughtUp]:
    async with aclosing(cast(Any, broker.read(1, pattern, follow=False))) as items:
        return [item async for item in items]


async def raw(server: NatsServer, user: str) -> Link:
    return await open_link(server.url, user=user, password=server.passwords[user], name=f"{user}-raw")


async def answer(link: Link, subject: str, data: bytes = b"", headers: dict[str, str] | None = None) -> Received:
    return await link.request(subject, data, headers=headers, timeout_s=1.0)


class TestPublishing:
    @pytest.mark.parametrize(
        ("role", "subject"),
        [
            ("log", "triage.task.log.w1.t1.a1"),
            ("log", "triage.task.action.w1.t1.a1"),
            ("log", "triage.result.action.w1.t1.a1"),
            ("action", "triage.claim.log.w1.t1.a1"),
            ("action", "triage.approval.w1.t1.granted"),
            ("action", "triage.control.resume"),
            ("metric", "triage.telemetry.orders"),
            ("sensors", "triage.incident.w1.reported"),
            ("planner", "triage.plan.w1.v1.a1.accepted"),
            ("monitor", "triage.task.action.w1.t1.a1"),
            ("scheduler", "triage.result.action.w1.t1.a1"),
            ("scheduler", "triage.due.scheduler.t1"),
            ("scheduler", "triage.timer.monitor.t1"),
            ("auditor", "triage.control.halt"),
            ("reader", "triage.control.halt"),
            ("operator", "triage.plan.w1.v1.a1.accepted"),
        ],
    )
    async def test_nobody_says_what_another_says(
        self, shared_nats: NatsServer, join: Connect, role: Role, subject: str
    ) -> None:
        broker = await join(shared_nats, role)
        await refused(broker.publish(subject, b"x"))
        reader = await join(shared_nats, "reader")
        assert await reader.last(subject) is None

    async def test_no_header_wipes_the_journal_or_reaches_another_subject(
        self, shared_nats: NatsServer, join: Connect
    ) -> None:
        scheduler = await join(shared_nats, "scheduler")
        kept = await scheduler.publish("triage.plan.w2.v1.a1.requested", b"keep me")
        link = await raw(shared_nats, "log")
        try:
            for headers in (
                {"Nats-Rollup": "all"},
                {"Nats-Rollup": "sub"},
                {"Nats-Schedule": "@at 2020-01-01T00:00:00Z", "Nats-Schedule-Target": "triage.task.action.w2.t1.a1"},
                {"Nats-Scheduler": "triage.plan.w2.v1.a1.requested", "Nats-Schedule-Next": "purge"},
            ):
                said = json.loads((await answer(link, "triage.claim.log.w2.t1.a1", b"x", headers)).data)
                assert "error" in said, headers
        finally:
            await link.close()
        standing = await scheduler.last("triage.plan.w2.v1.a1.requested")
        assert standing is not None
        assert (standing.seq, standing.data) == (kept, b"keep me")
        assert await scheduler.last("triage.task.action.w2.t1.a1") is None

    async def test_the_carrier_of_a_cancelled_timer_reaches_no_journal_message(
        self, shared_nats: NatsServer, join: Connect
    ) -> None:
        scheduler, agent = await join(shared_nats, "scheduler"), await join(shared_nats, "log")
        await scheduler.publish("triage.plan.w3.v1.a1.requested", b"keep me")
        await agent.cancel("triage.plan.w3.v1.a1.requested")
        assert await scheduler.last("triage.plan.w3.v1.a1.requested") is not None


class TestQueues:
    async def test_an_agent_pulls_only_its_own_queue(self, shared_nats: NatsServer, join: Connect) -> None:
        agent = await join(shared_nats, "log")
        for durable in ("w-action", "w-metric", "w-planner"):
            await refused(agent.pull(durable, 5.0))

    async def test_a_queue_that_does_not_exist_is_named(self, shared_nats: NatsServer) -> None:
        broker = await connect_as_admin(shared_nats)
        with pytest.raises(BrokerDownError, match="no work queue w-nothing"):
            await broker.pull("w-nothing", 0.3)
        await broker.close()

    async def test_an_agent_cannot_end_another_kinds_delivery(self, shared_nats: NatsServer, join: Connect) -> None:
        scheduler = await join(shared_nats, "scheduler")
        action, log = await join(shared_nats, "action"), await join(shared_nats, "log")
        await scheduler.publish("triage.task.action.w4.t1.a1", b"order")
        delivery = await action.pull("w-action", 5.0)
        assert delivery is not None
        await refused(log.hand_on(delivery.reply))
        link = await raw(shared_nats, "log")
        await refused(acknowledge(link, delivery.reply, b"+ACK"))
        await link.close()
        await delivery.ack()

    async def test_what_is_no_delivery_is_not_handed_on(self, shared_nats: NatsServer, join: Connect) -> None:
        monitor = await join(shared_nats, "monitor")
        with pytest.raises(ValueError, match="no reply subject"):
            await monitor.hand_on("triage.control.halt")

    @pytest.mark.parametrize("role", ["log", "operator", "scheduler"])
    async def test_nobody_changes_or_deletes_a_queue(self, shared_nats: NatsServer, role: str) -> None:
        link = await raw(shared_nats, role)
        config = {"durable_name": "w-action", "ack_policy": "explicit", "filter_subject": "triage.control.>"}
        body = json.dumps({"stream_name": "TRIAGE", "config": config}).encode()
        try:
            for call in (
                "CREATE.TRIAGE.w-action.triage.control.>",
                "CREATE.TRIAGE.w-action",
                "DURABLE.CREATE.TRIAGE.w-action",
                "DELETE.TRIAGE.w-action",
            ):
                await refused(answer(link, f"$JS.API.CONSUMER.{call}", body))
            # A name in the body instead of in the subject is not believed.
            said = json.loads((await answer(link, "$JS.API.CONSUMER.CREATE.TRIAGE.abc.triage.control.>", body)).data)
            assert "does not match" in said["error"]["description"]
        finally:
            await link.close()


class TestReading:
    @pytest.mark.parametrize("pattern", ["triage.>", "triage.plan.>", "triage.task.action.>", "triage.telemetry.>"])
    async def test_an_agent_cannot_read_the_journal(self, shared_nats: NatsServer, join: Connect, pattern: str) -> None:
        await refused(all_of(await join(shared_nats, "log"), pattern))

    async def test_an_agent_reads_control_messages_and_the_metric_agent_telemetry(
        self, shared_nats: NatsServer, join: Connect
    ) -> None:
        operator, sensors = await join(shared_nats, "operator"), await join(shared_nats, "sensors")
        halt = await operator.publish("triage.control.halt", b"stop")
        sample = await sensors.publish("triage.telemetry.gateway", b"sample")
        for role in ("log", "metric", "action"):
            read = await all_of(await join(shared_nats, role), "triage.control.>")
            assert halt in {item.seq for item in read if isinstance(item, Stored)}
            assert isinstance(read[-1], CaughtUp)
        read = await all_of(await join(shared_nats, "metric"), "triage.telemetry.>")
        assert sample in {item.seq for item in read if isinstance(item, Stored)}

    async def test_a_wider_filter_in_the_body_is_not_believed(self, shared_nats: NatsServer) -> None:
        link = await raw(shared_nats, "log")
        try:
            for filters in ({"filter_subject": "triage.>"}, {"filter_subjects": ["triage.>"]}):
                config = {"name": "abc", "deliver_subject": link.new_inbox(), "ack_policy": "none", **filters}
                body = json.dumps({"stream_name": "TRIAGE", "config": config}).encode()
                said = json.loads(
                    (await answer(link, "$JS.API.CONSUMER.CREATE.TRIAGE.abc.triage.control.>", body)).data
                )
                assert "error" in said, filters
        finally:
            await link.close()

    async def test_an_agent_looks_up_its_own_subjects_only(self, shared_nats: NatsServer, join: Connect) -> None:
        scheduler, agent = await join(shared_nats, "scheduler"), await join(shared_nats, "log")
        seq = await scheduler.publish("triage.task.log.w5.t1.a1", b"mine")
        own = await agent.last("triage.task.log.w5.t1.a1")
        assert own is not None
        assert own.seq == seq
        for subject in ("triage.task.action.w5.t1.a1", "triage.plan.w5.v1.a1.requested", "triage.timer.scheduler.t1"):
            await refused(agent.last(subject))
        await refused(agent.last_sequence())
        link = await raw(shared_nats, "log")
        for trick in ({"seq": 1}, {"multi_last": ["triage.>"]}, {"last_by_subj": "triage.plan.w5.v1.a1.requested"}):
            subject = "$JS.API.DIRECT.GET.TRIAGE.triage.task.log.w5.t1.a1"
            assert (await answer(link, subject, json.dumps(trick).encode())).status == "408"
        await link.close()

    async def test_sensors_read_nothing(self, shared_nats: NatsServer, join: Connect) -> None:
        sensors = await join(shared_nats, "sensors")
        await refused(all_of(sensors, "triage.control.>"))
        await refused(sensors.last("triage.telemetry.gateway"))

    async def test_nobody_listens_to_anothers_answers(self, shared_nats: NatsServer, join: Connect) -> None:
        scheduler = await join(shared_nats, "scheduler")
        await scheduler.publish("triage.task.log.w6.t1.a1", b"order")
        link = await raw(shared_nats, "log")
        heard: list[Received] = []
        for subject in ("_INBOX_scheduler.>", "triage.>", "$JS.>", ">"):
            await link.listen(subject, heard.append)
        await scheduler.last("triage.task.log.w6.t1.a1")
        # Anything the server would have sent arrives before the answer to a later request.
        await answer(link, "$JS.API.DIRECT.GET.TRIAGE.triage.task.log.w6.t1.a1")
        await link.close()
        assert heard == []


class TestSnapshots:
    async def test_only_the_machine_itself_writes_its_snapshots(self, shared_nats: NatsServer, join: Connect) -> None:
        scheduler = await join(shared_nats, "scheduler")
        await scheduler.save_snapshot("scheduler.v1", b"state", 1)
        for role in ("planner", "monitor", "log", "operator", "reader", "auditor", "sensors"):
            other = await join(shared_nats, role)
            if role in ("operator", "reader"):  # who records a run takes the machines' states with it
                assert await other.load_snapshot("scheduler.v1") == b"state"
            else:
                await refused(other.load_snapshot("scheduler.v1"))
            await refused(other.save_snapshot("scheduler.v1", b"forged", 99))
        assert await scheduler.load_snapshot("scheduler.v1") == b"state"


class TestEvents:
    async def test_only_the_monitor_follows_connections(self, shared_nats: NatsServer, join: Connect) -> None:
        for role in ("log", "operator", "scheduler"):
            broker = await join(shared_nats, role)
            await refused(anext(broker.connections()))
        with pytest.raises(NotAllowedError):
            await anext((await join(shared_nats, "log")).exhausted("w-log"))

    async def test_a_false_name_still_shows_its_user(self, shared_nats: NatsServer, join: Connect) -> None:
        monitor = await join(shared_nats, "monitor")
        async with aclosing(monitor.connections()) as events:
            # Other tests' connections may end late; and following starts with the first look: knock until then.
            coming = asyncio.ensure_future(_first_of("scheduler-1", events))
            while not coming.done():
                impostor = await connect(
                    shared_nats.url, role="log", instance="scheduler-1", password=shared_nats.passwords["log"]
                )
                await impostor.close()
                await asyncio.wait({coming}, timeout=0.1)
            assert (await coming).user == "log"


class TestConnecting:
    async def test_a_wrong_password_is_said_at_once(self, shared_nats: NatsServer) -> None:
        started = time.monotonic()
        with pytest.raises(BrokerDownError, match="refused user log: wrong password"):
            await connect(shared_nats.url, role="log", instance="log-1", password="wrong")
        assert time.monotonic() - started < QUICK_S

    async def test_a_broker_that_is_not_there_is_said_in_time(self) -> None:
        url = f"nats://127.0.0.1:{free_port()}"
        with pytest.raises(BrokerDownError, match=f"no connection to the broker at {url}"):
            await connect(url, role="log", instance="log-1", password="x", timeout_s=0.5)

    async def test_a_closed_connection_refuses_everything_by_name(self, shared_nats: NatsServer, join: Connect) -> None:
        broker = await join(shared_nats, "operator")
        await broker.close()
        await broker.close()
        for call in (broker.last("triage.control.halt"), broker.pull("w-log", 1.0), all_of(broker, "triage.>")):
            with pytest.raises(BrokerDownError):
                await call


async def connect_as_admin(server: NatsServer) -> JetStreamBroker:
    link = await open_link(server.url, user="admin", password=server.passwords["admin"], name="admin")
    return JetStreamBroker(link, role="operator", instance="admin")


async def test_nothing_that_listens_is_told_as_no_answer(shared_nats: NatsServer) -> None:
    link = await raw(shared_nats, "admin")
    with pytest.raises(NoAnswerError) as nobody:
        await answer(link, "nobody.listens.here")
    assert nobody.value.no_responder
    await link.close()


async def _first_of(client: str, events: AsyncIterator[Connection]) -> Connection:
    async for event in events:
        if event.client == client:
            return event
    raise AssertionError(f"nothing was heard of {client}")
