"""Carrying out a changing verb once per key, whatever dies in between. The same for every kind of world.

A verb holds the workload's lock, so that two callers never change one workload at a time, and writes its intent into
the ledger before it touches anything. A repeated key whose effect was carried out returns `changed=False`; one whose
intent has no end (its caller died) looks at the world first and does only what is still missing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from broker.runtime.locks import exclusive
from services.platform.ledger import Ledger, Past, Phase, Row
from services.platform.port import Effect, NotManagedError, VerbFailedError, Workload

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Call(Generic[S]):
    """One changing call: what it is about, what the world was, what its key did before."""

    subject: S
    before: Workload
    past: Past

    @property
    def restarted_since_intent(self) -> bool:
        """Tell whether the process was started after this key's intent was written down: an earlier caller did it
        and died before it could say so."""
        intent, started = self.past.intent, self.before.started_at_us
        return intent is not None and started is not None and started >= intent.at_us


Needed = Callable[[Call[S]], str | None]
"""Says why nothing is to be done, or None if the verb is to be carried out."""
Act = Callable[[Call[S]], Awaitable[str]]
"""Carries a verb out; returns a sentence."""


class Verbs(Generic[S]):
    """The verbs of one world."""

    def __init__(
        self, ledger: Ledger, lock: Callable[[str], Path], settled: Callable[[str], Awaitable[Workload]]
    ) -> None:
        """
        Args:
            lock: the lock file of a workload.
            settled: looks at a workload once it is in a state that can be told.
        """
        self._ledger = ledger
        self._lock = lock
        self._settled = settled

    async def carry_out(
        self, subject: S, name: str, managed: bool, verb: str, key: str, needed: Needed[S], act: Act[S]
    ) -> Effect:
        """Carry a verb out, once per key.

        Raises:
            NotManagedError: nothing was touched. VerbFailedError: the end state was not reached; the key may be used
                again.
        """
        if not managed:
            raise NotManagedError(f"{name} is not managed: nothing may {verb} it")
        async with exclusive(self._lock(name)):
            past = await asyncio.to_thread(self._ledger.past, key)
            if past.done is not None:
                return Effect(False, f"carried out before: {past.done.detail}")
            call = Call(subject, await self._settled(name), past)
            reason = needed(call)
            if reason is not None:
                await self._note(call, key, verb, "done", reason)
                return Effect(False, reason)
            return await self._act(call, key, verb, act)

    async def effects(self) -> tuple[tuple[str, str, str], ...]:
        """Return (key, workload, verb) of every effect that was begun, oldest first."""
        return await asyncio.to_thread(self._ledger.begun)

    async def _act(self, call: Call[S], key: str, verb: str, act: Act[S]) -> Effect:
        if call.past.intent is None:
            await self._note(call, key, verb, "intent")
        try:
            detail = await act(call)
        except VerbFailedError as error:
            await self._note(call, key, verb, "failed", str(error))
            raise
        await self._note(call, key, verb, "done", detail, changed=True)
        return Effect(True, detail, call.before.drift if verb == "reconcile" else ())

    async def _note(
        self, call: Call[S], key: str, verb: str, phase: Phase, detail: str = "", *, changed: bool = False
    ) -> None:
        row = Row(key, call.before.name, verb, phase, time.time_ns() // 1_000, detail, changed)
        await asyncio.to_thread(self._ledger.append, row)


def when(condition: Callable[[Workload], bool], reason: str) -> Callable[[Call[S]], str | None]:
    """Return a `Needed` that says `reason` where the world already meets a condition."""
    return lambda call: reason if condition(call.before) else None
