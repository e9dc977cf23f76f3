"""One intention of a person is carried out once, however often its request arrives.

The key is remembered with its request for `KEPT_S`; what the first request came to is the answer to all. Behind this
the broker refuses a second message with the same id (`message_id`), so that a restart of the API changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from dashboard.api.answers import Done
from dashboard.api.errors import Problem

KEPT_S: Final = 600.0
MAX_KEYS: Final = 10_000
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")


@dataclass(slots=True)
class _Known:
    request: str
    outcome: asyncio.Future[Done]
    at: float


class Once:
    """Remembers what was asked for and what came of it. On one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, _Known] = {}

    async def carry_out(self, key: str | None, request: str, act: Callable[[str], Awaitable[Done]]) -> Done:
        """Return what `act` came to, now or the first time. `act` is given the message id.

        Args:
            request: path and body; the same key with another request is refused.

        Raises:
            Problem: `act`'s own, each time alike, unless it says that nothing was done; a key that is missing,
                malformed or belongs to another request; too many keys at once.
        """
        name = checked_key(key)
        self._forget()
        known = self._known.get(name)
        if known is not None:
            if known.request != request:
                raise Problem(
                    422, "key_reused", "This Idempotency-Key belongs to another request.", "Make a new key for each."
                )
            return await asyncio.shield(known.outcome)
        if len(self._known) >= MAX_KEYS:
            raise Problem(
                503, "too_busy", f"More than {MAX_KEYS:,} commands came within ten minutes.", "Wait, and try again."
            )
        return await self._first(name, request, act)

    async def _first(self, name: str, request: str, act: Callable[[str], Awaitable[Done]]) -> Done:
        outcome: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        # Nobody else may have asked: then nobody looks at the exception, which is no fault.
        outcome.add_done_callback(lambda future: None if future.cancelled() else future.exception())
        self._known[name] = _Known(request, outcome, self._clock())
        try:
            done = await act(message_id(name, request))
        except BaseException as error:
            if not isinstance(error, Problem) or error.undone:
                del self._known[name]
            if isinstance(error, asyncio.CancelledError):
                outcome.cancel()
            else:
                outcome.set_exception(error)
            raise
        outcome.set_result(done)
        return done

    def _forget(self) -> None:
        over = self._clock() - KEPT_S
        for name in [name for name, known in self._known.items() if known.at < over and known.outcome.done()]:
            del self._known[name]


def checked_key(key: str | None) -> str:
    """Return a well-formed key.

    Raises:
        Problem: it is missing or malformed.
    """
    if key is None:
        raise Problem(
            422, "key_missing", "A command needs the header Idempotency-Key.", "Send one of 8 to 64 letters and digits."
        )
    if not _KEY.fullmatch(key):
        raise Problem(
            422, "bad_request", "The Idempotency-Key is malformed.", "Send one of 8 to 64 letters and digits."
        )
    return key


def message_id(key: str, request: str) -> str:
    """Return the broker's message id of an intention: the same across restarts."""
    return hashlib.sha256(f"agentic-triage/command/{key}/{request}".encode()).hexdigest()[:32]
