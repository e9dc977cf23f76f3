"""Rotation of the keys under a running stack: two passes over the key files, and the kill switch carried across.

Between the passes every role is told and given the time to look by itself. That spares them the look they would take
when they meet the new version; what makes rotation safe is the order of the passes (`deploy.embedded.keys`).

What stands of halt and resume is said again under the new key: the version that signed it may be dropped one day, and a
worker that starts then must still know it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from broker.contracts.control import Halt, Resume, Rotate
from broker.errors import BrokerDownError, FencedError, PublishError, Refusal
from broker.gate import Gate
from broker.keyring import Keyring
from broker.port import Broker, CaughtUp, Fence
from broker.runtime.control import CONTROL, is_doubtful_halt
from broker.runtime.keys import KEY_WATCH_S
from harness.control import ControlPlane, connect
from harness.errors import StackDownError
from harness.site import deployment

SETTLE_S: Final = KEY_WATCH_S + 1.0
"""Between the passes: every role's own look at its file comes round, and opening it takes a moment."""
_HALT: Final = Halt(reason="").subject()
_RESUME: Final = Resume(reason="").subject()


@dataclass(frozen=True, slots=True)
class Rotated:
    """What came of a rotation."""

    current: int
    told: bool
    """Whether the roles were told; else they look by themselves, or when they start."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The last word on the kill switch, and where the newest message on either subject stands (0: nowhere)."""

    word: Halt | Resume | None
    """None if nothing was ever said, or what was said last cannot be verified any more."""
    halt_seq: int = 0
    resume_seq: int = 0


async def rotate(
    home: Path, *, force: bool = False, sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep
) -> Rotated:
    """Make a new key version the one that everybody signs with.

    Args:
        force: drop the oldest version even if a message signed with it may still be due.

    Raises:
        KeyringError: the passphrase is wrong, a key file is unusable, the oldest version is too young to be dropped, or
            another command changes the keys. Whatever was done by then, all roles understand each other.
    """
    stack = deployment(home)
    with stack.changing_keys():
        begun = await stack.begin_rotation(force=force)
        await _tell(home, begun.versions[-1])
        if stack.is_up():
            await sleep(SETTLE_S)
        master = await stack.finish_rotation()
        return Rotated(master.current, await _tell(home, master.current, carry_from=begun))


async def announce(home: Path) -> Rotated:
    """Tell the roles that their files changed, and carry the kill switch across: after a pass that another program did.

    Raises:
        KeyringError: the operator's own file cannot be used.
    """
    ring = deployment(home).ring()
    return Rotated(ring.versions[-1], await _tell(home, ring.versions[-1], carry_from=ring))


async def _tell(home: Path, version: int, *, carry_from: Keyring | None = None) -> bool:
    """Say that the key files changed; with a ring that holds the versions before, carry the kill switch across."""
    try:
        async with connect(home) as control:
            await control.say(Rotate(key_version=version))
            if carry_from is not None:
                await carry(control, carry_from)
    except (StackDownError, BrokerDownError, PublishError):
        return False  # roles look at their files by themselves, and when they start
    return True


async def carry(control: ControlPlane, ring: Keyring) -> None:
    """Say again, under the key that `control` signs with, what stands of halt and resume.

    If somebody says either meanwhile, that word stands and this is not said.

    Args:
        ring: holds the versions that the word may be signed with.
    """
    standing = await read_standing(control.broker, Gate(ring.restricted_to("operator")))
    if standing.word is None:
        return
    other = (_RESUME, standing.resume_seq) if isinstance(standing.word, Halt) else (_HALT, standing.halt_seq)
    try:
        await control.say(standing.word, fence=Fence(*other))
    except FencedError:
        return


async def read_standing(broker: Broker, gate: Gate) -> Standing:
    """Return the last word on the kill switch as a role that starts now would understand it."""
    word: Halt | Resume | None = None
    seqs = {_HALT: 0, _RESUME: 0}
    async for item in broker.read(pattern=CONTROL, follow=False):
        if isinstance(item, CaughtUp):
            break
        if item.subject in seqs:
            seqs[item.subject] = item.seq
        try:
            message = gate.admit(item).message
        except Refusal as refusal:
            word = None if is_doubtful_halt(item, refusal) and not isinstance(word, Halt) else word
            continue
        word = message if isinstance(message, Halt | Resume) else word
    return Standing(word, seqs[_HALT], seqs[_RESUME])
