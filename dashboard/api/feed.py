"""Follows the journal for everybody who looks: one reader, one fold, however many pages.

It outlives the stack: a broker that is away is waited for, one that went away for good (its keys are new, or it stands
elsewhere) is connected to anew. `journal` names what is followed: when it changes, what pages know is of another world.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass

from broker.errors import BrokerError, Refusal
from broker.gate import Gate, Trusted
from broker.port import CaughtUp, Stored
from dashboard.api.core.fold import fold
from dashboard.api.core.kept import Kept
from dashboard.api.core.ring import Ring
from dashboard.api.core.view import View
from dashboard.api.decode import entry_of
from dashboard.api.errors import Problem, problem_of
from harness.control import ControlPlane, Refused

BACKLOG = 12_000
"""Messages before the end with which reading begins; older open incidents are read from their report on."""
FARTHEST = 200_000
RETRY_S = 1.0
ALIVE_S = 2.0
"""How often the broker is asked whether it is there, and whether it is still the same, seconds."""
BURST = 256

_log = logging.getLogger("dashboard")

Open = Callable[[], AbstractAsyncContextManager[ControlPlane]]
Identity = Callable[[], str]
"""Tells which stack is up, without asking it; another answer means: connect anew."""


@dataclass(frozen=True, slots=True)
class News:
    """What a follower is given at once."""

    entries: tuple[tuple[int, bytes], ...] = ()
    notices: tuple[str, ...] = ()
    reset: bool = False
    """What it asks for is gone: take the snapshot again. Nothing follows."""


class Feed:
    """The journal as it stands now. All of it runs on one event loop."""

    def __init__(self, open_: Open, identity: Identity = lambda: "") -> None:
        self._open = open_
        self._identity = identity
        self._generation = 0
        self._base = ""
        self._news = asyncio.Event()
        self._notices: dict[str, int] = {}
        self._ready = asyncio.Event()
        self._error: Problem | None = None
        self._begin(0)
        self.control: ControlPlane | None = None
        self.connected = False
        self.followers = 0
        self.closing = False

    def _begin(self, floor: int) -> None:
        self._generation += 1
        self.view = View()
        self.kept = Kept()
        self.ring = Ring(floor=floor)
        self.head = floor
        self._ready.clear()
        self._wake()

    @property
    def journal(self) -> str:
        """Names the journal that is followed."""
        return hashlib.sha256(f"{self._base}/{self._generation}".encode()).hexdigest()[:16]

    async def until_ready(self, timeout_s: float = 10.0) -> None:
        """Wait until all that stood in the journal has been read.

        Raises:
            Problem: the stack is away, or its journal is still being read.
        """
        try:
            async with asyncio.timeout(timeout_s if self._error is None else 0.2):
                await self._ready.wait()
        except TimeoutError:
            raise self._error or Problem(
                503, "starting", f"The journal is being read, message {self.head} so far.", "Try again in a moment."
            ) from None

    def operator(self) -> ControlPlane:
        """Return the connection to speak with.

        Raises:
            Problem: there is none.
        """
        if self.control is None or not self.connected:
            raise self._error or Problem(
                503, "stack_down", "The stack's broker does not answer.", "Start the stack with: triage up"
            )
        return self.control

    # following

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                async with self._open() as control:
                    await self._with(control)
            except Exception as error:
                problem = problem_of(error)
                if problem is None:
                    _log.exception("the journal cannot be followed; trying again")
                    problem = Problem(
                        503, "stack_down", f"The journal cannot be followed: {error}.", "See: triage status"
                    )
                self._error = problem
            finally:
                self.control = None
                self._is_connected(False)
                self._wake()
            await asyncio.sleep(RETRY_S)

    async def _with(self, control: ControlPlane) -> None:
        identity = self._identity()
        head = await control.broker.last_sequence()
        if identity != self._base or head < self.head or not self._ready.is_set():
            self._base = identity
            self._begin(await first_of_interest(control, head) - 1)
        self.control, self._error = control, None
        self._is_connected(True)
        watch = asyncio.create_task(self._watch(control, identity))
        try:
            if self.head:
                await self._switch(control)
            await self._follow(control, watch)
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def _follow(self, control: ControlPlane, watch: asyncio.Task[None]) -> None:
        reading = asyncio.create_task(self._read(control))
        try:
            done, _ = await asyncio.wait({reading, watch}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError, BrokerError):
                await reading

    async def _read(self, control: ControlPlane) -> None:
        async for item in control.follow(self.head + 1):
            if isinstance(item, CaughtUp):
                self._ready.set()
                self._wake()
                continue
            self._take(item)

    def _take(self, item: Trusted | Refused) -> None:
        if item.stored.seq <= self.head:
            return
        entry = entry_of(item)
        if isinstance(item, Trusted):
            self.view = fold(self.view, item.event())
        self.kept.add(entry, self.view)
        self.ring.append(entry.seq, entry.encode())
        self.head = entry.seq
        if self._ready.is_set():
            self._wake()

    async def _switch(self, control: ControlPlane) -> None:
        """Learn how the kill switch stands from before what is read: it holds until somebody says otherwise."""
        gate = Gate(control.keyring)
        words = [await control.broker.last(f"triage.control.{word}") for word in ("halt", "resume")]
        for stored in sorted((word for word in words if word is not None), key=lambda word: word.seq):
            if stored.seq > self.head:
                continue
            with suppress(Refusal):
                self.view = fold(self.view, gate.admit(stored).event())

    async def _watch(self, control: ControlPlane, identity: str) -> None:
        """Ask the broker for a sign of life; end when another stack is up."""
        while self._identity() == identity:
            try:
                await control.broker.last_sequence()
                alive = True
            except BrokerError as error:
                self._error, alive = problem_of(error), False
            self._is_connected(alive)
            await asyncio.sleep(ALIVE_S)

    def _is_connected(self, connected: bool) -> None:
        if connected is not self.connected:
            self.connected = connected
            self.notify("stack")

    # followers

    def notify(self, name: str) -> None:
        """Tell every follower that something beside the journal changed."""
        self._notices[name] = self._notices.get(name, 0) + 1
        self._wake()

    def close(self) -> None:
        """End every follower's stream."""
        self.closing = True
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def follow(self, after: int, *, beat_s: float) -> AsyncGenerator[News, None]:
        """Give what comes behind a sequence, without gap or repetition; an empty `News` after `beat_s` of silence.

        Ends with `reset` when that cannot be, and when this feed closes.
        """
        generation, seen = self._generation, dict(self._notices)
        self.followers += 1
        try:
            while not self.closing:
                news = self._news
                found = self.ring.after(after, BURST) if generation == self._generation else None
                if found is None or after > max(self.head, 0):
                    yield News(reset=True)
                    return
                changed = tuple(name for name, count in self._notices.items() if seen.get(name) != count)
                if found or changed:
                    seen = dict(self._notices)
                    after = found[-1][0] if found else after
                    yield News(tuple(found), changed)
                    continue
                try:
                    async with asyncio.timeout(beat_s):
                        await news.wait()
                except TimeoutError:
                    yield News()
        finally:
            self.followers -= 1


async def first_of_interest(control: ControlPlane, head: int) -> int:
    """Return where reading begins: `BACKLOG` messages before the end, or at the report of an older open incident."""
    start = max(1, head + 1 - BACKLOG)
    if start == 1:
        return 1
    reported: dict[str, int] = {}
    async for item in control.broker.read(pattern="triage.incident.>", follow=False):
        if isinstance(item, Stored):
            _, _, incident, step, *_ = item.subject.split(".")
            if step == "reported":
                reported[incident] = item.seq
            elif step == "closed":
                reported.pop(incident, None)
    oldest = min((seq for seq in reported.values() if seq > head - FARTHEST), default=start)
    return min(start, oldest)


def stack_identity(nats_url: str, passphrase: str) -> str:
    """Return a name of the stack that was made with this passphrase and stands there; it tells nothing of either."""
    return hashlib.sha256(f"agentic-triage/dashboard/{nats_url}/{passphrase}".encode()).hexdigest()


def now_us() -> int:
    """Return this machine's clock, microseconds since the epoch."""
    return time.time_ns() // 1_000
