"""Foreign programs on processes: real ones, since who sees whom in time is what it is about."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.platform.embedded import processes
from services.platform.embedded.faults import EmbeddedFaults
from services.platform.embedded.home import Home, scope_of
from services.platform.embedded.intruders import MODULE, EmbeddedIntruders
from services.platform.embedded.world import Program, World

LINGERER = "lingerer"


@pytest.fixture
def intruders(tmp_path: Path) -> Iterator[EmbeddedIntruders]:
    """A world with one workload, and a module that does nothing for long; whatever was started is ended."""
    home = Home(tmp_path / "home")
    for folder in (home.run, home.logs):
        folder.mkdir(parents=True)
    (tmp_path / f"{LINGERER}.py").write_text("import time\ntime.sleep(600)\n")
    victim = Program(
        name="shop-db", command=("db",), environment={}, managed=True, probe="postgres", host="127.0.0.1", port=1
    )
    base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    World(base_environment=base, programs=(victim,)).save(home.world)
    yield EmbeddedFaults(home.root).intruders
    processes.end(processes.carrying({**scope_of(home, "shop-db"), MODULE: LINGERER}), grace_s=0.0)


def living(root: Path) -> int:
    return sum(1 for _ in processes.carrying({**scope_of(Home(root), "shop-db"), MODULE: LINGERER}))


@pytest.mark.asyncio
async def test_two_who_put_in_the_same_intruder_at_once_put_in_one(
    intruders: EmbeddedIntruders, tmp_path: Path
) -> None:
    await asyncio.gather(*(intruders.intrude("shop-db", LINGERER) for _ in range(3)))
    assert living(tmp_path / "home") == 1


@pytest.mark.asyncio
async def test_one_who_comes_right_after_finds_the_intruder_that_is_just_beginning(
    intruders: EmbeddedIntruders, tmp_path: Path
) -> None:
    for _ in range(3):
        await intruders.intrude("shop-db", LINGERER)
    assert living(tmp_path / "home") == 1


@pytest.mark.asyncio
async def test_what_was_put_in_is_gone_when_it_was_thrown_out(intruders: EmbeddedIntruders, tmp_path: Path) -> None:
    await intruders.intrude("shop-db", LINGERER)
    await intruders.expel("shop-db", LINGERER)
    assert living(tmp_path / "home") == 0
