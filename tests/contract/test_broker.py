"""Every promise of `broker/port.py`, kept by the fake and by the real broker alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeVar, cast

import pytest

from broker.errors import (
    AlreadyExistsError,
    BrokerDownError,
    DuplicateError,
    FencedError,
    NotAllowedError,
)
from broker.port import Broker, CaughtUp, Connection, Delivery, Fence, Stored
from broker.subjects import ACK_WAIT_S, MAX_DELIVERIES
from tests.contract.conftest import World

pytestmark = pytest.mark.asyncio
T = TypeVar("T")

REPORTED = "triage.incident.i1.reported"
TASK = "triage.task.log.i1.v1-t1.a1"
CLAIM = "triage.claim.log.i1.v1-t1.a1"
RESULT = "triage.result.log.i1.v1-t1.a1"
TIMER = "triage.timer.scheduler.t1"
DUE = "triage.due.scheduler.t1"


def closing(iterator: AsyncIterator[T]) -> aclosing[Any]:
    """Close an iterator of the port at the end of a block; its type does not promise `aclose`, its kind has it."""
    return aclosing(cast(Any, iterator))


async def read_all(broker: Broker, start: int = 1, pattern: str = "triage.>") -> list[Stored | CaughtUp]:
    async with closing(broker.read(start, pattern, follow=False)) as items:
        return [item async for item in items]


async def stored(broker: Broker, pattern: str = "triage.>") -> list[Stored]:
    return [item for item in await read_all(broker, pattern=pattern) if isinstance(item, Stored)]


async def first_on(broker: Broker, subject: str) -> Stored:
    """Wait for a message on a subject."""
    async with closing(broker.read(1, subject)) as items:
        async for item in items:
            if isinstance(item, Stored):
                return item
    raise AssertionError("the journal ended")


async def gone(world: World, broker: Broker, subject: str) -> None:
    """Wait until a subject holds nothing."""
    while await broker.last(subject) is not None:
        await world.sleep(0.05)


async def pulled(world: World, broker: Broker, durable: str = "w-log", within_s: float = 2.0) -> Delivery:
    delivery = await world.within(within_s + 1.0, broker.pull(durable, within_s))
    assert delivery is not None, "nothing was delivered in time"
    return delivery


class TestPublish:
    async def test_sequences_grow_and_the_message_is_kept(self, world: World) -> None:
        operator = await world.connect("operator", "op-1")
        before = world.now_us()
        first = await operator.publish(REPORTED, b"one")
        second = await operator.publish("triage.incident.i2.reported", b"two")
        assert second == first + 1
        assert await operator.last_sequence() == second
        kept = await stored(operator)
        assert [(item.seq, item.subject, item.data) for item in kept] == [
            (first, REPORTED, b"one"),
            (second, "triage.incident.i2.reported", b"two"),
        ]
        assert abs(kept[0].time_us - before) < 5_000_000

    async def test_once_refuses_a_second_message_and_says_where_the_first_is(self, world: World) -> None:
        operator = await world.connect("operator", "op-1")
        first = await operator.publish(REPORTED, b"one", once=True)
        with pytest.raises(AlreadyExistsError) as refused:
            await operator.publish(REPORTED, b"two", once=True)
        assert refused.value.seq == first
        assert refused.value.subject == REPORTED
        assert [item.data for item in await stored(operator)] == [b"one"]

    async def test_two_clients_racing_for_a_subject_leave_one_message(self, world: World) -> None:
        rivals = [await world.connect("scheduler", f"scheduler-{n}") for n in (1, 2)]
        outcomes = await asyncio.gather(
            *(rival.publish(TASK, f"by {n}".encode(), once=True) for n, rival in enumerate(rivals)),
            return_exceptions=True,
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["AlreadyExistsError", "int"]
        assert len(await stored(rivals[0])) == 1

    async def test_a_message_id_is_stored_once_whatever_the_subject(self, world: World) -> None:
        operator = await world.connect("operator", "op-1")
        first = await operator.publish(REPORTED, b"one", message_id="m1")
        with pytest.raises(DuplicateError) as refused:
            await operator.publish("triage.incident.i2.reported", b"two", message_id="m1")
        assert refused.value.seq == first
        assert await operator.last_sequence() == first

    async def test_a_fence_lets_the_newest_claim_through_and_no_other(self, world: World) -> None:
        agent = await world.connect("log", "log-1")
        old = await agent.publish(CLAIM, b"first worker")
        new = await agent.publish(CLAIM, b"second worker")
        with pytest.raises(FencedError):
            await agent.publish(RESULT, b"zombie", fence=Fence(CLAIM, old), message_id=RESULT)
        await agent.publish(RESULT, b"owner", fence=Fence(CLAIM, new), message_id=RESULT)
        reader = await world.connect("reader", "r-1")
        assert [item.data for item in await stored(reader, RESULT)] == [b"owner"]

    async def test_the_owners_second_result_is_a_duplicate(self, world: World) -> None:
        agent = await world.connect("log", "log-1")
        claim = await agent.publish(CLAIM, b"worker")
        first = await agent.publish(RESULT, b"done", fence=Fence(CLAIM, claim), message_id=RESULT)
        with pytest.raises(DuplicateError) as refused:
            await agent.publish(RESULT, b"done", fence=Fence(CLAIM, claim), message_id=RESULT)
        assert refused.value.seq == first

    async def test_a_role_may_not_publish_what_another_says(self, world: World) -> None:
        agent = await world.connect("log", "log-1")
        with pytest.raises(NotAllowedError):
            await world.within(10.0, agent.publish(TASK, b"an order of my own"))
        reader = await world.connect("reader", "r-1")
        assert await reader.last_sequence() == 0

    async def test_a_time_to_live_ends_a_message_and_frees_its_subject(self, world: World) -> None:
        sensors = await world.connect("sensors", "sensors-1")
        reader = await world.connect("reader", "r-1")
        subject = "triage.telemetry.orders"
        first = await sensors.publish(subject, b"brief", ttl_s=1)
        await world.within(3.0, gone(world, reader, subject))
        assert await stored(reader) == []
        assert await sensors.publish(subject, b"again", once=True) == first + 1


class TestTimers:
    async def test_a_timer_comes_back_on_its_due_subject_with_its_bytes(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        at_us = world.now_us() + 700_000
        await scheduler.schedule(TIMER, DUE, at_us, b"tick")
        waiting = await scheduler.last(TIMER)
        assert waiting is not None
        assert waiting.data == b"tick"
        due = await world.within(3.0, first_on(scheduler, DUE))
        assert due.data == b"tick"
        assert due.time_us >= at_us - 5_000
        assert await scheduler.last(TIMER) is None

    async def test_setting_a_waiting_timer_again_is_refused(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        at_us = world.now_us() + 60_000_000
        await scheduler.schedule(TIMER, DUE, at_us, b"first")
        with pytest.raises(AlreadyExistsError) as refused:
            await scheduler.schedule(TIMER, DUE, at_us, b"second")
        waiting = await scheduler.last(TIMER)
        assert waiting is not None
        assert (waiting.seq, waiting.data) == (refused.value.seq, b"first")

    async def test_a_fired_timer_may_be_set_again(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        await scheduler.schedule(TIMER, DUE, world.now_us() + 300_000, b"first")
        await world.within(3.0, first_on(scheduler, DUE))
        await scheduler.schedule(TIMER, DUE, world.now_us() + 60_000_000, b"second")
        waiting = await scheduler.last(TIMER)
        assert waiting is not None
        assert waiting.data == b"second"

    async def test_a_timer_in_the_past_fires_at_once(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        await scheduler.schedule(TIMER, DUE, world.now_us() - 10_000_000, b"late")
        assert (await world.within(2.0, first_on(scheduler, DUE))).data == b"late"

    async def test_a_cancelled_timer_never_fires(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        await scheduler.schedule(TIMER, DUE, world.now_us() + 400_000, b"never")
        await scheduler.cancel(TIMER)
        assert await scheduler.last(TIMER) is None
        await scheduler.schedule(TIMER.replace("t1", "t2"), DUE.replace("t1", "t2"), world.now_us() + 900_000, b"later")
        await world.within(4.0, first_on(scheduler, DUE.replace("t1", "t2")))
        assert await scheduler.last(DUE) is None

    async def test_cancelling_what_is_gone_does_nothing(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        await scheduler.cancel(TIMER)
        assert await stored(scheduler) == []

    async def test_a_waiting_timer_is_not_read_from_the_journal(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        await scheduler.schedule(TIMER, DUE, world.now_us() + 60_000_000, b"later")
        assert await stored(scheduler) == []

    async def test_a_stored_result_takes_its_timer_back_in_the_same_step(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        agent = await world.connect("log", "log-1")
        await scheduler.schedule(TIMER, DUE, world.now_us() + 60_000_000, b"time-out")
        await agent.publish(RESULT, b"done", cancel_timer=TIMER)
        assert await scheduler.last(TIMER) is None

    async def test_a_refused_result_leaves_the_timer_alone(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        agent = await world.connect("log", "log-1")
        await scheduler.schedule(TIMER, DUE, world.now_us() + 60_000_000, b"time-out")
        old = await agent.publish(CLAIM, b"first worker")
        await agent.publish(CLAIM, b"second worker")
        with pytest.raises(FencedError):
            await agent.publish(RESULT, b"zombie", fence=Fence(CLAIM, old), cancel_timer=TIMER)
        assert await scheduler.last(TIMER) is not None


class TestRead:
    async def test_an_empty_journal_is_caught_up_at_once(self, world: World) -> None:
        reader = await world.connect("reader", "r-1")
        assert await world.within(3.0, read_all(reader)) == [CaughtUp(0)]

    async def test_everything_in_order_then_caught_up_once_then_what_follows(self, world: World) -> None:
        operator = await world.connect("operator", "op-1")
        for n in range(5):
            await operator.publish(f"triage.incident.i{n}.reported", str(n).encode())
        seen: list[str] = []
        async with closing(operator.read()) as items:
            for _ in range(6):
                item = await world.within(3.0, anext(items))
                seen.append("caught up" if isinstance(item, CaughtUp) else item.data.decode())
            await operator.publish("triage.incident.i9.reported", b"9")
            item = await world.within(3.0, anext(items))
            assert isinstance(item, Stored)
            seen.append(item.data.decode())
        assert seen == ["0", "1", "2", "3", "4", "caught up", "9"]

    async def test_reading_starts_where_it_is_told(self, world: World) -> None:
        operator = await world.connect("operator", "op-1")
        sequences = [await operator.publish(f"triage.incident.i{n}.reported", b"x") for n in range(4)]
        items = await world.within(3.0, read_all(operator, start=sequences[2]))
        assert [item.seq for item in items if isinstance(item, Stored)] == sequences[2:]
        assert items[-1] == CaughtUp(sequences[3])

    async def test_reading_beyond_the_end_is_caught_up_and_then_waits(self, world: World) -> None:
        operator = await world.connect("operator", "op-1")
        last = await operator.publish(REPORTED, b"x")
        async with closing(operator.read(last + 1)) as items:
            assert await world.within(3.0, anext(items)) == CaughtUp(last)
            new = await operator.publish("triage.incident.i2.reported", b"y")
            item = await world.within(3.0, anext(items))
            assert isinstance(item, Stored)
            assert item.seq == new

    async def test_a_pattern_leaves_out_what_does_not_fit(self, world: World) -> None:
        operator = await world.connect("operator", "op-1")
        await operator.publish(REPORTED, b"x")
        halt = await operator.publish("triage.control.halt", b"stop")
        last = await operator.publish("triage.incident.i2.reported", b"y")
        items = await world.within(3.0, read_all(operator, pattern="triage.control.*"))
        assert [item.seq for item in items if isinstance(item, Stored)] == [halt]
        assert items[-1] == CaughtUp(last)

    async def test_last_is_the_newest_on_exactly_this_subject(self, world: World) -> None:
        agent = await world.connect("log", "log-1")
        assert await agent.last(CLAIM) is None
        await agent.publish(CLAIM, b"old")
        new = await agent.publish(CLAIM, b"new")
        await agent.publish(CLAIM.replace(".a1", ".a2"), b"other attempt")
        found = await agent.last(CLAIM)
        assert found is not None
        assert (found.seq, found.subject, found.data) == (new, CLAIM, b"new")


class TestWorkQueues:
    async def test_the_oldest_order_comes_first_and_says_where_it_stood(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        agent = await world.connect("log", "log-1")
        seq = await scheduler.publish(TASK, b"first")
        await scheduler.publish(TASK.replace("t1", "t2"), b"second")
        delivery = await pulled(world, agent)
        assert (delivery.stored.seq, delivery.stored.subject, delivery.stored.data) == (seq, TASK, b"first")
        assert delivery.deliveries == 1
        await delivery.ack()
        second = await pulled(world, agent)
        assert second.stored.data == b"second"
        await second.ack()

    async def test_an_empty_queue_gives_nothing_in_time(self, world: World) -> None:
        agent = await world.connect("log", "log-1")
        before = world.now_us()
        assert await world.within(3.0, agent.pull("w-log", 0.5)) is None
        assert world.now_us() - before >= 400_000

    async def test_a_waiting_worker_gets_what_comes(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        agent = await world.connect("log", "log-1")
        waiting = asyncio.create_task(agent.pull("w-log", 30.0))
        await scheduler.publish(TASK, b"work")
        delivery = await world.within(3.0, waiting)
        assert delivery is not None
        assert delivery.stored.data == b"work"
        await delivery.ack()

    async def test_a_queue_holds_only_its_own_kind(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        agent = await world.connect("metric", "metric-1")
        await scheduler.publish(TASK, b"for the log agents")
        assert await world.within(3.0, agent.pull("w-metric", 0.5)) is None

    async def test_two_workers_share_and_none_gets_anothers(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        workers = [await world.connect("log", f"log-{n}") for n in (1, 2)]
        for n in range(2):
            await scheduler.publish(f"triage.task.log.i1.v1-t{n}.a1", str(n).encode())
        deliveries = [await pulled(world, worker) for worker in workers]
        assert sorted(delivery.stored.data for delivery in deliveries) == [b"0", b"1"]
        for delivery in deliveries:
            await delivery.ack()

    async def test_a_nak_gives_it_back_at_once(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        agent = await world.connect("log", "log-1")
        await scheduler.publish(TASK, b"work")
        await (await pulled(world, agent)).nak()
        again = await pulled(world, agent)
        assert (again.deliveries, again.stored.data) == (2, b"work")
        await again.ack()

    async def test_a_nak_with_a_delay_waits_for_it(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        agent = await world.connect("log", "log-1")
        await scheduler.publish(TASK, b"work")
        first = await pulled(world, agent)
        before = world.now_us()
        await first.nak(1.0)
        again = await pulled(world, agent, within_s=4.0)
        assert again.deliveries == 2
        assert world.now_us() - before >= 950_000
        await again.ack()

    async def test_a_silent_workers_order_goes_to_another_after_the_ack_wait(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        silent, other = [await world.connect("log", f"log-{n}") for n in (1, 2)]
        await scheduler.publish(TASK, b"work")
        before = world.now_us()
        await pulled(world, silent)
        again = await pulled(world, other, within_s=ACK_WAIT_S + 3.0)
        assert again.deliveries == 2
        assert world.now_us() - before >= (ACK_WAIT_S - 0.2) * 1e6
        await again.ack()

    async def test_in_progress_keeps_an_order(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        busy, other = [await world.connect("log", f"log-{n}") for n in (1, 2)]
        await scheduler.publish(TASK, b"work")
        delivery = await pulled(world, busy)
        before = world.now_us()
        for _ in range(2):
            assert await world.within(ACK_WAIT_S, other.pull("w-log", ACK_WAIT_S * 0.6)) is None
            await delivery.in_progress()
        assert await world.within(ACK_WAIT_S, other.pull("w-log", ACK_WAIT_S * 0.6)) is None
        assert world.now_us() - before > ACK_WAIT_S * 1e6
        await delivery.ack()

    async def test_an_acknowledged_order_does_not_come_back(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        agent = await world.connect("log", "log-1")
        await scheduler.publish(TASK, b"work")
        await (await pulled(world, agent)).ack()
        assert await world.within(ACK_WAIT_S + 3.0, agent.pull("w-log", ACK_WAIT_S + 1.0)) is None

    async def test_a_terminated_order_does_not_come_back(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        agent = await world.connect("log", "log-1")
        await scheduler.publish(TASK, b"unsigned")
        await (await pulled(world, agent)).term("bad_mac")
        assert await world.within(ACK_WAIT_S + 3.0, agent.pull("w-log", ACK_WAIT_S + 1.0)) is None
        reader = await world.connect("reader", "r-1")
        assert await reader.last(TASK) is not None, "the journal keeps what was refused"

    async def test_handing_on_gives_it_to_another_at_once(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        dead, other = [await world.connect("log", f"log-{n}") for n in (1, 2)]
        await scheduler.publish(TASK, b"work")
        delivery = await pulled(world, dead)
        before = world.now_us()
        await scheduler.hand_on(delivery.reply)
        again = await pulled(world, other)
        assert again.deliveries == 2
        assert again.reply != delivery.reply
        assert world.now_us() - before < 2_000_000
        await again.ack()

    async def test_handing_on_what_was_finished_does_nothing(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        agent = await world.connect("log", "log-1")
        await scheduler.publish(TASK, b"work")
        delivery = await pulled(world, agent)
        await delivery.ack()
        await scheduler.hand_on(delivery.reply)
        assert await world.within(3.0, agent.pull("w-log", 0.5)) is None

    async def test_used_up_deliveries_are_told_and_end_the_order(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        agent = await world.connect("log", "log-1")
        seq = await scheduler.publish(TASK, b"hopeless")
        async with closing(scheduler.exhausted("w-log")) as used_up:
            told_of = asyncio.ensure_future(anext(used_up))
            for n in range(MAX_DELIVERIES):
                delivery = await pulled(world, agent)
                assert delivery.deliveries == n + 1
                await delivery.nak()
            assert await world.within(4.0, agent.pull("w-log", 1.0)) is None
            assert await world.within(4.0, told_of) == seq

    async def test_a_pull_that_was_given_up_swallows_no_order(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        impatient, other = [await world.connect("log", f"log-{n}") for n in (1, 2)]
        assert await world.within(3.0, impatient.pull("w-log", 0.3)) is None
        await scheduler.publish(TASK, b"work")
        delivery = await pulled(world, other)
        assert delivery.deliveries == 1
        await delivery.ack()


class TestConnections:
    async def test_a_client_is_seen_coming_and_going(self, world: World) -> None:
        monitor = await world.connect("monitor", "monitor-1")
        seen: list[Connection] = []
        follower = asyncio.create_task(follow(monitor, seen))
        try:
            agent, came = await world.within(10.0, first_seen_coming(world, seen))
            assert came.user == "log"
            await world.lose(agent)
            went = await world.within(3.0, told(world, seen, came.client, "disconnect"))
            assert went.number == came.number
            assert went.event > came.event
            assert went.reason
        finally:
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)


async def follow(broker: Broker, seen: list[Connection]) -> None:
    async with closing(broker.connections()) as events:
        async for event in events:
            seen.append(event)


async def first_seen_coming(world: World, seen: list[Connection]) -> tuple[Broker, Connection]:
    """Connect agents until one is seen: a follower tells what happens from when it is ready, and does not say when."""
    for n in range(20):
        agent = await world.connect("log", f"log-{n}")
        for _ in range(10):
            if any(event.client == f"log-{n}" for event in seen):
                return agent, await told(world, seen, f"log-{n}", "connect")
            await world.sleep(0.05)
    raise AssertionError("no client was seen coming")


async def told(world: World, seen: list[Connection], client: str, kind: str) -> Connection:
    while True:
        for event in seen:
            if (event.client, event.kind) == (client, kind):
                return event
        await world.sleep(0.05)


class TestSnapshots:
    async def test_what_was_saved_is_loaded(self, world: World) -> None:
        scheduler = await world.connect("scheduler", "scheduler-1")
        assert await scheduler.load_snapshot("scheduler.v1") is None
        await scheduler.save_snapshot("scheduler.v1", b"state at 5", 5)
        assert await scheduler.load_snapshot("scheduler.v1") == b"state at 5"
        assert await scheduler.load_snapshot("scheduler.v2") is None

    async def test_an_older_one_never_replaces_a_newer(self, world: World) -> None:
        first, second = [await world.connect("scheduler", f"scheduler-{n}") for n in (1, 2)]
        await first.save_snapshot("scheduler.v1", b"state at 5", 5)
        await second.save_snapshot("scheduler.v1", b"state at 9", 9)
        await first.save_snapshot("scheduler.v1", b"state at 7", 7)
        assert await first.load_snapshot("scheduler.v1") == b"state at 9"


class TestClosing:
    async def test_a_closed_connection_refuses_by_name(self, world: World) -> None:
        operator = await world.connect("operator", "op-1")
        await operator.close()
        with pytest.raises(BrokerDownError):
            await world.within(10.0, operator.publish(REPORTED, b"x"))
