"""A journal in memory in place of a stack: what the operator's commands find there, and what they say into it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from broker.contracts.base import Contract
from broker.memory import MemoryBroker, MemoryJournal
from broker.port import Stored
from broker.subjects import Role
from harness.control import ControlPlane
from tests.support.signing import gate, master, signer
from tests.support.world import shop_inventory

MessageT = TypeVar("MessageT", bound=Contract)


class Stage:
    """A journal in memory, and who speaks in it."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.journal.now_us = time.time_ns() // 1_000

    def say(self, role: Role, message: Contract) -> None:
        """Let a role say a message."""

        async def body() -> None:
            broker = MemoryBroker(self.journal, f"{role}-1", role)
            await broker.publish(message.subject(), signer(role, journal=self.journal).seal(message))

        asyncio.run(body())

    def said(self, subject: str, kind: type[MessageT]) -> list[MessageT]:
        """Return the messages of one type on a subject."""

        async def body() -> list[Contract]:
            broker = MemoryBroker(self.journal, "reader-1", "reader")
            reading = broker.read(pattern=subject, follow=False)
            return [gate("reader").admit(item).message async for item in reading if isinstance(item, Stored)]

        return [message for message in asyncio.run(body()) if isinstance(message, kind)]


def staged(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Put a journal in memory where the operator's commands look for the stack."""
    made = Stage()

    @asynccontextmanager
    async def connect(home: Path) -> AsyncIterator[ControlPlane]:
        broker = MemoryBroker(made.journal, "operator-1", "operator")
        ring = master().restricted_to("operator")
        yield ControlPlane(home, broker, ring, signer("operator", journal=made.journal), shop_inventory())

    monkeypatch.setattr("harness.cli.operate.connect", connect)
    return made
