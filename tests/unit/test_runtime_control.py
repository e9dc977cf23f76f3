"""The kill switch and the follower that turns it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from broker.contracts.base import Contract
from broker.contracts.control import Halt, Resume, Rotate
from broker.errors import BadMacError, UnknownKeyVersionError
from broker.gate import Gate
from broker.keyring import Keyring
from broker.memory import MemoryBroker, MemoryJournal
from broker.port import Stored
from broker.runtime.control import ControlFollower, KillSwitch, is_doubtful_halt
from tests.support.signing import gate, master, signer

pytestmark = pytest.mark.asyncio


class Scene:
    """An operator, and an agent that follows."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.switch = KillSwitch()
        self.rotations: list[int] = []
        self._operator = MemoryBroker(self.journal, "op-1", "operator")
        self._signer = signer("operator", journal=self.journal)

    async def say(self, message: Contract, *, version: int | None = None) -> bytes:
        sealing = self._signer if version is None else signer("operator", journal=self.journal, version=version)
        frame = sealing.seal(message)
        await self.publish(message.subject(), frame)
        return frame

    async def publish(self, subject: str, frame: bytes) -> None:
        await self._operator.publish(subject, frame)
        await self.journal.advance(0.01)

    @asynccontextmanager
    async def following(self, ring: Keyring | None = None) -> AsyncIterator[None]:
        follower = ControlFollower(
            MemoryBroker(self.journal, "log-1", "log"),
            gate("log") if ring is None else Gate(ring),
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


def after_three_rotations() -> Keyring:
    """Return the log agent's keys after version 1 was dropped."""
    ring = master(4).restricted_to("log")
    kept = {name: {n: key for n, key in held.items() if n > 1} for name, held in ring.keys.items()}
    return replace(ring, keys=kept)


class TestAHaltWhoseKeyIsGone:
    async def test_it_still_stands_for_who_starts_now(self) -> None:
        scene = Scene()
        await scene.say(Halt(reason="fire"))
        async with scene.following(after_three_rotations()):
            assert scene.switch.halted
            assert "triage resume" in scene.switch.reason
            assert "unknown_key_version" in scene.switch.reason

    async def test_a_resume_that_can_be_verified_lifts_it(self) -> None:
        scene = Scene()
        await scene.say(Halt(reason="fire"))
        async with scene.following(after_three_rotations()):
            await scene.say(Resume(reason="it is out"), version=4)
            assert not scene.switch.halted

    async def test_a_resume_whose_key_is_gone_too_does_not(self) -> None:
        scene = Scene()
        await scene.say(Halt(reason="fire"))
        await scene.say(Resume(reason="it is out"))
        async with scene.following(after_three_rotations()):
            assert scene.switch.halted

    async def test_one_that_was_said_anew_is_known_by_its_reason(self) -> None:
        scene = Scene()
        await scene.say(Halt(reason="fire"))
        await scene.say(Halt(reason="fire"), version=4)
        async with scene.following(after_three_rotations()):
            assert scene.switch.reason == "fire"

    async def test_a_resume_that_was_said_anew_leaves_nothing_in_doubt(self) -> None:
        scene = Scene()
        await scene.say(Halt(reason="fire"))
        await scene.say(Resume(reason="it is out"))
        await scene.say(Resume(reason="it is out"), version=2)
        async with scene.following(after_three_rotations()):
            assert not scene.switch.halted

    async def test_one_of_a_version_that_is_not_there_yet_holds_work_at_once(self) -> None:
        scene = Scene()
        async with scene.following():
            assert not scene.switch.halted
            await scene.say(Halt(reason="fire"), version=2)
            assert scene.switch.halted


async def test_what_never_was_a_halt_does_not_shut_the_switch() -> None:
    scene = Scene()
    resume = await scene.say(Resume(reason="x"))
    async with scene.following():
        await scene.publish("triage.control.halt", b"+OK")
        await scene.publish("triage.control.halt", resume)
        await scene.say(Resume(reason="x"), version=2)
        assert not scene.switch.halted


async def test_bytes_that_a_reader_had_the_broker_put_there_do_not_shut_it() -> None:
    refusal = UnknownKeyVersionError("version 9")
    assert is_doubtful_halt(Stored(1, 1, "triage.control.halt", b""), refusal)
    assert not is_doubtful_halt(Stored(1, 1, "triage.control.halt", b"", relayed=True), refusal)
    assert not is_doubtful_halt(Stored(1, 1, "triage.control.resume", b""), refusal)
    assert not is_doubtful_halt(Stored(1, 1, "triage.control.halt", b""), BadMacError("x"))
