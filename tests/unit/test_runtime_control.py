"""The kill switch and the follower that turns it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from broker.contracts.base import Contract
from broker.contracts.control import Halt, Resume, Rotate
from broker.memory import MemoryBroker, MemoryJournal
from broker.runtime.control import ControlFollower, KillSwitch
from tests.support.signing import gate, signer

pytestmark = pytest.mark.asyncio


class Scene:
    """An operator, and an agent that follows."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.switch = KillSwitch()
        self.rotations: list[int] = []
        self._operator = MemoryBroker(self.journal, "op-1", "operator")
        self._signer = signer("operator", journal=self.journal)

    async def say(self, message: Contract) -> bytes:
        frame = self._signer.seal(message)
        await self.publish(message.subject(), frame)
        return frame

    async def publish(self, subject: str, frame: bytes) -> None:
        await self._operator.publish(subject, frame)
        await self.journal.advance(0.01)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        follower = ControlFollower(
            MemoryBroker(self.journal, "log-1", "log"),
            gate("log"),
            self.switch,
            on_rotate=lambda rotate: self.rotations.append(rotate.key_version),
            sleep=self.journal.sleep,
        )
        task = asyncio.create_task(follower.run())
        await self.journal.advance(0.01)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_halt_and_resume_turn_the_switch() -> None:
    scene = Scene()
    async with scene.following():
        states = [scene.switch.halted]
        await scene.say(Halt(reason="fire"))
        states.append(scene.switch.halted)
        assert scene.switch.reason == "fire"
        await scene.say(Resume(reason="fire is out"))
        states.append(scene.switch.halted)
    assert states == [False, True, False]


async def test_a_halt_still_holds_after_a_restart() -> None:
    scene = Scene()
    await scene.say(Halt(reason="fire"))
    assert scene.switch.halted, "unknown counts as halted"
    async with scene.following():
        assert scene.switch.reason == "fire"


async def test_a_forged_resume_does_not_lift_a_halt() -> None:
    scene = Scene()
    async with scene.following():
        await scene.say(Halt(reason="fire"))
        await scene.publish("triage.control.resume", b"please")
        assert scene.switch.halted


async def test_an_old_resume_said_again_does_not_lift_a_halt() -> None:
    scene = Scene()
    async with scene.following():
        resume = await scene.say(Resume(reason="earlier"))
        await scene.say(Halt(reason="fire"))
        await scene.publish("triage.control.resume", resume)
        assert scene.switch.halted
        await scene.journal.advance(1_000)
        await scene.publish("triage.control.resume", resume)
        assert scene.switch.halted


async def test_a_rotation_is_told() -> None:
    scene = Scene()
    async with scene.following():
        await scene.say(Rotate(key_version=2))
    assert scene.rotations == [2]
