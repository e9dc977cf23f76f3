"""Reassignment at once (spec 12): when the broker sees a worker's connection end, its open tasks go to another worker.

1. The broker's own disconnect event names the instance (a killed process: after milliseconds; a hung one: when it
   misses its pings, 5 s).
2. Wait until the journal is read up to that moment, so that a claim made just before is known.
3. Publish `agent.<instance>.lost` with the event's number as message id. Of several monitors exactly one has it stored:
   that one hands on, so no task is delivered twice over.
4. Give every delivery the instance held back to its queue, in its name.

If the winner dies between 3 and 4, or the broker's answer is lost, the tasks wait for their ack wait (5 s): the
backstop. A worker that is not dead at all, only cut off, finds its result fenced.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, TypeVar, cast

import structlog
from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from broker.contracts.base import Contract
from broker.contracts.monitor import AgentLost, AgentUp
from broker.envelope import Signer
from broker.errors import BrokerError, DuplicateError, Refusal
from broker.gate import Gate
from broker.port import Broker, CaughtUp, Connection, Stored
from broker.subjects import AGENTS
from broker.tasks import until_any_ends
from monitor_svc.claims import Held, OpenClaims, wanted

T = TypeVar("T")

LOOK_BACK: Final = 20_000
"""Journal messages read again at the start: more than any task's life."""
CATCH_UP_S: Final = 0.05
"""Longest wait for the journal's newest messages before handing on."""
RETRY_S: Final = 0.5


def _closing(iterator: AsyncIterator[T]) -> aclosing[Any]:
    """Close an iterator of the port at the end of a block; its type does not promise `aclose`, its kind has it."""
    return aclosing(cast(Any, iterator))


class Reassigner:
    """Follows claims and connections on one broker connection; `run` returns never but by cancellation.

    After an error of the broker it begins anew from the journal: nothing is remembered that could be wrong.
    """

    def __init__(
        self,
        broker: Broker,
        signer: Signer,
        gate: Gate,
        *,
        log: FilteringBoundLogger | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        """
        Args:
            gate: this reader's own: it remembers nonces by itself.
            sleep: waits so many seconds before the broker is tried again.
        """
        self.claims = OpenClaims()
        self.ready = asyncio.Event()
        """Set once the claims of the past are known."""
        self._broker = broker
        self._signer = signer
        self._gate = gate
        self._log: FilteringBoundLogger = (log or structlog.get_logger()).bind(part="reassign")
        self._sleep = sleep
        self._seen = 0
        self._news = asyncio.Event()
        self._up: dict[tuple[str, str], dict[int, int]] = {}
        """By worker: its live connections, and up to where the journal was read when each came."""

    async def run(self) -> None:
        """Hand on until cancelled."""
        while True:
            try:
                await self._follow()
            except BrokerError as error:
                self._log.warning("reassign_interrupted", error=str(error))
            await self._sleep(RETRY_S)

    async def _follow(self) -> None:
        self.claims, self._up, self._seen = OpenClaims(), {}, 0
        start = max(1, await self._broker.last_sequence() - LOOK_BACK)
        await until_any_ends(self._follow_connections(), self._follow_journal(start))

    # the journal

    async def _follow_journal(self, start: int) -> None:
        async with _closing(self._broker.read(start)) as items:
            async for item in items:
                if isinstance(item, CaughtUp):
                    self.ready.set()
                elif wanted(item.subject):
                    self._take(item)
                self._seen = max(self._seen, item.seq)
                self._news.set()

    def _take(self, stored: Stored) -> None:
        try:
            self.claims.take(self._gate.admit(stored))
        except Refusal as refusal:
            self._log.warning("claim_refused", seq=stored.seq, subject=stored.subject, reason=refusal.name)

    async def _read_up_to_now(self) -> None:
        """Wait until the journal is read up to now, at most `CATCH_UP_S`: its last message may be gone already."""
        target = await self._broker.last_sequence()
        try:
            async with asyncio.timeout(CATCH_UP_S):
                while self._seen < target:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            self._log.info("journal_not_read_up", seen=self._seen, last=target)

    # connections

    async def _follow_connections(self) -> None:
        async with _closing(self._broker.connections()) as events:
            async for event in events:
                if event.user not in AGENTS:
                    continue
                try:
                    await self._on_connection(event)
                except ValidationError:
                    self._log.warning("client_name_refused", client=event.client[:80], user=event.user)
                except BrokerError as error:
                    self._log.warning(
                        "connection_event_lost", client=event.client, number=event.event, error=str(error)
                    )

    async def _on_connection(self, event: Connection) -> None:
        live = self._up.setdefault((event.user, event.client), {})
        if event.kind == "connect":
            live.pop(event.number, None)  # a restarted broker counts from the beginning
            live[event.number] = self._seen
            up = AgentUp(instance=event.client, role=event.user, connection=event.number)
            await self._say_once(up, f"up-{event.event}")
            return
        _end(live, event.number)
        newer = min(live.values(), default=None)
        if not live:
            del self._up[(event.user, event.client)]
        await self._read_up_to_now()
        await self._on_lost(event, self.claims.of(event.user, event.client, newer))

    async def _on_lost(self, event: Connection, held: tuple[Held, ...]) -> None:
        lost = AgentLost(
            instance=event.client,
            role=event.user,
            connection=event.number,
            reason=event.reason[:200],
            handed_on=tuple(item.task_subject for item in held),
        )
        won = await self._say_once(lost, f"lost-{event.event}")
        self.claims.drop(held)
        if won:
            await self._hand_on(event, held)

    async def _hand_on(self, event: Connection, held: tuple[Held, ...]) -> None:
        for item in held:
            try:
                await self._broker.hand_on(item.claim.delivery)
                self._log.info("handed_on", instance=event.client, task=item.task_subject, claim=item.seq)
            except (BrokerError, ValueError) as error:
                # The ack wait hands it on later; the others must not wait for it.
                self._log.warning("not_handed_on", task=item.task_subject, error=str(error))

    async def _say_once(self, message: Contract, message_id: str) -> bool:
        """Publish a message that every monitor has to say; return whether this one's was stored."""
        frame = self._signer.seal(message)
        try:
            await self._broker.publish(message.subject(), frame, message_id=message_id)
        except DuplicateError:
            return False
        return True


def _end(live: dict[int, int], number: int) -> None:
    """Forget a connection that ended, and those that came before it: a broker that is killed never says how its
    connections ended, and what they leave behind must not pass for a newer one."""
    if number in live:
        for older in list(live)[: list(live).index(number) + 1]:
            del live[older]
