"""One small project of containers for all tests of the platform; every test finds it as compose makes it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.platform.docker.adapter import DockerPlatform
from services.platform.docker.engine import Engine
from tests.support.docker_hand import Hand, small_project
from tests.support.docker_world import compose, missing, platform_of, project, until_well


@pytest.fixture(scope="package")
def hand() -> Iterator[Hand]:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    store = Path(tempfile.mkdtemp(prefix="tp-"))
    made = Hand(f"tp{store.name[3:].lower().replace('_', 'x')}", small_project(), store)
    try:
        with project(made.name, made.file):
            yield made
    finally:
        shutil.rmtree(store)


@pytest_asyncio.fixture
async def world(hand: Hand) -> AsyncIterator[DockerPlatform]:
    """The project as compose makes it, with a fresh memory of it."""
    shutil.rmtree(hand.store / "declared", ignore_errors=True)
    compose(hand.name, "up", "-d", "-t", "1", file=hand.file)
    engine = Engine(hand.name)
    platform = platform_of(engine, hand.store)
    await until_well(platform)
    yield platform
    for item in await platform.list():
        if item.managed:
            await platform.reconcile(item.name, key=f"mend-{item.name}-{id(platform)}")
    engine.close()
