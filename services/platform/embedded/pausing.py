"""Pausing who consumes from a running queue, and letting it go on."""

from __future__ import annotations

from services.platform.embedded import consumers
from services.platform.embedded.view import View


class EmbeddedConsumers:
    """Implements `services.platform.fault_port.Consumers`."""

    def __init__(self, view: View) -> None:
        self._view = view

    async def pause(self, name: str) -> None:
        """Let the queue give its consumers nothing.

        Raises:
            VerbFailedError: the queue did not do it.
        """
        await consumers.pause(self._view.world.program(name))

    async def paused(self, name: str) -> tuple[str, ...]:
        """Return a sentence for each that is paused.

        Raises:
            VerbFailedError: the queue does not say.
        """
        return tuple(await consumers.paused(self._view.world.program(name)))

    async def resume(self, name: str) -> None:
        """Serve all of them as declared.

        Raises:
            VerbFailedError: the queue did not do it.
        """
        await consumers.restore_consumers(self._view.world.program(name))
