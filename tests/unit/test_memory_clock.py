"""The fake broker's own parts, beyond the port: its clock, its faults."""

from __future__ import annotations

import asyncio

import pytest

from broker.errors import BrokerDownError, JournalFullError, UnknownOutcomeError
from broker.memory import MemoryBroker, MemoryJournal
from broker.memory_queue import parse_reply

pytestmark = pytest.mark.asyncio
REPORTED = "triage.incident.i1.reported"


async def test_sleepers_wake_in_order_of_their_time_and_see_it() -> None:
    journal = MemoryJournal(start_us=0)
    woken: list[tuple[str, int]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await journal.sleep(seconds)
        woken.append((name, journal.now_us))

    tasks = [asyncio.create_task(sleeper(name, seconds)) for name, seconds in (("late", 2.0), ("early", 0.5))]
    await journal.advance(1.0)
    assert woken == [("early", 500_000)]
    await journal.advance(5.0)
    assert woken == [("early", 500_000), ("late", 2_000_000)]
    assert journal.now_us == 6_000_000
    await asyncio.gather(*tasks)


async def test_what_a_reaction_starts_happens_within_the_same_advance() -> None:
    journal = MemoryJournal(start_us=0)

    async def twice() -> None:
        await journal.sleep(1.0)
        await journal.sleep(1.0)

    task = asyncio.create_task(twice())
    await journal.advance(2.0)
    assert task.done()


async def test_time_does_not_pass_by_itself() -> None:
    journal = MemoryJournal()
    before = journal.now_us
    task = asyncio.create_task(journal.sleep(0.001))
    await asyncio.sleep(0.01)
    assert journal.now_us == before
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_server_that_is_down_refuses_and_keeps_what_it_had() -> None:
    journal = MemoryJournal()
    broker = MemoryBroker(journal, "op-1", "operator")
    await broker.publish(REPORTED, b"x")
    journal.stop()
    with pytest.raises(BrokerDownError):
        await broker.publish(REPORTED, b"y")
    with pytest.raises(BrokerDownError):
        await broker.last(REPORTED)
    journal.restart()
    assert await broker.last_sequence() == 1


async def test_a_reader_waits_a_server_out_and_misses_nothing() -> None:
    journal = MemoryJournal()
    broker = MemoryBroker(journal, "op-1", "operator")
    seen: list[object] = []

    async def reading() -> None:
        async for item in broker.read():
            seen.append(item)

    task = asyncio.create_task(reading())
    await broker.publish(REPORTED, b"x")
    journal.stop()
    await journal.advance(5)
    journal.restart()
    await broker.publish("triage.incident.i2.reported", b"y")
    await journal.advance(1)
    assert len(seen) == 3
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_lost_answer_means_stored_a_lost_publish_means_not() -> None:
    journal = MemoryJournal()
    broker = MemoryBroker(journal, "op-1", "operator")
    journal.faults.lost_acks = 1
    with pytest.raises(UnknownOutcomeError):
        await broker.publish(REPORTED, b"x")
    assert await broker.last_sequence() == 1
    journal.faults.lost_publishes = 1
    with pytest.raises(UnknownOutcomeError):
        await broker.publish(REPORTED, b"y")
    assert await broker.last_sequence() == 1


async def test_a_full_journal_stores_nothing() -> None:
    journal = MemoryJournal()
    broker = MemoryBroker(journal, "op-1", "operator")
    journal.faults.full = True
    with pytest.raises(JournalFullError):
        await broker.publish(REPORTED, b"x", message_id="m1")
    journal.faults.full = False
    assert await broker.publish(REPORTED, b"x", message_id="m1") == 1


async def test_a_killed_client_is_told_by_the_server_and_can_do_nothing_more() -> None:
    journal = MemoryJournal()
    broker = MemoryBroker(journal, "log-1", "log")
    journal.kill("log-1", "Read Error")
    assert [(event.kind, event.reason) for event in journal.connection_log] == [
        ("connect", ""),
        ("disconnect", "Read Error"),
    ]
    with pytest.raises(BrokerDownError):
        await broker.pull("w-log", 1.0)


@pytest.mark.parametrize("reply", ["", "triage.task.log.i1.t1.a1", "$JS.ACK.TRIAGE.w-log.1.x.0.0.0"])
async def test_only_a_deliverys_reply_can_be_handed_on(reply: str) -> None:
    with pytest.raises(ValueError, match="not the reply subject"):
        parse_reply(reply)
