"""The auditor's life: journal in, rows out, each message exactly once.

1. Bring the schema up to date, look at where the chain stands (`startup.py`), remember the nonces of the recent past.
2. Read the journal from behind the last row. Gate every message in read-back mode: the refused ones are audited by
   name. Write batches, each in one transaction with what follows from it: the tables beside the chain, checkpoints.
3. After the commit, append checkpoints to the file and publish them, each once.

Nothing is acknowledged to anybody and nothing is kept in memory that matters: whatever dies, the database's own head
says where to go on. A database that is away is waited for while the journal keeps what comes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import stamina
import structlog
from structlog.typing import FilteringBoundLogger

from auditor_svc import checkpoint_file, startup
from auditor_svc.chain import ACCEPTED, Progress, Sign, append, checkpoint, due
from auditor_svc.errors import AuditError, HeadMovedError, StoreDownError
from auditor_svc.metrics import AuditMetrics
from auditor_svc.projections import Fact, columns_of, project
from auditor_svc.report import Fault
from auditor_svc.store import Batch, Store
from broker.contracts.control import Checkpoint
from broker.envelope import Signer
from broker.errors import AlreadyExistsError, BrokerDownError, BrokerError, PublishError, Refusal
from broker.gate import Gate, Trusted
from broker.port import Broker, CaughtUp, Stored
from broker.runtime.metrics import Health
from broker.tasks import end

BATCH_ROWS = 500
BATCH_S = 0.2
"""A batch is written when it is full, or so long after its first message."""
IDLE_S = 10.0
"""A journal that says nothing has no clock: after so long on our own, what is uncovered gets its checkpoint."""
RETRY_S = 0.5
READ_AHEAD = 2_000

Item = Stored | CaughtUp | BrokerError


class Auditor:
    """Audits one journal into one database. `run` returns never but by error or cancellation."""

    def __init__(
        self,
        broker: Broker,
        store: Store,
        gate: Gate,
        signer: Signer,
        sign: Sign,
        public_key: bytes,
        kept: Path,
        *,
        metrics: AuditMetrics | None = None,
        health: Health | None = None,
        log: FilteringBoundLogger | None = None,
        batch_s: float = BATCH_S,
        idle_s: float = IDLE_S,
    ) -> None:
        """
        Args:
            gate: this auditor's own; its memory of nonces is made from the database at every start.
            signer: seals the published checkpoints; `sign` and `public_key` are the checkpoints' own Ed25519 key.
            kept: the checkpoint file.
            batch_s, idle_s: see BATCH_S and IDLE_S; seconds.
        """
        self._broker = broker
        self._store = store
        self._gate = gate
        self._signer = signer
        self._sign = sign
        self._public_key = public_key
        self._kept = kept
        self._metrics = metrics or AuditMetrics()
        self._health = health or Health()
        self._log: FilteringBoundLogger = log or structlog.get_logger()
        self._batch_s = batch_s
        self._idle_s = idle_s
        self._progress = Progress()
        self._unkept: list[Checkpoint] = []
        self._unannounced: deque[Checkpoint] = deque()
        self._recorded: set[Fault] = set()
        self.faults: tuple[Fault, ...] = ()
        """What was wrong with the chain when it was taken up; auditing goes on all the same."""
        self.caught_up = asyncio.Event()
        """Set once everything that stood in the journal at the start is in the database."""

    @property
    def progress(self) -> Progress:
        """Where the chain stands, as far as it is committed."""
        return self._progress

    async def run(self) -> None:
        """Audit until cancelled; then sign what is not covered yet.

        Raises:
            StoreRefusedError, MigrationError: the database cannot be used as it is; people must look.
        """
        self._health.set("caught_up", False)
        try:
            while True:
                try:
                    await self._begin()
                    await self._follow()
                except HeadMovedError as error:
                    self._log.warning("head_moved", text=str(error))
                    await asyncio.sleep(RETRY_S)
                except BrokerDownError as error:
                    self._log.warning("waiting_for_broker", text=str(error))
                    await asyncio.sleep(RETRY_S)
        except asyncio.CancelledError:
            await self._end()
            raise
        finally:
            with suppress(AuditError):
                await self._store.close()

    async def _begin(self) -> None:
        async for attempt in self._until_store_is_up():
            with attempt:
                applied = await self._store.migrate()
                standing = await startup.take_up(self._store, checkpoint_file.read(self._kept), self._public_key)
                newest = standing.progress.head
                await self._remember()
        if applied:
            self._log.info("migrated", applied=applied)
        published = await startup.last_published(self._broker, standing.progress.checkpoints)
        self._progress = replace(standing.progress, checkpoints=published)
        self._unkept = list(standing.checkpoints)
        self._unannounced = deque(await startup.unpublished(self._broker, await self._store.checkpoints()))
        await self._say(standing.faults, journal_end=await self._broker.last_sequence())
        self._log.info("auditing", start=newest.journal_seq + 1, rows=newest.rows, faults=len(self.faults))

    async def _remember(self) -> None:
        """Fill the gate's memory, so that a message repeated across our restart is still `replayed`."""
        found = await self._store.fetch("SELECT max(time_us) AS newest FROM envelopes")
        newest = found[0]["newest"] or 0
        recent = await self._store.remembered(newest - startup.NONCE_WINDOW_US, newest - startup.LONG_WINDOW_US)
        for stored in recent:
            with suppress(Refusal):  # its key version may have been dropped since
                self._gate.admit(stored)

    async def _say(self, faults: tuple[Fault, ...], *, journal_end: int) -> None:
        head = self._progress.head
        if journal_end < head.journal_seq:
            sentence = f"the journal ends at {journal_end}, before the last audited message at {head.journal_seq}"
            faults = (*faults, Fault("rebuilt", head.journal_seq, f"{sentence}: it is another journal"))
        self.faults = faults
        self._health.set("chain", not faults)
        self._metrics.chain_ok.set(not faults)
        for fault in faults:
            self._log.error("chain_broken", kind=fault.kind, seq=fault.journal_seq, text=fault.sentence)
        new = [fault for fault in faults if fault not in self._recorded]
        await self._store.record_findings(new)
        self._recorded.update(new)

    async def _follow(self) -> None:
        queue: asyncio.Queue[Item] = asyncio.Queue(READ_AHEAD)
        reader = asyncio.create_task(self._read(queue))
        loop = asyncio.get_running_loop()
        written_at = loop.time()
        try:
            while True:
                items = await self._collect(queue)
                messages = [item for item in items if isinstance(item, Stored)]
                if messages:
                    await self._write(self._judge(messages))
                    written_at = loop.time()
                elif self._progress.uncovered and loop.time() - written_at >= self._idle_s:
                    await self._write(self._checkpoint_only())
                self._measure(queue, items)
                await self._announce()
                for item in items:
                    if isinstance(item, BrokerError):
                        raise item
        finally:
            await end(reader)

    async def _read(self, queue: asyncio.Queue[Item]) -> None:
        try:
            async for item in self._broker.read(self._progress.head.journal_seq + 1):
                await queue.put(item)
        except BrokerError as error:
            await queue.put(error)
        else:
            await queue.put(BrokerDownError("the journal's reader ended"))

    async def _collect(self, queue: asyncio.Queue[Item]) -> list[Item]:
        """Return what came until the batch is full or its time is over; nothing after a second of silence."""
        items: list[Item] = []
        loop = asyncio.get_running_loop()
        until = loop.time() + 1.0
        with suppress(TimeoutError):
            while len(items) < BATCH_ROWS:
                async with asyncio.timeout_at(until):
                    items.append(await queue.get())
                if len(items) == 1:
                    until = loop.time() + self._batch_s
        return items

    def _judge(self, messages: list[Stored]) -> tuple[Progress, Batch]:
        """Return the batch that these messages make, and the progress after it. Changes nothing but the gate."""
        progress = self._progress
        batch_rows, facts, checkpoints = [], [], []
        for stored in messages:
            verdict, fact = self._gated(stored)
            progress, row = append(progress, stored, verdict, columns_of(stored.data, verdict))
            batch_rows.append(row)
            if fact is not None:
                facts.append(fact)
            if due(progress, stored.time_us):
                progress, signed = checkpoint(progress, self._sign)
                checkpoints.append(signed)
        return progress, Batch(tuple(batch_rows), tuple(facts), tuple(checkpoints))

    def _gated(self, stored: Stored) -> tuple[str, Fact | None]:
        try:
            trusted: Trusted = self._gate.admit(stored)
        except Refusal as refusal:
            self._log.warning("refused", seq=stored.seq, subject=stored.subject, reason=refusal.name, text=str(refusal))
            return refusal.name, None
        return ACCEPTED, project(stored.seq, stored.time_us, trusted.message)

    def _checkpoint_only(self) -> tuple[Progress, Batch]:
        progress, signed = checkpoint(self._progress, self._sign)
        return progress, Batch(checkpoints=(signed,))

    async def _write(self, written: tuple[Progress, Batch]) -> None:
        """Commit a batch; on return it is in the database exactly once."""
        progress, batch = written
        async for attempt in self._until_store_is_up():
            with attempt:
                await self._store.append(self._progress.head, batch)
        self._progress = progress
        self._unkept.extend(batch.checkpoints)
        self._unannounced.extend(batch.checkpoints)
        self._metrics.count(batch)

    async def _announce(self) -> None:
        """Keep in the file and publish what is signed and committed; what cannot be done now is done later."""
        try:
            checkpoint_file.add(self._kept, self._unkept)
            self._unkept.clear()
        except OSError as error:
            self._log.error("checkpoint_unkept", file=str(self._kept), text=str(error))
        while self._unannounced:
            signed = self._unannounced[0]
            try:
                frame = self._signer.seal(signed, cause=signed.journal_seq)
                await self._broker.publish(signed.subject(), frame, once=True, message_id=signed.subject())
            except AlreadyExistsError:
                pass
            except (PublishError, BrokerDownError) as error:
                self._log.warning("checkpoint_unpublished", n=signed.n, text=str(error))
                return
            self._unannounced.popleft()

    def _measure(self, queue: asyncio.Queue[Item], items: list[Item]) -> None:
        self._metrics.lag.set(queue.qsize())
        self._metrics.journal_seq.set(self._progress.head.journal_seq)
        self._health.set("database", True)
        if any(isinstance(item, CaughtUp) for item in items):
            self.caught_up.set()
            self._health.set("caught_up", True)

    def _until_store_is_up(self) -> AsyncIterator[stamina.Attempt]:
        def on(error: Exception) -> bool:
            down = isinstance(error, StoreDownError)
            if down:
                self._health.set("database", False)
                self._log.warning("waiting_for_database", text=str(error))
            return down

        return aiter(stamina.retry_context(on=on, attempts=None, timeout=None, wait_initial=0.1, wait_max=2.0))

    async def _end(self) -> None:
        """Sign and publish what no checkpoint covers. Failing is no fault: the next start does it."""
        try:
            if self._progress.uncovered:
                progress, batch = self._checkpoint_only()
                await self._store.append(self._progress.head, batch)
                self._progress = progress
                self._unkept.extend(batch.checkpoints)
                self._unannounced.extend(batch.checkpoints)
            await self._announce()
        except (AuditError, BrokerError) as error:
            self._log.warning("ended_unsigned", rows=self._progress.uncovered, text=str(error))
