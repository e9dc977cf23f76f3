"""The host of workers: one order, one answer, whatever dies in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from broker.contracts.base import Contract
from broker.contracts.control import Halt, Resume
from broker.contracts.plan import PlanAnswered, PlanPrompted
from broker.contracts.task import Claim, Result, Task
from broker.envelope import open_frame
from broker.errors import JournalFullError
from broker.memory import MemoryBroker, MemoryJournal
from broker.runtime.control import KillSwitch
from broker.runtime.metrics import Metrics
from broker.runtime.worker_host import Work, WorkerHost, answer_of
from broker.subjects import Role
from tests.support.machines import result, task
from tests.support.signing import gate, master, signer

pytestmark = pytest.mark.asyncio
RESULT = "triage.result.log.i1.v1-t1.a1"


@dataclass
class World:
    """The world outside: each effect by its key, done at most once by whoever looks first."""

    effects: list[str] = field(default_factory=list)
    tries: list[str] = field(default_factory=list)


@dataclass
class Repairer:
    """Looks at the world, changes it, says so; takes as long as it is told."""

    name: str
    journal: MemoryJournal
    world: World
    takes_s: float = 1.0
    error: Exception | None = None

    async def handle(self, work: Work) -> Contract:
        assert isinstance(work.order, Task)
        self.world.tries.append(self.name)
        if work.order.effect_key not in self.world.effects:
            self.world.effects.append(work.order.effect_key)
        await self.journal.sleep(self.takes_s)
        if self.error is not None:
            raise self.error
        return result(work.order, f"done by {self.name}", instance=self.name)

    def failure(self, work: Work, error: Exception) -> Contract:
        assert isinstance(work.order, Task)
        return result(work.order, f"{type(error).__name__}", instance=self.name, status="FAIL")


class Confused(Repairer):
    """Answers another order than the one it was given."""

    async def handle(self, work: Work) -> Contract:
        return result(task("i1", "v1-t2"))


class Speechless(Repairer):
    """Cannot even say that it failed."""

    def failure(self, work: Work, error: Exception) -> Contract:
        raise RuntimeError("no words")


class Scene:
    """A scheduler that gives orders, and workers that take them."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.scheduler = MemoryBroker(self.journal, "scheduler-1", "scheduler")
        self.world = World()
        self.switch = KillSwitch()
        self.switch.know()
        self.metrics = Metrics()
        self._signer = signer("scheduler", journal=self.journal)

    async def order(self, order: Task | None = None) -> int:
        given = order or task()
        return await self.scheduler.publish(given.subject(), self._signer.seal(given), once=True)

    def handler(self, name: str = "log-1", **options: object) -> Repairer:
        repairer = Repairer(name, self.journal, self.world)
        for option, value in options.items():
            setattr(repairer, option, value)
        return repairer

    def worker(self, handler: Repairer) -> WorkerHost:
        broker = MemoryBroker(self.journal, handler.name, "log")
        return self.host("log", "w-log", handler, broker)

    def host(self, role: Role, durable: str, handler: Repairer, broker: MemoryBroker) -> WorkerHost:
        return WorkerHost(
            durable,
            handler,
            broker,
            signer(role, handler.name, journal=self.journal),
            gate(role),
            switch=self.switch,
            metrics=self.metrics,
            clock=lambda: self.journal.now_us,
            sleep=self.journal.sleep,
        )

    def answers(self) -> list[Result]:
        stored = self.journal.messages("triage.result.>")
        return [Result.decode(open_frame(item.data).payload) for item in stored]

    def claims(self) -> list[Claim]:
        stored = self.journal.messages("triage.claim.>")
        return [Claim.decode(open_frame(item.data).payload) for item in stored]

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def queue_is_empty(self) -> bool:
        return not self.journal.queues["w-log"].open


@asynccontextmanager
async def working(*hosts: WorkerHost) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run workers for a block; what ended one early is raised."""
    tasks = [asyncio.create_task(host.run()) for host in hosts]
    try:
        yield tasks
        for task_ in tasks:
            if task_.done() and not task_.cancelled():
                task_.result()
    finally:
        for task_ in tasks:
            task_.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_order_is_claimed_answered_and_acknowledged() -> None:
    scene = Scene()
    async with working(scene.worker(scene.handler())):
        seq = await scene.order()
        await scene.journal.advance(0.5)
        claim = scene.claims()[0]
        assert (claim.instance, claim.task_seq) == ("log-1", seq)
        assert claim.delivery.startswith("$JS.ACK.TRIAGE.w-log.")
        await scene.journal.advance(1)
    assert [answer.out for answer in scene.answers()] == ["done by log-1"]
    stored = scene.journal.last(RESULT)
    assert stored is not None
    assert open_frame(stored.data).cause == seq
    assert scene.queue_is_empty()
    assert scene.count("triage_work_total", outcome="answered") == 1


async def test_the_answer_takes_the_tasks_timer_back() -> None:
    scene = Scene()
    timer = "triage.timer.scheduler.task-i1-1"
    await scene.scheduler.schedule(
        timer, "triage.due.scheduler.task-i1-1", scene.journal.now_us + 60_000_000, b"time-out"
    )
    async with working(scene.worker(scene.handler())):
        await scene.order()
        await scene.journal.advance(2)
    assert scene.journal.last(timer) is None


async def test_a_worker_killed_in_mid_task_is_followed_by_another_and_the_effect_happens_once() -> None:
    scene = Scene()
    first, second = scene.handler("log-1", takes_s=3.0), scene.handler("log-2", takes_s=3.0)
    async with working(scene.worker(first)) as doomed:
        await scene.order()
        await scene.journal.advance(1)
        scene.journal.kill("log-1")
        doomed[0].cancel()
        async with working(scene.worker(second)):
            await scene.journal.advance(1)
            assert scene.world.tries == ["log-1"], "nobody told the queue yet"
            await scene.scheduler.hand_on(scene.claims()[0].delivery)
            await scene.journal.advance(4)
    assert scene.world.tries == ["log-1", "log-2"]
    assert scene.world.effects == ["i1/v1-t1/a1"]
    assert [answer.out for answer in scene.answers()] == ["done by log-2"]
    assert scene.count("triage_redeliveries_total") == 1


async def test_without_a_word_the_ack_wait_hands_a_dead_workers_order_on() -> None:
    scene = Scene()
    async with working(scene.worker(scene.handler("log-1", takes_s=30.0))) as doomed:
        await scene.order()
        await scene.journal.advance(1)
        scene.journal.kill("log-1")
        doomed[0].cancel()
        async with working(scene.worker(scene.handler("log-2"))):
            await scene.journal.advance(7)
    assert [answer.out for answer in scene.answers()] == ["done by log-2"]


async def test_a_zombies_late_answer_is_refused_and_does_not_end_anothers_delivery() -> None:
    scene = Scene()
    async with working(scene.worker(scene.handler("log-1", takes_s=4.0))):
        await scene.order()
        await scene.journal.advance(1)
        async with working(scene.worker(scene.handler("log-2", takes_s=6.0))):
            await scene.scheduler.hand_on(scene.claims()[0].delivery)
            await scene.journal.advance(4)
            assert scene.count("triage_fenced_total") == 1
            assert scene.answers() == []
            assert not scene.queue_is_empty(), "the zombie acknowledged what is another's"
            await scene.journal.advance(4)
    assert [answer.out for answer in scene.answers()] == ["done by log-2"]
    assert scene.queue_is_empty()


async def test_in_progress_keeps_an_order_longer_than_the_ack_wait() -> None:
    scene = Scene()
    async with working(
        scene.worker(scene.handler("log-1", takes_s=15.0)), scene.worker(scene.handler("log-2", takes_s=15.0))
    ):
        await scene.order()
        await scene.journal.advance(16)
    assert len(scene.world.tries) == 1
    assert len(scene.answers()) == 1


async def test_an_order_whose_answer_stands_is_acknowledged_and_not_done_again() -> None:
    scene = Scene()
    agent = MemoryBroker(scene.journal, "log-0", "log")
    await scene.order()
    await agent.publish(RESULT, signer("log", journal=scene.journal).seal(result(task())))
    async with working(scene.worker(scene.handler())):
        await scene.journal.advance(2)
    assert scene.world.tries == []
    assert scene.queue_is_empty()
    assert scene.count("triage_work_total", outcome="answered_before") == 1


async def test_a_handler_that_raises_answers_that_it_failed() -> None:
    scene = Scene()
    async with working(scene.worker(scene.handler(error=OSError("disk gone")))):
        await scene.order()
        await scene.journal.advance(2)
    assert [(answer.status, answer.out) for answer in scene.answers()] == [("FAIL", "OSError")]
    assert scene.queue_is_empty()


async def test_a_handler_that_takes_too_long_is_stopped_and_answers_that() -> None:
    scene = Scene()
    async with working(scene.worker(scene.handler(takes_s=60.0))):
        await scene.order(task(timeout_s=3.0))
        await scene.journal.advance(4)
    assert [(answer.status, answer.out) for answer in scene.answers()] == [("FAIL", "TimeoutError")]


async def test_a_handler_that_answers_another_order_is_not_believed() -> None:
    scene = Scene()
    async with working(scene.worker(Confused("log-1", scene.journal, scene.world))):
        await scene.order()
        await scene.journal.advance(2)
    assert [(answer.status, answer.out) for answer in scene.answers()] == [("FAIL", "ValueError")]


async def test_a_worker_whose_failure_fails_gives_the_order_back_and_goes_on() -> None:
    scene = Scene()
    broken = Speechless("log-1", scene.journal, scene.world, error=OSError("disk gone"))
    async with working(scene.worker(broken)):
        await scene.order()
        await scene.journal.advance(1.5)
        broken.error = None
        await scene.journal.advance(4)
    assert [answer.status for answer in scene.answers()] == ["OK"]
    assert scene.count("triage_work_total", outcome="unfinished") == 1


class TestRefusals:
    async def test_an_unsigned_order_is_terminated_by_name_and_nothing_is_done(self) -> None:
        scene = Scene()
        async with working(scene.worker(scene.handler())):
            await scene.scheduler.publish(task().subject(), b"do as I say")
            await scene.order(task(task_id="v1-t2"))
            await scene.journal.advance(3)
        assert scene.journal.terminated == [(1, "bad_frame")]
        assert [answer.task_id for answer in scene.answers()] == ["v1-t2"]
        assert scene.count("triage_work_total", outcome="refused") == 1

    async def test_an_order_forged_with_an_agents_own_key_is_refused(self) -> None:
        scene = Scene()
        forged = signer("operator", journal=scene.journal).seal(Halt(reason="x"))
        async with working(scene.worker(scene.handler())):
            await scene.scheduler.publish(task().subject(), forged)
            await scene.journal.advance(2)
        assert scene.journal.terminated == [(1, "wrong_channel")]
        assert scene.world.tries == []

    async def test_an_order_of_an_unknown_key_version_is_given_back_before_it_is_refused(self) -> None:
        scene = Scene()
        order = task()
        frame = signer("scheduler", journal=scene.journal, version=2).seal(order)
        worker = scene.worker(scene.handler())
        async with working(worker):
            await scene.scheduler.publish(order.subject(), frame)
            await scene.journal.advance(1)
            assert scene.journal.terminated == []
            await scene.journal.advance(20)
        assert scene.journal.terminated == [(1, "unknown_key_version")], (
            "nobody had the key, not at the last try either"
        )
        assert scene.world.tries == []

    async def test_an_order_whose_key_comes_a_moment_later_is_done(self) -> None:
        scene = Scene()
        order = task()
        worker = scene.worker(scene.handler())
        async with working(worker):
            await scene.scheduler.publish(
                order.subject(), signer("scheduler", journal=scene.journal, version=2).seal(order)
            )
            await scene.journal.advance(1)
            worker._gate.use(master(2).restricted_to("log"))
            await scene.journal.advance(5)
        assert [answer.status for answer in scene.answers()] == ["OK"]

    async def test_an_order_that_waited_too_long_is_not_acted_on(self) -> None:
        scene = Scene()
        await scene.order()
        await scene.journal.advance(130)
        async with working(scene.worker(scene.handler())):
            await scene.journal.advance(2)
        assert scene.journal.terminated == [(1, "expired")]
        assert scene.world.tries == []


@pytest.fixture
def no_claims(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """While it is set, the broker has no room for a claim."""
    full = asyncio.Event()
    full.set()
    publish = MemoryBroker.publish

    async def refusing(broker: MemoryBroker, subject: str, data: bytes, **options: Any) -> int:
        if full.is_set() and subject.startswith("triage.claim."):
            raise JournalFullError("no space left")
        return await publish(broker, subject, data, **options)

    monkeypatch.setattr(MemoryBroker, "publish", refusing)
    return full


class TestKillSwitch:
    async def test_a_halt_holds_work_without_losing_it(self) -> None:
        scene = Scene()
        scene.switch.heed(Halt(reason="stop everything"))
        async with working(scene.worker(scene.handler())):
            await scene.order()
            await scene.journal.advance(30)
            assert scene.world.tries == []
            assert scene.claims() == []
            scene.switch.heed(Resume(reason="go on"))
            await scene.journal.advance(2)
        assert [answer.status for answer in scene.answers()] == ["OK"]
        assert scene.count("triage_redeliveries_total") == 0

    async def test_what_a_long_halt_let_grow_old_is_not_acted_on(self) -> None:
        scene = Scene()
        scene.switch.heed(Halt(reason="stop everything"))
        async with working(scene.worker(scene.handler())):
            await scene.order()
            await scene.journal.advance(200)
            scene.switch.heed(Resume(reason="go on"))
            await scene.journal.advance(2)
        assert scene.world.tries == []
        assert scene.journal.terminated == [(1, "expired")]

    async def test_a_halt_that_comes_while_the_claim_waits_for_the_broker_holds_the_work(
        self, no_claims: asyncio.Event
    ) -> None:
        scene = Scene()
        async with working(scene.worker(scene.handler())):
            await scene.order()
            await scene.journal.advance(2)
            scene.switch.heed(Halt(reason="stop everything"))
            no_claims.clear()
            await scene.journal.advance(5)
            assert len(scene.claims()) == 1
            assert scene.world.tries == []
            scene.switch.heed(Resume(reason="go on"))
            await scene.journal.advance(3)
        assert [answer.status for answer in scene.answers()] == ["OK"]

    async def test_an_order_that_grows_old_while_its_claim_waits_is_not_acted_on(
        self, no_claims: asyncio.Event
    ) -> None:
        scene = Scene()
        async with working(scene.worker(scene.handler())):
            await scene.order()
            await scene.journal.advance(200)
            no_claims.clear()
            await scene.journal.advance(3)
        assert scene.world.tries == []
        assert scene.journal.terminated == [(1, "expired")]

    async def test_nothing_is_done_before_the_switch_is_known(self) -> None:
        scene = Scene()
        scene.switch = KillSwitch()
        async with working(scene.worker(scene.handler())):
            await scene.order()
            await scene.journal.advance(3)
            assert scene.world.tries == []
            scene.switch.know()
            await scene.journal.advance(2)
        assert len(scene.answers()) == 1


class TestOutages:
    async def test_an_answer_outlives_a_broker_that_is_away(self) -> None:
        scene = Scene()
        async with working(scene.worker(scene.handler(takes_s=1.0))):
            await scene.order()
            await scene.journal.advance(0.5)
            scene.journal.stop()
            await scene.journal.advance(3)
            scene.journal.restart()
            await scene.journal.advance(2)
        assert [answer.status for answer in scene.answers()] == ["OK"]
        assert scene.queue_is_empty()

    async def test_a_lost_acknowledgement_of_the_answer_doubles_nothing(self) -> None:
        scene = Scene()
        async with working(scene.worker(scene.handler(takes_s=1.0))):
            await scene.order()
            await scene.journal.advance(0.5)
            scene.journal.faults.lost_acks = 1
            await scene.journal.advance(3)
        assert len(scene.answers()) == 1
        assert scene.queue_is_empty()

    async def test_a_broker_away_while_waiting_for_work_is_waited_for(self) -> None:
        scene = Scene()
        async with working(scene.worker(scene.handler())):
            scene.journal.stop()
            await scene.journal.advance(30)
            scene.journal.restart()
            await scene.order()
            await scene.journal.advance(2)
        assert len(scene.answers()) == 1


class TestStopping:
    async def test_the_order_in_hand_is_finished_and_no_other_taken(self) -> None:
        scene = Scene()
        host = scene.worker(scene.handler(takes_s=2.0))
        async with working(host) as tasks:
            await scene.order()
            await scene.order(task(task_id="v1-t2"))
            await scene.journal.advance(1)
            host.stop()
            await scene.journal.advance(5)
            assert tasks[0].done()
        assert [answer.task_id for answer in scene.answers()] == ["v1-t1"]

    async def test_a_worker_that_waits_stops_at_once(self) -> None:
        scene = Scene()
        host = scene.worker(scene.handler())
        async with working(host) as tasks:
            await scene.journal.advance(1)
            host.stop()
            await scene.journal.advance(0)
            assert tasks[0].done()

    async def test_an_order_in_hand_is_given_back_at_a_cancellation(self) -> None:
        scene = Scene()
        async with working(scene.worker(scene.handler("log-1", takes_s=60.0))) as tasks:
            await scene.order()
            await scene.journal.advance(1)
            tasks[0].cancel()
            await scene.journal.advance(0)
            async with working(scene.worker(scene.handler("log-2"))):
                await scene.journal.advance(2)
        assert [answer.out for answer in scene.answers()] == ["done by log-2"]


class TestPrompts:
    async def test_a_prompt_is_answered_once_without_a_claim_and_tagged(self) -> None:
        journal = MemoryJournal()
        prompt = PlanPrompted(incident="i1", version=1, attempt=1, messages=(), prompt_hash="h")
        planner = MemoryBroker(journal, "planner-1", "planner")
        seal = signer("planner", journal=journal).seal
        await planner.publish(prompt.subject(), seal(prompt))
        switch = KillSwitch()
        switch.know()
        host = WorkerHost(
            "w-planner",
            Model(),
            planner,
            signer("planner", journal=journal),
            gate("planner"),
            switch=switch,
            tag="LLM_DECISION",
            clock=lambda: journal.now_us,
            sleep=journal.sleep,
        )
        async with working(host):
            await journal.advance(1)
        stored = journal.last("triage.plan.i1.v1.a1.answered")
        assert stored is not None
        assert open_frame(stored.data).tag == "LLM_DECISION"
        assert not journal.queues["w-planner"].open
        assert journal.messages("triage.claim.>") == []


class Model:
    """Answers a prompt at once."""

    async def handle(self, work: Work) -> Contract:
        return self._say(work, "ok", "")

    def failure(self, work: Work, error: Exception) -> Contract:
        return self._say(work, "error", str(error))

    def _say(self, work: Work, outcome: str, error: str) -> Contract:
        assert isinstance(work.order, PlanPrompted)
        return PlanAnswered(
            incident=work.order.incident,
            version=work.order.version,
            attempt=work.order.attempt,
            outcome="ok" if outcome == "ok" else "error",
            response="{}",
            prompt_hash=work.order.prompt_hash,
            response_hash="h",
            model="m",
            settings={},
            error=error,
        )


@pytest.mark.parametrize(
    ("order", "answer"),
    [
        ("triage.task.log.i1.v1-t1.a1", "triage.result.log.i1.v1-t1.a1"),
        ("triage.plan.i1.v1.a1.prompted", "triage.plan.i1.v1.a1.answered"),
    ],
)
async def test_every_order_has_one_place_for_its_answer(order: str, answer: str) -> None:
    assert answer_of(order) == answer


async def test_what_is_no_order_has_no_answer() -> None:
    with pytest.raises(ValueError, match="is no order"):
        answer_of("triage.incident.i1.closed")
