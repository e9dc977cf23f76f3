"""Another command line for a workload on processes: what holds afterwards, whatever was there before."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.platform.embedded.faults import EmbeddedFaults
from services.platform.embedded.home import Home
from services.platform.embedded.supervisor import ProgramInfo, Supervisor
from services.platform.embedded.world import Program, World

DECLARED = ("catalog",)
BAD = ("catalog", "--bad")


class Manager:
    """A process manager with one program, which ends at once where it is started by a bad command."""

    def __init__(self, command: tuple[str, ...], state: str) -> None:
        self.command, self.state = command, state
        self.starts = 0

    def info(self) -> ProgramInfo:
        pid = 4_711 if self.state == "RUNNING" else None
        return ProgramInfo("catalog", self.state, pid, 0, "", 1.0, self.starts, {}, self.command)

    def start(self) -> ProgramInfo:
        self.starts += 1
        self.state = "FATAL" if self.command == BAD else "RUNNING"
        return self.info()

    def stop(self) -> ProgramInfo:
        self.state = "STOPPED" if self.state == "RUNNING" else self.state
        return self.info()


def faults_on(manager: Manager, home: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedFaults:
    """Return the injector's verbs on a stack whose process manager this is."""
    place = Home(home)
    place.run.mkdir(parents=True)
    program = Program(
        name="catalog", command=DECLARED, environment={}, managed=True, probe="http", host="127.0.0.1", port=1
    )
    World(base_environment={}, programs=(program,)).save(place.world)

    async def look(_: Supervisor, _name: str) -> ProgramInfo:
        return manager.info()

    async def start(_: Supervisor, _name: str) -> ProgramInfo:
        return manager.start()

    async def stop(_: Supervisor, _name: str) -> ProgramInfo:
        return manager.stop()

    async def give(_: Supervisor, _name: str, command: tuple[str, ...]) -> None:
        manager.command = command

    for name, done in {"program": look, "start_anyhow": start, "stop": stop, "set_command": give}.items():
        monkeypatch.setattr(Supervisor, name, done)
    monkeypatch.setattr("services.platform.embedded.processes.signal_tree", lambda _pid, _number: None)
    return EmbeddedFaults(home)


@pytest.mark.parametrize(
    ("command", "state", "starts", "then"),
    [
        (DECLARED, "RUNNING", 1, "FATAL"),
        (DECLARED, "STOPPED", 1, "FATAL"),
        (BAD, "STOPPED", 1, "FATAL"),
        (BAD, "FATAL", 0, "FATAL"),
        (BAD, "EXITED", 0, "EXITED"),
        (BAD, "BACKOFF", 0, "BACKOFF"),
        (BAD, "RUNNING", 0, "RUNNING"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else str(value),
)
@pytest.mark.asyncio
async def test_a_workload_with_another_command_was_started_with_it_exactly_once(
    command: tuple[str, ...], state: str, starts: int, then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it ends at once is the fault's own business; that it never began would be another fault, a stopped one."""
    manager = Manager(command, state)
    await faults_on(manager, tmp_path, monkeypatch).commands.set_command("catalog", BAD)
    assert (manager.command, manager.state, manager.starts) == (BAD, then, starts)
