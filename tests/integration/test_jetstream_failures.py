"""The broker's adapter when things break: server killed, answers lost, worker killed, disk full, consumer gone."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from broker import jetstream
from broker.errors import (
    AlreadyExistsError,
    BrokerDownError,
    DuplicateError,
    FencedError,
    JournalFullError,
    PublishError,
    UnknownOutcomeError,
)
from broker.jetstream import JetStreamBroker, ensure
from broker.jetstream_link import NoAnswerError, Received, open_link
from broker.port import CaughtUp, Connection, Delivery, Fence, Stored
from broker.subjects import ACK_WAIT_S
from tests.integration.conftest import Connect
from tests.support.nats_server import NatsServer, running_server

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]
PATIENCE_S = 20.0


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.01)


class Follower:
    """Reads in the background and keeps everything it was given."""

    def __init__(self, broker: JetStreamBroker, pattern: str = "triage.>") -> None:
        self.items: list[Stored | CaughtUp] = []
        self._task = asyncio.ensure_future(self._follow(broker, pattern))

    async def _follow(self, broker: JetStreamBroker, pattern: str) -> None:
        async with aclosing(cast(Any, broker.read(1, pattern))) as items:
            async for item in items:
                self.items.append(item)

    def sequences(self) -> list[int]:
        return [item.seq for item in self.items if isinstance(item, Stored)]

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def crash_and_restart(server: NatsServer) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)


async def taken(pulling: Awaitable[Delivery | None]) -> bytes:
    """Return what a pull gave, acknowledged."""
    got = await pulling
    assert got is not None
    await got.ack()
    return got.stored.data


class TestTheServerIsKilled:
    async def test_publishing_and_reading_go_on_without_loss_or_repetition(
        self, nats: NatsServer, join: Connect
    ) -> None:
        operator, reader = await join(nats, "operator"), await join(nats, "reader")
        follower = Follower(reader)
        stored: list[int] = []
        stopping = asyncio.Event()

        async def speak() -> None:
            while not stopping.is_set():
                subject = f"triage.incident.i{len(stored)}.reported"
                stored.append(await operator.publish(subject, b"x" * 200, once=True))

        speaking = asyncio.ensure_future(speak())
        for _ in range(2):
            before = len(stored)
            await until(lambda before=before: len(stored) > before + 50, "publishing goes on")  # type: ignore[misc]
            await crash_and_restart(nats)
        before = len(stored)
        await until(lambda: len(stored) > before + 50, "publishing goes on after the restart")
        stopping.set()
        await speaking
        await until(lambda: follower.sequences()[-1:] == stored[-1:], "the reader has it all")
        await follower.stop()
        assert follower.sequences() == stored == list(range(1, len(stored) + 1))
        assert sum(isinstance(item, CaughtUp) for item in follower.items) == 1

    async def test_a_waiting_pull_and_a_held_delivery_survive(self, nats: NatsServer, join: Connect) -> None:
        scheduler, one, two = await join(nats, "scheduler"), await join(nats, "log"), await join(nats, "log", "log-2")
        await scheduler.publish("triage.task.log.i.t1.a1", b"held")
        held = await one.pull("w-log", 5.0)
        assert held is not None
        waiting = asyncio.ensure_future(two.pull("w-log", PATIENCE_S))
        await crash_and_restart(nats)
        await scheduler.publish("triage.task.log.i.t2.a1", b"new")
        await held.ack()
        got = [await taken(waiting)]
        # The broker notes deliveries down a little behind: one made right before it was killed may be made again, which
        # is what claims and effect keys are for.
        while got[-1] != b"new":
            got.append(await taken(two.pull("w-log", PATIENCE_S)))
        assert got in ([b"new"], [b"held", b"new"])
        assert await one.pull("w-log", ACK_WAIT_S + 0.5) is None, "the acknowledgement held"

    async def test_a_timer_that_was_due_meanwhile_comes_and_one_that_was_not_keeps_its_time(
        self, nats: NatsServer, join: Connect
    ) -> None:
        scheduler = await join(nats, "scheduler")
        now_us = time.time_ns() // 1_000
        await scheduler.schedule("triage.timer.scheduler.a", "triage.due.scheduler.a", now_us + 300_000, b"a")
        await scheduler.schedule("triage.timer.scheduler.b", "triage.due.scheduler.b", now_us + 2_500_000, b"b")
        await asyncio.to_thread(nats.kill)
        await asyncio.sleep(0.4)
        await asyncio.to_thread(nats.start)
        follower = Follower(scheduler, "triage.due.>")
        await until(lambda: len(follower.sequences()) == 2, "both came")
        await follower.stop()
        due = {item.data: item.time_us for item in follower.items if isinstance(item, Stored)}
        assert -5_000 <= due[b"b"] - (now_us + 2_500_000) < 1_500_000

    async def test_a_publish_while_it_stays_away_has_an_unknown_outcome(
        self, nats: NatsServer, join: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jetstream, "PUBLISH_S", 0.5)
        operator = await join(nats, "operator")
        await asyncio.to_thread(nats.kill)
        with pytest.raises(UnknownOutcomeError, match=r"triage\.control\.halt: no answer"):
            await operator.publish("triage.control.halt", b"x")
        assert await operator.pull("w-log", 0.3) is None

    async def test_following_connections_goes_on(self, nats: NatsServer, join: Connect) -> None:
        monitor = await join(nats, "monitor")
        seen: list[Connection] = []

        async def follow() -> None:
            async with aclosing(monitor.connections()) as events:
                async for event in events:
                    seen.append(event)

        following = asyncio.ensure_future(follow())
        await knock_until(nats, join, lambda: len(seen) > 0)
        await crash_and_restart(nats)
        before = len(seen)
        await knock_until(nats, join, lambda: len(seen) > before)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        assert [event.event for event in seen] == sorted({event.event for event in seen})


async def knock_until(server: NatsServer, join: Connect, condition: Callable[[], bool]) -> None:
    """Come and go until somebody has noticed."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "nobody noticed"
        await (await join(server, "sensors", "knocking")).close()
        await asyncio.sleep(0.05)


class Forgetful:
    """Lets requests on one subject through to the server, but loses the first answers."""

    def __init__(self, broker: JetStreamBroker, prefix: str, *, lost: int = 1) -> None:
        self.left = lost
        self._real: Callable[..., Awaitable[Received]] = broker._link.request
        self._prefix = prefix
        broker._link.request = self  # type: ignore[method-assign]

    async def __call__(self, subject: str, data: bytes = b"", **more: Any) -> Received:
        answer = await self._real(subject, data, **more)
        if self.left and subject.startswith(self._prefix):
            self.left -= 1
            raise NoAnswerError("the answer was lost")
        return answer


class TestTheAnswerIsLost:
    """Each message was stored; asking again must say so, and store nothing twice."""

    async def test_of_a_plain_publish(self, nats: NatsServer, join: Connect) -> None:
        operator = await join(nats, "operator")
        Forgetful(operator, "triage.", lost=2)
        assert await operator.publish("triage.control.halt", b"x") == 1
        assert await operator.last_sequence() == 1

    async def test_of_a_create_once(self, nats: NatsServer, join: Connect) -> None:
        scheduler = await join(nats, "scheduler")
        Forgetful(scheduler, "triage.")
        assert await scheduler.publish("triage.task.log.i.t.a1", b"order", once=True) == 1
        assert await scheduler.last_sequence() == 1

    async def test_of_a_create_once_that_another_won(self, nats: NatsServer, join: Connect) -> None:
        winner, loser = await join(nats, "scheduler", "s-1"), await join(nats, "scheduler", "s-2")
        won = await winner.publish("triage.task.log.i.t.a1", b"by the winner", once=True)
        Forgetful(loser, "triage.")
        with pytest.raises(AlreadyExistsError) as refused:
            await loser.publish("triage.task.log.i.t.a1", b"by the loser", once=True)
        assert refused.value.seq == won

    async def test_of_a_fenced_result(self, nats: NatsServer, join: Connect) -> None:
        agent = await join(nats, "log")
        claim = await agent.publish("triage.claim.log.i.t.a1", b"mine")
        Forgetful(agent, "triage.result.")
        fence, subject = Fence("triage.claim.log.i.t.a1", claim), "triage.result.log.i.t.a1"
        first = await agent.publish(subject, b"done", fence=fence, message_id=subject)
        with pytest.raises(DuplicateError) as refused:
            await agent.publish(subject, b"done", fence=fence, message_id=subject)
        assert refused.value.seq == first == claim + 1

    async def test_of_a_fenced_result_while_the_claim_moves_on(self, nats: NatsServer, join: Connect) -> None:
        agent, other = await join(nats, "log", "log-1"), await join(nats, "log", "log-2")
        claim = await agent.publish("triage.claim.log.i.t.a1", b"mine")
        lossy = Forgetful(agent, "triage.result.")
        real = lossy._real

        async def overtaken(subject: str, data: bytes = b"", **more: Any) -> Received:
            answer = await real(subject, data, **more)
            if lossy.left and subject.startswith("triage.result."):
                await other.publish("triage.claim.log.i.t.a1", b"now mine")
            return answer

        lossy._real = overtaken
        fence = Fence("triage.claim.log.i.t.a1", claim)
        stored = await agent.publish("triage.result.log.i.t.a1", b"done", fence=fence)
        assert stored == claim + 1
        with pytest.raises(FencedError):
            await agent.publish("triage.result.log.i.t.a1", b"late", fence=fence)

    async def test_of_a_timer(self, nats: NatsServer, join: Connect) -> None:
        scheduler = await join(nats, "scheduler")
        Forgetful(scheduler, "triage.timer.")
        at_us = time.time_ns() // 1_000 + 60_000_000
        await scheduler.schedule("triage.timer.scheduler.t", "triage.due.scheduler.t", at_us, b"tick")
        with pytest.raises(AlreadyExistsError):
            await scheduler.schedule("triage.timer.scheduler.t", "triage.due.scheduler.t", at_us, b"tock")


class TestAWorkerIsKilled:
    async def test_its_task_is_handed_on_by_the_broker_event_of_its_death(
        self, nats: NatsServer, join: Connect
    ) -> None:
        scheduler, monitor = await join(nats, "scheduler"), await join(nats, "monitor")
        doomed = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("hanging_worker.py")),
            *(nats.url, "log", nats.passwords["log"], "w-log"),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            await scheduler.publish("triage.task.log.i.t.a1", b"order")
            assert doomed.stdout is not None
            reply = (await asyncio.wait_for(doomed.stdout.readline(), PATIENCE_S)).decode().strip()
            successor = await join(nats, "log", "log-2")
            waiting: asyncio.Task[Delivery | None] = asyncio.ensure_future(successor.pull("w-log", PATIENCE_S))
            async with aclosing(monitor.connections()) as events:
                gone = asyncio.ensure_future(self._gone(events, "log-doomed"))
                await knock_until(nats, join, lambda: self._noticed > 0)
                killed = time.monotonic()
                doomed.send_signal(signal.SIGKILL)
                event = await asyncio.wait_for(gone, PATIENCE_S)
                await monitor.hand_on(reply)
                delivery = await asyncio.wait_for(waiting, PATIENCE_S)
            took_s = time.monotonic() - killed
            assert (event.user, event.kind) == ("log", "disconnect")
            assert delivery is not None
            assert (delivery.stored.data, delivery.deliveries) == (b"order", 2)
            assert took_s < ACK_WAIT_S / 2, "faster than the backstop"
            await delivery.ack()
        finally:
            if doomed.returncode is None:
                doomed.kill()
            await doomed.wait()
            doomed._transport.close()  # type: ignore[attr-defined]

    _noticed = 0

    async def _gone(self, events: Any, client: str) -> Connection:
        async for event in events:
            self._noticed += 1
            if event.client == client and event.kind == "disconnect":
                found: Connection = event
                return found
        raise AssertionError("the events ended")


class TestPulls:
    async def test_a_cancelled_pull_swallows_nothing(self, nats: NatsServer, join: Connect) -> None:
        scheduler, one, two = await join(nats, "scheduler"), await join(nats, "log"), await join(nats, "log", "log-2")
        for n in range(10):
            given_up = asyncio.ensure_future(one.pull("w-log", PATIENCE_S))
            await asyncio.sleep(0.005)
            given_up.cancel()
            # The order may still be on its way to the one who gave up; then it is handed back at once.
            started = time.monotonic()
            await scheduler.publish(f"triage.task.log.i.t{n}.a1", b"order")
            got = await two.pull("w-log", PATIENCE_S)
            assert got is not None
            assert time.monotonic() - started < ACK_WAIT_S / 2
            await got.ack()

    async def test_two_pulls_of_one_queue_at_a_time_are_refused(self, nats: NatsServer, join: Connect) -> None:
        agent = await join(nats, "log")
        first = asyncio.ensure_future(agent.pull("w-log", 0.5))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one at a time"):
            await agent.pull("w-log", 0.5)
        assert await first is None

    async def test_closing_ends_a_waiting_pull_by_name(self, nats: NatsServer, join: Connect) -> None:
        agent = await join(nats, "log")
        waiting = asyncio.ensure_future(agent.pull("w-log", PATIENCE_S))
        await asyncio.sleep(0.05)
        await agent.close()
        with pytest.raises(BrokerDownError):
            await asyncio.wait_for(waiting, 5.0)


class TestReading:
    async def test_a_consumer_that_disappears_is_replaced_without_a_gap(self, nats: NatsServer, join: Connect) -> None:
        operator, reader = await join(nats, "operator"), await join(nats, "reader")
        follower = Follower(reader)
        admin = await open_link(nats.url, user="admin", password=nats.passwords["admin"], name="admin")
        for n in range(3):
            await operator.publish(f"triage.incident.a{n}.reported", b"x")
            await until(lambda n=n: len(follower.sequences()) == 2 * n + 1, "read so far")  # type: ignore[misc]
            names = json.loads((await admin.request("$JS.API.CONSUMER.NAMES.TRIAGE", timeout_s=2.0)).data)["consumers"]
            for name in names:
                if not name.startswith("w-"):
                    await admin.request(f"$JS.API.CONSUMER.DELETE.TRIAGE.{name}", timeout_s=2.0)
            await operator.publish(f"triage.incident.b{n}.reported", b"x")
            await until(lambda n=n: len(follower.sequences()) == 2 * n + 2, "read after the loss")  # type: ignore[misc]
        await admin.close()
        await follower.stop()
        assert follower.sequences() == [1, 2, 3, 4, 5, 6]

    async def test_a_slow_reader_gets_everything_in_order(self, nats: NatsServer, join: Connect) -> None:
        operator, reader = await join(nats, "operator"), await join(nats, "reader")
        many = 3_000
        for start in range(0, many, 500):
            batch = range(start, start + 500)
            await asyncio.gather(*(operator.publish(f"triage.incident.i{n}.reported", b"x" * 4_000) for n in batch))
        seen: list[int] = []
        async with aclosing(cast(Any, reader.read(1, follow=False))) as items:
            async for item in items:
                if isinstance(item, Stored):
                    seen.append(item.seq)
                if item.seq % 1_000 == 0:
                    await asyncio.sleep(0.7)  # longer than a heartbeat
        assert seen == list(range(1, many + 1))

    async def test_closing_ends_a_waiting_reader_by_name(self, nats: NatsServer, join: Connect) -> None:
        reader = await join(nats, "reader")
        async with aclosing(cast(Any, reader.read())) as items:
            assert await anext(items) == CaughtUp(0)
            waiting = asyncio.ensure_future(anext(items))
            await asyncio.sleep(0)
            await reader.close()
            with pytest.raises(BrokerDownError):
                await asyncio.wait_for(waiting, 5.0)

    async def test_a_broker_without_streams_is_named(self, tmp_path: Path, join: Connect) -> None:
        with running_server(tmp_path / "empty") as server:
            reader = await join(server, "reader")
            with pytest.raises(BrokerDownError, match="stream not found"):
                await anext(reader.read())
            await reader.close()


class TestLimits:
    async def test_a_full_journal_refuses_by_name_and_loses_nothing(self, tmp_path: Path, join: Connect) -> None:
        with running_server(tmp_path / "small", max_store_bytes=600_000) as server:
            await ensure(server.url, server.passwords["admin"])
            operator, reader = await join(server, "operator"), await join(server, "reader")
            stored: list[int] = []

            async def fill() -> None:
                for n in range(100):
                    stored.append(await operator.publish(f"triage.incident.i{n}.reported", b"x" * 20_000))

            with pytest.raises(JournalFullError, match="the journal is full"):
                await fill()
            assert len(stored) > 10
            async with aclosing(cast(Any, reader.read(1, follow=False))) as items:
                read = [item.seq async for item in items if isinstance(item, Stored)]
            assert read == stored
            await operator.close()
            await reader.close()

    async def test_what_is_larger_than_any_envelope_is_refused(self, nats: NatsServer, join: Connect) -> None:
        operator = await join(nats, "operator")
        with pytest.raises(PublishError, match="message size exceeds"):
            await operator.publish("triage.control.halt", b"x" * 400_000)
        with pytest.raises(PublishError, match="more than the broker takes"):
            await operator.publish("triage.control.halt", b"x" * 9_000_000)
        assert await operator.publish("triage.control.halt", b"fits") == 1

    async def test_a_snapshot_of_megabytes_is_kept(self, nats: NatsServer, join: Connect) -> None:
        scheduler = await join(nats, "scheduler")
        state = bytes(range(256)) * 8_000
        await scheduler.save_snapshot("scheduler.v1", state, 9)
        assert await scheduler.load_snapshot("scheduler.v1") == state
        with pytest.raises(PublishError, match="more than the broker takes"):
            await scheduler.save_snapshot("scheduler.v1", b"x" * 9_000_000, 10)
        assert await scheduler.load_snapshot("scheduler.v1") == state

    async def test_both_expectations_at_once_are_refused(self, nats: NatsServer, join: Connect) -> None:
        agent = await join(nats, "log")
        with pytest.raises(ValueError, match="not both"):
            await agent.publish("triage.result.log.i.t.a1", b"x", once=True, fence=Fence("triage.claim.log.i.t.a1", 1))


class TestSetup:
    async def test_running_it_again_changes_nothing_and_mends_what_was_changed(self, nats: NatsServer) -> None:
        admin = await open_link(nats.url, user="admin", password=nats.passwords["admin"], name="admin")

        async def info(subject: str) -> dict[str, Any]:
            told: dict[str, Any] = json.loads((await admin.request(subject, timeout_s=2.0)).data)["config"]
            return told

        subjects = ("$JS.API.STREAM.INFO.SYSEV", "$JS.API.STREAM.INFO.TRIAGE", "$JS.API.CONSUMER.INFO.TRIAGE.w-log")
        before = [await info(subject) for subject in subjects]
        changed = {**before[0], "max_msgs": 5}
        await admin.request("$JS.API.STREAM.UPDATE.SYSEV", json.dumps(changed).encode(), timeout_s=2.0)
        config = {**before[2], "max_ack_pending": 1}
        body = json.dumps({"stream_name": "TRIAGE", "config": config}).encode()
        await admin.request("$JS.API.CONSUMER.CREATE.TRIAGE.w-log.triage.task.log.>", body, timeout_s=2.0)
        assert [await info(subject) for subject in subjects] != before
        for _ in range(2):
            await ensure(nats.url, nats.passwords["admin"])
            assert [await info(subject) for subject in subjects] == before
        await admin.close()

    async def test_it_needs_the_administrators_password(self, nats: NatsServer) -> None:
        with pytest.raises(BrokerDownError, match="refused user admin"):
            await ensure(nats.url, nats.passwords["log"])
