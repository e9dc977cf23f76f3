"""Putting into a running queue what its consumer cannot read, and moving it aside."""

from __future__ import annotations

from services.platform.embedded import messages
from services.platform.embedded.view import View


class EmbeddedMessages:
    """Implements `services.platform.fault_port.Messages`."""

    def __init__(self, view: View) -> None:
        self._view = view

    async def poison(self, name: str) -> None:
        """Put one message there, unless one lies there.

        Raises:
            VerbFailedError: the queue did not take it.
        """
        await messages.poison(self._view.world.program(name))

    async def unreadable(self, name: str) -> tuple[str, ...]:
        """Return a sentence for each.

        Raises:
            VerbFailedError: the queue does not say.
        """
        found = await messages.unreadable(self._view.world.program(name))
        return tuple(f"message {item.name} breaks who reads it ({item.actual})" for item in found)

    async def set_aside(self, name: str) -> None:
        """Move all of them to where nobody consumes them.

        Raises:
            VerbFailedError: the queue did not do it.
        """
        await messages.set_aside(self._view.world.program(name))
