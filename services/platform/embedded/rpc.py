"""Our namespace in supervisord's XML-RPC interface, loaded by supervisord itself (`[rpcinterface:triage]`).

It adds what supervisord knows and does not tell: how often a program was started, the exact start time, the
environment it starts with; and it lets that environment be changed as a value. Rewriting the configuration file
instead would need quoting that supervisord's parser cannot do for every value (quotes, `;`, `%`), and a
remove-and-add of the program that loses its history.
"""

from __future__ import annotations

from typing import Any

from supervisor import events
from supervisor.states import STOPPED_STATES, getProcessStateDescription
from supervisor.xmlrpc import Faults, RPCError


class TriageInterface:
    """Methods of the namespace `triage`."""

    def __init__(self, supervisord: Any) -> None:
        self._supervisord = supervisord
        self._starts: dict[str, int] = {}
        events.subscribe(events.ProcessStateStartingEvent, self._started)

    def _started(self, event: Any) -> None:
        name = event.process.config.name
        self._starts[name] = self._starts.get(name, 0) + 1

    def _process(self, name: str) -> Any:
        group = self._supervisord.process_groups.get(name)
        if group is None or name not in group.processes:
            raise RPCError(Faults.BAD_NAME, name)
        return group.processes[name]

    def programs(self) -> list[dict[str, Any]]:
        """Return every program: name, statename, pid (0: none), exitstatus, spawnerr, started (seconds since the
        epoch, 0.0: never), stopped (likewise), starts."""
        return [self.program(name) for name in self._supervisord.process_groups]

    def program(self, name: str) -> dict[str, Any]:
        """Return one program, with its own environment and command as they are used at its next start."""
        process = self._process(name)
        return {
            "name": name,
            "statename": getProcessStateDescription(process.get_state()),
            "pid": process.pid or 0,
            "exitstatus": process.exitstatus or 0,
            "spawnerr": process.spawnerr or "",
            "started": float(process.laststart),
            "stopped": float(process.laststop),
            "starts": self._starts.get(name, 0),
            "environment": dict(process.config.environment or {}),
            "command": process.config.command,
        }

    def configure(self, name: str, environment: dict[str, str]) -> bool:
        """Replace a stopped program's own environment; it holds from the next start on."""
        process = self._process(name)
        if process.get_state() not in STOPPED_STATES:
            raise RPCError(Faults.STILL_RUNNING, name)
        process.config.environment = dict(environment)
        return True

    def command(self, name: str, command: str) -> bool:
        """Replace a stopped program's command line; it holds from the next start on."""
        process = self._process(name)
        if process.get_state() not in STOPPED_STATES:
            raise RPCError(Faults.STILL_RUNNING, name)
        process.config.command = command
        return True


def make_interface(supervisord: Any, **_: str) -> TriageInterface:
    """Make the namespace; supervisord calls this once when it starts."""
    return TriageInterface(supervisord)
