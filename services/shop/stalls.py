"""When a consumer may say that its queue gives it nothing although messages wait. Pure.

One look is not enough: a message may have come in just before it, and would be given the next moment. Two looks with a
whole fetch in between, at both of which messages waited, while the server gave nobody anything, leave no other reading.
"""

from __future__ import annotations

from typing import NamedTuple

from services.shop.errors import ConsumerStalledError


class Look(NamedTuple):
    """What the queue's server says of a consumer."""

    waiting: int
    """Messages it was not given yet."""
    given: int
    """How many it was given so far, those given again included."""
    paused_until: str | None = None
    """The end of its pause, if somebody paused it."""


class Stalls:
    """Judges looks that follow fetches without a message."""

    def __init__(self) -> None:
        self._last: Look | None = None

    def fed(self) -> None:
        """Hear that a message was given."""
        self._last = None

    def judge(self, look: Look | None) -> ConsumerStalledError | None:
        """Return what is wrong after one more fetch without a message; None: nothing, or it cannot be known.

        Args:
            look: what the server says now; None if it does not say.
        """
        last, self._last = self._last, look
        if last is None or look is None or not (last.waiting and look.waiting) or last.given != look.given:
            return None
        why = f": its consumer is paused until {look.paused_until}" if look.paused_until else ""
        wait = "message waits" if look.waiting == 1 else "messages wait"
        return ConsumerStalledError(look.waiting, f"{look.waiting} {wait} and none is given{why}")
