"""The host of a machine: journal in, commands out.

1. Load the snapshot, read on from there. While catching up, what the machine decides stays open and is compared with
   the journal as its subject is read (`Decider`).
2. When caught up, and from then on whenever nothing more waits to be read, say what is still open, in the order of
   decision, each created if absent. If another instance was faster, what it said must be the same.
3. Keep a snapshot now and then. It carries what is open, so that no death loses a command.

A broker that is away is waited for: commands stay open, nothing is lost, nothing is reordered. A refused message is
counted, logged and passed over. A divergence ends the host: two truths must not both go on.

A new version of a machine takes over at a marked place (`control.takeover`): it never says or compares what an older
one decided before it; an older one that reads the mark stops deciding.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, Literal, get_args

import structlog
from structlog.typing import FilteringBoundLogger

from broker.contracts.control import Takeover, Timer
from broker.contracts.machine import Machine, StateT
from broker.envelope import DEFAULT_TTL_S, MAX_TTL_S, Signer, open_frame
from broker.errors import (
    AlreadyExistsError,
    BadFrameError,
    BrokerDownError,
    BrokerError,
    DivergenceError,
    JournalFullError,
    PublishError,
    Refusal,
    SchemaError,
    SnapshotError,
    TooLargeError,
    UnknownOutcomeError,
)
from broker.gate import Gate, Trusted
from broker.port import Broker, CaughtUp, Stored
from broker.runtime.decider import Decided, Decider
from broker.runtime.metrics import Health, Metrics
from broker.runtime.snapshot import Snapshot, key_of, pack, restore
from broker.tasks import end

SNAPSHOT_EVENTS: Final = 500
SNAPSHOT_US: Final = 30_000_000
RETRY_S: Final = 0.2
READ_AHEAD: Final = 1_000
"""Most messages that wait in memory between reading and deciding."""
Outcome = Literal["said", "already_there", "already_read", "refused"]
"""said: by us. already_there: by another instance, further on in the journal. already_read: the same, and behind us."""
TO_BE_READ: Final[frozenset[Outcome]] = frozenset({"said", "already_there"})
SAY_AT_LEAST_EVERY: Final = 64
"""Under a flood there is always more to read: say what is open after so many messages all the same."""

Item = Stored | CaughtUp | BrokerError
Observer = Callable[[Trusted], None]


class MachineHost(Generic[StateT]):
    """Runs one machine on one connection. `run` returns never but by error or cancellation.

    After a cancellation or an error nothing is lost: start another host and it goes on from the journal.
    """

    def __init__(
        self,
        machine: Machine[StateT],
        broker: Broker,
        signer: Signer,
        gate: Gate,
        *,
        metrics: Metrics | None = None,
        health: Health | None = None,
        log: FilteringBoundLogger | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        observers: tuple[Observer, ...] = (),
    ) -> None:
        """
        Args:
            gate: this host's own; its memory of nonces goes into the snapshots.
            sleep: waits so many seconds before something is tried again.
            observers: called with every trusted message after the machine took it, for what a shell has to notice.
        """
        self.machine = machine
        self.caught_up = asyncio.Event()
        """Set once everything that stood in the journal at the start was decided upon."""
        self.superseded = False
        """True after a newer version of the machine took over."""
        self._broker = broker
        self._signer = signer
        self._gate = gate
        self._metrics = metrics or Metrics()
        for outcome in get_args(Outcome):
            self._metrics.commands.labels(outcome)
        self._health = health or Health()
        self._log: FilteringBoundLogger = (log or structlog.get_logger()).bind(machine=machine.name)
        self._sleep = sleep
        self._observers = observers
        self._decider: Decider[StateT] = Decider(machine)
        self._unsaid_since = 0
        self._saved_seq = 0
        self._saved_us = 0
        self._has_snapshot = False
        """Of this machine with this configuration."""
        self._changes_at: int | None = None
        """Where the configuration changes: up to this sequence the old one decides. None: it has not changed."""

    @property
    def state(self) -> StateT:
        """The machine's state as of `seq`."""
        return self._decider.state

    @property
    def seq(self) -> int:
        """Last journal sequence that was taken."""
        return self._decider.seq

    async def run(self) -> None:
        """Host the machine until cancelled.

        Raises:
            DivergenceError: the journal holds something else than the machine decides; both texts were logged.
            BrokerDownError: the connection was closed for good.
        """
        self._health.set("caught_up", False)
        since = await self._begin()
        await self._load(since)
        self._log.info("reading", start=self.seq + 1, since=since)
        queue: asyncio.Queue[Item] = asyncio.Queue(READ_AHEAD)
        reader = asyncio.create_task(self._read(queue))
        try:
            await self._take_all(queue)
            await asyncio.Event().wait()
        except DivergenceError as error:
            self._report_divergence(error)
            raise
        finally:
            await end(reader)

    async def save(self) -> None:
        """Keep a snapshot now. Failing is no fault: the journal has everything."""
        snapshot = Snapshot(self.seq, self.state, self._gate.dump(), open=self._decider.open, said=self._decider.said)
        try:
            await self._broker.save_snapshot(key_of(self.machine), pack(self._decider.machine, snapshot), self.seq)
        except BrokerError as error:
            self._log.warning("snapshot_not_saved", seq=self.seq, error=str(error))

    # reading

    async def _read(self, queue: asyncio.Queue[Item]) -> None:
        try:
            async for item in self._broker.read(self.seq + 1):
                await queue.put(item)
            await queue.put(BrokerDownError("the journal ended"))
        except BrokerError as error:
            await queue.put(error)

    async def _take_all(self, queue: asyncio.Queue[Item]) -> None:
        """Take what is read, one after the other, until a newer version of the machine takes over."""
        while not self.superseded:
            item = await queue.get()
            self._metrics.lag.set(queue.qsize())
            if isinstance(item, BrokerError):
                raise item
            if isinstance(item, CaughtUp):
                await self._say_open()
                await self._begin_live()
                continue
            self._take(item)
            self._unsaid_since += 1
            pressing = queue.empty() or self._unsaid_since >= SAY_AT_LEAST_EVERY or self.superseded
            if self.caught_up.is_set() and pressing:
                await self._say_open()
                await self._save_if_due(item)

    def _change_configuration(self, seq: int) -> None:
        """Decide with this host's own configuration from `seq` on, if the snapshot's old one decided up to there."""
        if self._changes_at is not None and seq > self._changes_at:
            self._changes_at = None
            self._decider.go_on_as(self.machine)

    async def _begin_live(self) -> None:
        self._change_configuration(self._changes_at + 1 if self._changes_at is not None else 0)
        if not self._has_snapshot:
            # Whoever records a run finds every machine's configuration and a state to begin with.
            await self.save()
        self.caught_up.set()
        self._health.set("caught_up", True)
        self._log.info("caught_up", seq=self.seq)

    def _take(self, stored: Stored) -> None:
        self._change_configuration(stored.seq)
        try:
            trusted = self._gate.admit(stored)
        except Refusal as refusal:
            self._decider.pass_over(stored.seq)
            self._log.warning("refused", seq=stored.seq, subject=stored.subject, reason=refusal.name, text=str(refusal))
            return
        try:
            self._decider.apply(trusted)
        except DivergenceError:
            raise
        except Exception:
            # A machine promises to take every valid event. If it breaks the promise, the event is passed over, here
            # as at every later reading: one bad message must not end the role for good.
            self._metrics.machine_faults.inc()
            self._log.exception("machine_fault", seq=stored.seq, subject=stored.subject)
        if isinstance(trusted.message, Takeover):
            self._heed(trusted.message)
        for observer in self._observers:
            observer(trusted)

    def _heed(self, takeover: Takeover) -> None:
        if takeover.machine == self.machine.name and takeover.version > self.machine.version:
            self.superseded = True
            self._log.warning("superseded", version=self.machine.version, by=takeover.version, seq=self.seq)

    # saying

    async def _say_open(self) -> None:
        self._unsaid_since = 0
        for decided in self._decider.open:
            if self._decider.is_open(decided):
                outcome = await self._say(decided)
                self._metrics.commands.labels(outcome).inc()
                self._decider.was_said(decided, to_be_read=outcome in TO_BE_READ)

    async def _say(self, decided: Decided) -> Outcome:
        """Say one command, however long the broker is away."""
        complained = False
        while True:
            try:
                return await self._try_to_say(decided)
            except (BrokerDownError, UnknownOutcomeError, JournalFullError) as error:
                if not complained:
                    complained = True
                    self._health.set("broker", False)
                    self._log.warning("waiting_for_broker", subject=decided.subject, error=str(error))
                await self._sleep(RETRY_S)
            finally:
                if complained:
                    self._health.set("broker", True)

    async def _try_to_say(self, decided: Decided) -> Outcome:
        try:
            await self._hand_over(decided)
        except AlreadyExistsError:
            return await self._compare(decided)
        except (BrokerDownError, UnknownOutcomeError, JournalFullError):
            raise
        except (PublishError, Refusal) as error:
            # Nothing that is tried again will help; the time-out timers beside the command end what waits for it.
            self._log.error("command_refused", subject=decided.subject, cause=decided.cause, error=str(error))
            return "refused"
        return "said"

    async def _hand_over(self, decided: Decided) -> None:
        if decided.message is None:
            await self._broker.cancel(decided.subject)
        elif isinstance(decided.message, Timer):
            ahead_s = max(0.0, (decided.message.due_us - decided.time_us) / 1_000_000)
            frame = self._seal(decided, min(MAX_TTL_S, DEFAULT_TTL_S + ahead_s))
            await self._broker.schedule(decided.subject, decided.message.due_subject(), decided.message.due_us, frame)
        else:
            await self._broker.publish(decided.subject, self._seal(decided, DEFAULT_TTL_S), once=True)

    def _seal(self, decided: Decided, ttl_s: float) -> bytes:
        if decided.message is None:
            raise ValueError("a cancel is no message")
        return self._signer.seal(decided.message, cause=decided.cause, tag=decided.tag, ttl_s=ttl_s)

    async def _compare(self, decided: Decided) -> Outcome:
        """Hold what stands on a command's subject against it.

        What has not been read yet is left to the reading, which knows whether the message is genuine at all.

        Raises:
            DivergenceError: this role said something else there.
            UnknownOutcomeError: it stood there and is gone; the command must be tried again.
        """
        standing = await self._broker.last(decided.subject)
        if standing is None:
            if decided.kind == "publish":
                raise UnknownOutcomeError(f"what stood on {decided.subject} is gone")
            return "already_read"
        if standing.seq > self.seq and decided.kind == "publish":
            return "already_there"
        try:
            envelope = open_frame(standing.data)
        except (BadFrameError, TooLargeError):
            self._log.error("subject_occupied", subject=decided.subject, seq=standing.seq)
            return "refused"
        if envelope.role == self.machine.name and envelope.payload != decided.payload:
            raise DivergenceError(decided.subject, envelope.payload, decided.payload, decided.cause)
        return "already_read"

    # beginning and keeping

    async def _begin(self) -> int:
        """Mark the takeover of a new version; return the sequence up to which an older one decided."""
        if self.machine.version == 1:
            return 0
        mark = Takeover(machine=self.machine.name, version=self.machine.version)
        while True:
            try:
                standing = await self._broker.last(mark.subject())
                if standing is not None:
                    return standing.seq
                return await self._broker.publish(mark.subject(), self._signer.seal(mark), once=True)
            except AlreadyExistsError as error:
                return error.seq
            except (BrokerDownError, UnknownOutcomeError) as error:
                self._log.warning("waiting_for_broker", subject=mark.subject(), error=str(error))
                await self._sleep(RETRY_S)

    async def _load(self, since: int) -> None:
        data = await self._load_bytes()
        self._decider = Decider(self.machine, since=since)
        if data is None:
            return
        try:
            snapshot = restore(self.machine, data)
            self._gate.load(snapshot.nonces)
        except (SnapshotError, ValueError) as error:
            self._log.warning("snapshot_ignored", error=str(error))
            return
        self._saved_seq = snapshot.seq
        self._has_snapshot = snapshot.config == self.machine.config.encode()
        if self._has_snapshot:
            self._decider = snapshot.decider(self.machine, since=since)
            return
        end_ = await self._last_sequence()
        self._log.warning("configuration_changed", at=end_)
        try:
            # The old configuration decides up to here, so that what happened meanwhile is answered, and compared, as it
            # would have been (docs/adr/0010).
            self._decider = snapshot.decider(self.machine.configured(snapshot.config), since=since)
            self._changes_at = end_
        except SchemaError as error:
            self._log.warning("old_configuration_unknown", error=str(error))
            self._decider = snapshot.decider(self.machine, since=max(since, end_))

    async def _last_sequence(self) -> int:
        while True:
            try:
                return await self._broker.last_sequence()
            except (BrokerDownError, UnknownOutcomeError) as error:
                self._log.warning("waiting_for_broker", error=str(error))
                await self._sleep(RETRY_S)

    async def _load_bytes(self) -> bytes | None:
        while True:
            try:
                return await self._broker.load_snapshot(key_of(self.machine))
            except (BrokerDownError, UnknownOutcomeError) as error:
                self._log.warning("waiting_for_broker", subject=key_of(self.machine), error=str(error))
                await self._sleep(RETRY_S)

    async def _save_if_due(self, stored: Stored) -> None:
        if not self._saved_us:
            self._saved_us = stored.time_us
        if stored.seq - self._saved_seq < SNAPSHOT_EVENTS and stored.time_us - self._saved_us < SNAPSHOT_US:
            return
        self._saved_seq, self._saved_us = stored.seq, stored.time_us
        await self.save()

    def _report_divergence(self, error: DivergenceError) -> None:
        self._metrics.divergences.inc()
        self._health.set("deterministic", False)
        self._log.error(
            "divergence",
            subject=error.subject,
            cause=error.cause,
            recorded=_text(error.recorded),
            decided=_text(error.decided),
        )


def _text(payload: bytes | None) -> str | None:
    return None if payload is None else payload.decode(errors="replace")
