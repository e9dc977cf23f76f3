"""One embedded stack for a module of tests; every test finds it healthy and leaves it so."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.embedded.stack import Stack
from tests.support.ports import free_base

HEALTHY_TIMEOUT_S = 30.0


@contextmanager
def running_stack(*, schedulers: int = 1, settings: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Give the home of a stack that is up, planned for by the rulebook alone unless `settings`, which the roles
    inherit, say otherwise."""
    # Unix sockets have short paths, so the home does too.
    home = Path(tempfile.mkdtemp(prefix="triage-"))
    own = {"TRIAGE_PLANNER_MODE": "rulebook", **(settings or {})}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    stack = Stack(home, free_base())
    try:
        asyncio.run(stack.up(schedulers=schedulers))
        yield home
    finally:
        if asyncio.run(stack.alive()):
            asyncio.run(stack.down())
        shutil.rmtree(home, ignore_errors=True)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def await_healthy(home: Path) -> None:
    """Wait until every program of the stack is healthy again."""
    deadline = time.monotonic() + HEALTHY_TIMEOUT_S
    while not (status := asyncio.run(Stack(home).status())).healthy:
        if time.monotonic() > deadline:
            sick = [f"{p.name}: {p.state}: {p.detail}" for p in status.programs if not p.healthy]
            pytest.fail(f"the stack is not healthy again: {sick}")
        time.sleep(0.2)


@pytest.fixture(scope="module")
def shared_home() -> Iterator[Path]:
    """One stack for a module's tests; never two at once, they would starve each other."""
    with running_stack() as home:
        yield home


@pytest.fixture
def home(shared_home: Path) -> Path:
    """Give the shared stack's home, healthy."""
    await_healthy(shared_home)
    return shared_home
