"""The dashboard's API over a journal in memory: real signatures, a real gate, no servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx

from broker.contracts.base import Contract
from broker.contracts.inventory import Inventory
from broker.contracts.machine import Event
from broker.memory import MemoryBroker, MemoryJournal
from broker.port import Stored
from broker.subjects import Role
from dashboard.api.app import Parts, make_app
from dashboard.api.feed import Feed
from dashboard.api.guard import Rules
from dashboard.api.records import Records
from dashboard.api.stack import StackDoor
from harness.control import ControlPlane
from tests.support.signing import gate, master, signer
from tests.support.waiting import eventually
from tests.support.world import shop_inventory

ADDRESS = "http://127.0.0.1:17480"


class FakeStack(StackDoor):
    """A stack whose inventory is known and of which nothing else runs."""

    def inventory(self) -> Inventory:
        return shop_inventory()


class Stage:
    """A journal, who speaks in it, and the feed that follows it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.journal = MemoryJournal(start_us=time.time_ns() // 1_000)
        self.identity = "first"
        self.feed = Feed(self.open, lambda: self.identity)
        self._speakers: dict[Role, MemoryBroker] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ControlPlane]:
        """Connect as the dashboard does."""
        broker = MemoryBroker(self.journal, "dashboard-1", "operator")
        ring = master().restricted_to("operator")
        speaker = signer("operator", "dashboard", journal=self.journal)
        try:
            yield ControlPlane(self.home, broker, ring, speaker, shop_inventory())
        finally:
            await broker.close()

    async def say(self, role: Role, message: Contract) -> int:
        """Say a message in a role's name; return its sequence."""
        broker = self._speakers.setdefault(role, MemoryBroker(self.journal, f"{role}-1", role))
        self.journal.now_us += 1_000
        return await broker.publish(message.subject(), signer(role, journal=self.journal).seal(message))

    async def forge(self, role: Role, subject: str, data: bytes) -> int:
        """Put bytes into the journal as they are."""
        broker = MemoryBroker(self.journal, "forger", role)
        return await broker.publish(subject, data)

    def said(self, subject: str) -> list[Contract]:
        """Return what the gate lets in of a subject."""
        judge = gate("reader")
        found = [judge.admit(item).message for item in self.journal.log if isinstance(item, Stored)]
        return [message for message in found if message.subject() == subject]

    async def caught_up(self) -> None:
        """Wait until the feed has folded everything that stands in the journal."""

        async def done() -> bool:
            return self.feed.head >= len(self.journal.log)

        await eventually(done)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Feed]:
        """Let the feed follow, for the length of a block."""
        task = asyncio.create_task(self.feed.run())
        try:
            await self.feed.until_ready()
            yield self.feed
        finally:
            self.feed.close()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @asynccontextmanager
    async def served(self, rules: Rules | None = None, page: Path | None = None) -> AsyncIterator[httpx.AsyncClient]:
        """Serve the API over the running feed; give a client of it."""
        stack = FakeStack(self.home)
        parts = Parts(self.feed, Records(stack.audit_dsn), stack, rules or Rules(), page)
        async with (
            self.running(),
            httpx.AsyncClient(transport=httpx.ASGITransport(app=make_app(parts)), base_url=ADDRESS) as client,
        ):
            yield client


def event(seq: int, message: Contract, *, at_us: int | None = None, sender: str = "x/x-1") -> Event:
    """Return a message as the fold sees it; one millisecond after another unless given."""
    return Event(
        seq=seq,
        time_us=seq * 1_000 if at_us is None else at_us,
        subject=message.subject(),
        payload=message,
        sender=sender,
        tag="DETERMINISTIC",
    )
