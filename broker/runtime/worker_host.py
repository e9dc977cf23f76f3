"""The host of a worker: takes one order at a time from a shared queue and stores one answer to it.

For each delivery: through the gate, as something to act on; skip it if its answer stands already; wait while the kill
switch is on; claim it; handle it within its time; store the answer, fenced on the claim; acknowledge.

- The claim's sequence is the fencing token: who claims later owns the order. A worker that was thought dead and comes
  back is refused by the broker when it stores, and must not acknowledge: its delivery may be another's by now.
- A task of its own tells the broker every second that the order is in work, from the first moment to the last.
- Whatever a handler raises becomes an answer that says so. Only what stops this process leaves an order unanswered; it
  goes to another worker.
- An order that the gate refuses is terminated with the refusal's name and stays in the journal. One whose key version
  is unknown is given back first: another worker, or this one a moment later, may have the key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog
from structlog.typing import FilteringBoundLogger

from broker.contracts.base import Contract
from broker.contracts.plan import DecisionTag
from broker.contracts.task import Claim, Task
from broker.envelope import Signer, wall_clock_us
from broker.errors import (
    AlreadyExistsError,
    BrokerDownError,
    BrokerError,
    DuplicateError,
    FencedError,
    JournalFullError,
    Refusal,
    UnknownKeyVersionError,
    UnknownOutcomeError,
)
from broker.gate import Gate, Trusted
from broker.port import Broker, Delivery, Fence, Stored
from broker.runtime.control import KillSwitch
from broker.runtime.metrics import Metrics
from broker.subjects import MAX_DELIVERIES, result_of, timer_subject
from broker.tasks import end

PULL_S: Final = 5.0
IN_PROGRESS_S: Final = 1.0
RETRY_S: Final = 0.2
DEFAULT_TIMEOUT_S: Final = 60.0
OUTCOMES: Final = ("answered", "answered_before", "fenced", "refused", "unfinished")


@dataclass(frozen=True, slots=True)
class Work:
    """An order as a handler sees it: trusted, claimed, fresh."""

    order: Contract
    seq: int
    """Journal sequence of the order."""
    time_us: int
    """Broker time of the order, microseconds since the epoch."""
    deliveries: int
    """1 the first time; more if another worker may have begun it."""
    tag: DecisionTag
    subject: str


class Handler(Protocol):
    """What a kind of worker does with an order. CPU-bound work belongs off the event loop."""

    async def handle(self, work: Work) -> Contract:
        """Return the answer. May be cancelled when its time is up; may be called again for the same order, by this or
        another worker, so it looks at the world before it changes it."""
        ...

    def failure(self, work: Work, error: Exception) -> Contract:
        """Return the answer that says that `handle` failed; TimeoutError if its time was up."""
        ...


@dataclass(slots=True)
class _Current:
    """The order in hand."""

    delivery: Delivery
    trusted: Trusted
    answer_subject: str
    fence: Fence | None = None

    @property
    def order(self) -> Contract:
        return self.trusted.message

    def work(self) -> Work:
        stored, tag = self.delivery.stored, self.trusted.envelope.tag
        return Work(self.order, stored.seq, stored.time_us, self.delivery.deliveries, tag, stored.subject)


class WorkerHost:
    """Works through one queue on one connection until `stop`."""

    def __init__(
        self,
        durable: str,
        handler: Handler,
        broker: Broker,
        signer: Signer,
        gate: Gate,
        *,
        switch: KillSwitch,
        tag: DecisionTag = "DETERMINISTIC",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        stopping: asyncio.Event | None = None,
        metrics: Metrics | None = None,
        log: FilteringBoundLogger | None = None,
        clock: Callable[[], int] = wall_clock_us,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        """
        Args:
            gate: this host's own.
            tag: what the answers are: a model's decision or not.
            timeout_s: for orders that name no time-out themselves, seconds.
            stopping: set by whoever wants the host to `stop`.
            clock: now, microseconds since the epoch; freshness is judged by it.
            sleep: waits so many seconds.
        """
        self._durable = durable
        self._handler = handler
        self._broker = broker
        self._signer = signer
        self._gate = gate
        self._switch = switch
        self._tag: DecisionTag = tag
        self._timeout_s = timeout_s
        self._metrics = metrics or Metrics()
        for outcome in OUTCOMES:
            self._metrics.work.labels(outcome)
        self._log: FilteringBoundLogger = (log or structlog.get_logger()).bind(queue=durable)
        self._clock = clock
        self._sleep = sleep
        self._stopping = stopping or asyncio.Event()

    def stop(self) -> None:
        """Take no further order; `run` returns when the one in hand is answered."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`, or until cancelled; an order in hand is then given back to the queue."""
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                delivery = await self._pull(stopping)
                if delivery is not None:
                    await self._carry(delivery)
        finally:
            stopping.cancel()

    async def _pull(self, stopping: asyncio.Task[bool]) -> Delivery | None:
        pulling = asyncio.ensure_future(self._broker.pull(self._durable, PULL_S))
        try:
            await asyncio.wait({pulling, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return pulling.result() if pulling.done() else None
        except BrokerDownError as error:
            self._log.warning("waiting_for_broker", error=str(error))
            await self._sleep(RETRY_S)
            return None
        finally:
            await end(pulling)

    async def _carry(self, delivery: Delivery) -> None:
        """See one delivery to its end; whatever goes wrong, the order is answered, refused or another's."""
        if delivery.deliveries > 1:
            self._metrics.redeliveries.inc()
        beating = asyncio.create_task(self._keep(delivery))
        outcome = "unfinished"
        try:
            outcome = await self._work(delivery)
        except asyncio.CancelledError:
            with suppress(BrokerError):
                await delivery.nak()
            raise
        except Refusal as refusal:
            outcome = "refused"
            await self._refuse(delivery, refusal)
        except Exception:
            # Neither answered nor acknowledged: it goes back to the queue, which counts how often that happens.
            self._log.exception("unfinished", subject=delivery.stored.subject)
            with suppress(BrokerError):
                await delivery.nak(2.0**delivery.deliveries)
        finally:
            await end(beating)
            self._metrics.work.labels(outcome).inc()

    async def _keep(self, delivery: Delivery) -> None:
        while True:
            await self._sleep(IN_PROGRESS_S)
            with suppress(BrokerError):
                await delivery.in_progress()

    async def _work(self, delivery: Delivery) -> str:
        current = self._admit(delivery)
        if await self._answered(current):
            await self._acknowledge(delivery)
            return "answered_before"
        current = await self._ready(delivery)
        began = time.monotonic()
        answer = await self._handle(current)
        self._metrics.work_seconds.observe(time.monotonic() - began)
        return await self._store(current, answer)

    async def _ready(self, delivery: Delivery) -> _Current:
        """Return the order, admitted and claimed, at a moment when nothing forbids to act on it.

        Each wait on the way, for the kill switch or for a broker that is away, may outlive the order or end in a halt;
        so both are looked at again after the last of them.
        """
        while True:
            if self._switch.halted:
                self._log.info("held", subject=delivery.stored.subject, reason=self._switch.reason)
                await self._switch.wait_clear()
            current = self._admit(delivery)
            if isinstance(current.order, Task):
                current.fence = await self._claim(current, current.order)
                self._admit(delivery)
            if not self._switch.halted:
                return current

    def _admit(self, delivery: Delivery) -> _Current:
        trusted = self._gate.admit(delivery.stored, now_us=self._clock())
        return _Current(delivery, trusted, answer_of(delivery.stored.subject))

    async def _answered(self, current: _Current) -> bool:
        return await self._patiently(lambda: self._broker.last(current.answer_subject)) is not None

    async def _claim(self, current: _Current, task: Task) -> Fence:
        claim = Claim(
            incident=task.incident,
            task_id=task.task_id,
            attempt=task.attempt,
            kind=task.kind,
            instance=self._signer.sender.partition("/")[2],
            task_seq=current.delivery.stored.seq,
            delivery=current.delivery.reply,
        )
        frame = self._signer.seal(claim, cause=current.delivery.stored.seq)
        # An answer that got lost may leave two claims of ours; the later one is the fence either way.
        seq = await self._patiently(lambda: self._broker.publish(claim.subject(), frame))
        return Fence(claim.subject(), seq)

    async def _handle(self, current: _Current) -> Contract:
        work, order = current.work(), current.order
        timeout_s = order.timeout_s if isinstance(order, Task) else self._timeout_s
        try:
            answer = await self._in_time(self._handler.handle(work), timeout_s)
            if answer.subject() != current.answer_subject:
                raise ValueError(f"the answer belongs on {answer.subject()}, not on {current.answer_subject}")
            return answer
        except Exception as error:
            self._log.warning("handler_failed", subject=work.subject, error=f"{type(error).__name__}: {error}")
            return self._handler.failure(work, error)

    async def _in_time(self, handling: Awaitable[Contract], timeout_s: float) -> Contract:
        task = asyncio.ensure_future(handling)
        alarm = asyncio.ensure_future(self._sleep(timeout_s))
        try:
            await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise TimeoutError(f"not done within {timeout_s:g} s")
            return task.result()
        finally:
            await end(task, alarm)

    async def _store(self, current: _Current, answer: Contract) -> str:
        frame = self._seal(current, answer)
        try:
            await self._patiently(lambda: self._publish(current, frame))
        except FencedError:
            self._metrics.fenced.inc()
            self._log.warning("fenced", subject=current.answer_subject)
            return "fenced"
        except (DuplicateError, AlreadyExistsError):
            await self._acknowledge(current.delivery)
            return "answered_before"
        await self._acknowledge(current.delivery)
        return "answered"

    def _seal(self, current: _Current, answer: Contract) -> bytes:
        cause = current.delivery.stored.seq
        try:
            return self._signer.seal(answer, subject=current.answer_subject, cause=cause, tag=self._tag)
        except Refusal as error:  # too large, or not what this role may say
            failure = self._handler.failure(current.work(), error)
            return self._signer.seal(failure, subject=current.answer_subject, cause=cause, tag=self._tag)

    async def _publish(self, current: _Current, frame: bytes) -> int:
        if isinstance(current.order, Task):
            return await self._broker.publish(
                current.answer_subject,
                frame,
                message_id=current.answer_subject,
                fence=current.fence,
                cancel_timer=timer_subject("scheduler", current.order.timer_id),
            )
        return await self._broker.publish(current.answer_subject, frame, once=True)

    async def _acknowledge(self, delivery: Delivery) -> None:
        # Lost, it comes again, is found answered, and is acknowledged then.
        with suppress(BrokerDownError, UnknownOutcomeError):
            await delivery.ack()

    async def _refuse(self, delivery: Delivery, refusal: Refusal) -> None:
        stored: Stored = delivery.stored
        self._log.warning("refused", seq=stored.seq, subject=stored.subject, reason=refusal.name, text=str(refusal))
        with suppress(BrokerDownError, UnknownOutcomeError):
            if isinstance(refusal, UnknownKeyVersionError) and delivery.deliveries < MAX_DELIVERIES:
                await delivery.nak(2.0**delivery.deliveries)
            else:
                await delivery.term(refusal.name)

    async def _patiently(self, attempt: Callable[[], Awaitable[Any]]) -> Any:
        """Try until the broker is there: an order in hand outlives an outage, or is fenced after it."""
        complained = False
        while True:
            try:
                return await attempt()
            except (BrokerDownError, UnknownOutcomeError, JournalFullError) as error:
                if not complained:
                    complained = True
                    self._log.warning("waiting_for_broker", error=str(error))
                await self._sleep(RETRY_S)


def answer_of(order_subject: str) -> str:
    """Return where the answer to an order stands: a task's result, a prompt's answer."""
    if order_subject.startswith("triage.task."):
        return result_of(order_subject)
    if order_subject.endswith(".prompted"):
        return order_subject.removesuffix(".prompted") + ".answered"
    raise ValueError(f"{order_subject} is no order")
