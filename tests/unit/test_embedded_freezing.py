"""Freezing and changing a workload on processes: what did not come about is said, what changed meanwhile is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from broker.runtime.locks import exclusive
from services.platform.embedded import processes
from services.platform.embedded.faults import EmbeddedFaults
from services.platform.embedded.home import Home
from services.platform.embedded.supervisor import ProgramInfo, Supervisor
from services.platform.embedded.world import Program, World
from services.platform.port import VerbFailedError

PID = 4_711


class Manager:
    """A process manager with one program, `orders`, that always runs."""

    def __init__(self) -> None:
        self.environment = {"HOST": "right"}

    def info(self) -> ProgramInfo:
        return ProgramInfo("orders", "RUNNING", PID, 0, "", 1.0, 1, dict(self.environment))


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manager:
    """A stack under the test's folder whose process manager this is."""
    manager = Manager()
    home = Home(tmp_path)
    home.run.mkdir(parents=True)
    orders = Program(
        name="orders",
        command=("orders",),
        environment={"HOST": "right"},
        managed=True,
        probe="http",
        host="127.0.0.1",
        port=1,
    )
    World(base_environment={}, programs=(orders,)).save(home.world)

    async def program(_: Supervisor, _name: str) -> ProgramInfo:
        return manager.info()

    async def configure(_: Supervisor, _name: str, environment: dict[str, str]) -> None:
        manager.environment = dict(environment)

    async def nothing(_: Supervisor, _name: str) -> ProgramInfo:
        return manager.info()

    for name, done in {
        "program": program,
        "configure": configure,
        "stop": nothing,
        "start": nothing,
        "start_anyhow": nothing,
    }.items():
        monkeypatch.setattr(Supervisor, name, done)
    monkeypatch.setattr(processes, "signal_tree", lambda _pid, _number: None)
    return manager


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("verb", "what"), [(lambda faults: faults.freeze("orders"), "paused"), (lambda f: f.thaw("orders"), "resumed")]
)
async def test_a_process_that_does_not_freeze_or_go_on_is_said(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch, verb: Callable[[EmbeddedFaults], Any], what: str
) -> None:
    monkeypatch.setattr(processes, "wait_frozen", lambda _pid, _frozen: False)
    with pytest.raises(VerbFailedError, match=f"orders could not be {what}"):
        await verb(EmbeddedFaults(tmp_path))


@pytest.mark.asyncio
async def test_variables_are_changed_in_the_environment_that_the_verb_before_has_left(
    tmp_path: Path, manager: Manager
) -> None:
    manager.environment = {"HOST": "wrong"}
    async with exclusive(Home(tmp_path).verb_lock("orders")):
        changing = asyncio.create_task(EmbeddedFaults(tmp_path).set_environment("orders", {"PORT": "1"}))
        for _ in range(20):
            await asyncio.sleep(0)
        manager.environment = {"HOST": "right"}  # as `reconcile` does under this lock
    await changing
    assert manager.environment == {"HOST": "right", "PORT": "1"}
