"""What every role must notice of the operator's hand: the kill switch and new keys.

A follower of its own, beside whatever the role does, reads `control.>` from the beginning: after a restart a halt
still holds. One whose key version is not held any more cannot be told from a forged one; it keeps the switch shut too,
until somebody says otherwise under a key that is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from structlog.typing import FilteringBoundLogger

from broker.contracts.control import Halt, Resume, Rotate
from broker.errors import BrokerDownError, Refusal, UnknownKeyVersionError
from broker.gate import Gate, Trusted
from broker.port import Broker, CaughtUp, Stored

CONTROL: Final = "triage.control.>"
HALT: Final = Halt(reason="").subject()
RETRY_S: Final = 0.5


class KillSwitch:
    """Whether work may go on. Closed until it is known that nothing forbids it."""

    def __init__(self) -> None:
        self._known = False
        self._standing = ""
        self._clear = asyncio.Event()

    @property
    def halted(self) -> bool:
        """True while nothing may act: halted, or not yet known."""
        return not self._clear.is_set()

    @property
    def reason(self) -> str:
        """Why work stands still; empty while it may go on."""
        if self._standing:
            return self._standing
        return "" if self._known else "the journal's control messages were not read yet"

    def heed(self, message: object) -> None:
        """Take a trusted message; whatever is neither Halt nor Resume changes nothing."""
        if isinstance(message, Halt):
            self._standing = message.reason or "no reason was given"
        elif isinstance(message, Resume):
            self._standing = ""
        self._set()

    def doubt(self, reason: str) -> None:
        """Stand still as after a Halt: one was said that may be genuine and cannot be verified."""
        self._standing = self._standing or reason
        self._set()

    def know(self) -> None:
        """Everything said so far was heeded."""
        self._known = True
        self._set()

    async def wait_clear(self) -> None:
        """Return when work may go on."""
        await self._clear.wait()

    def _set(self) -> None:
        if self._known and not self._standing:
            self._clear.set()
        else:
            self._clear.clear()


class ControlFollower:
    """Reads the control messages and turns the switch."""

    def __init__(
        self,
        broker: Broker,
        gate: Gate,
        switch: KillSwitch,
        *,
        on_rotate: Callable[[Rotate], None],
        on_read: Callable[[], None] = lambda: None,
        log: FilteringBoundLogger | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        """
        Args:
            on_rotate: called when new keys are there.
            on_read: called when everything said so far was heeded.
        """
        self._broker = broker
        self._gate = gate
        self._switch = switch
        self._on_read = on_read
        self._on_rotate = on_rotate
        self._log: FilteringBoundLogger = log or structlog.get_logger()
        self._sleep = sleep
        self._seq = 0

    async def run(self) -> None:
        """Follow until cancelled; a broker that is away is waited for."""
        while True:
            try:
                async for item in self._broker.read(self._seq + 1, CONTROL):
                    self._take(item)
            except BrokerDownError as error:
                self._log.warning("waiting_for_broker", subject=CONTROL, error=str(error))
            await self._sleep(RETRY_S)

    def _take(self, item: Stored | CaughtUp) -> None:
        if isinstance(item, CaughtUp):
            self._switch.know()
            self._on_read()
            return
        self._seq = item.seq
        try:
            trusted = self._gate.admit(item)
        except Refusal as refusal:
            self._log.warning("refused", seq=item.seq, subject=item.subject, reason=refusal.name, text=str(refusal))
            if is_doubtful_halt(item, refusal):
                self._switch.doubt(
                    f"the halt at {item.seq} cannot be verified any more ({refusal.name}); go on with: triage resume"
                )
            return
        self._heed(trusted)

    def _heed(self, trusted: Trusted) -> None:
        message = trusted.message
        if isinstance(message, Rotate):
            self._on_rotate(message)
        if isinstance(message, Halt | Resume):
            self._switch.heed(message)
            self._log.info("control", type=message.TYPE, reason=message.reason, seq=trusted.stored.seq)


def is_doubtful_halt(stored: Stored, refusal: Refusal) -> bool:
    """Tell whether a refused message may have been a Halt that held when it was said.

    Of all refusals only this one depends on when it is read. What a reader had the broker put there never was one.
    """
    return stored.subject == HALT and isinstance(refusal, UnknownKeyVersionError) and not stored.relayed
