"""Starting processes by other command lines than the declared ones."""

from __future__ import annotations

from services.platform.embedded.restarts import Restarts
from services.platform.embedded.view import View


class EmbeddedCommands:
    """Implements `services.platform.fault_port.Commands`."""

    def __init__(self, view: View, restarts: Restarts) -> None:
        self._view = view
        self._restarts = restarts

    async def set_command(self, name: str, command: tuple[str, ...]) -> None:
        """Restart the workload with another command line; nothing happens if it was started with that already, whether
        or not it then ended. One that was given it and never started (whoever did was killed between) is started."""
        supervisor = self._view.supervisor
        async with self._restarts.locked(name):
            info = await supervisor.program(name)
            if info.command != command:
                await self._restarts.stop(name)
                await supervisor.set_command(name, command)
            elif info.state != "STOPPED":
                return
            await supervisor.start_anyhow(name)

    async def reset_command(self, name: str) -> None:
        """Restart the workload with its declared command line; nothing happens if it runs with that already."""
        supervisor, program = self._view.supervisor, self._view.world.program(name)
        async with self._restarts.locked(name):
            info = await supervisor.program(name)
            if info.command == program.command and info.pid is not None:
                return
            await self._restarts.stop(name)
            await supervisor.set_command(name, program.command)
            await supervisor.start(name)

    async def command(self, name: str) -> tuple[str, ...]:
        """Return the command line that the workload has at its next start."""
        return (await self._view.supervisor.program(self._view.world.program(name).name)).command
