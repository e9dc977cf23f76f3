"""Replacing a container, and what of it is left behind when the engine says no, says nothing, or somebody else acts."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.platform.docker import connection
from services.platform.docker.connection import EngineSilentError
from services.platform.docker.container import REPLACED, Container, blueprint_of
from services.platform.docker.engine import Engine
from services.platform.port import VerbFailedError
from tests.support.fake_engine import PROJECT, FakeEngine, fake_engine

NAME = f"{PROJECT}-orders-1"
AT = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class Bench:
    """An engine with one container, and our hand on it."""

    fake: FakeEngine
    engine: Engine
    old: str

    async def container(self) -> Container:
        [found] = await self.engine.find("orders")
        return found

    async def recreate(self) -> Container:
        container = await self.container()
        blueprint = blueprint_of(container.raw).with_environment({"A": "2"})
        return await self.engine.recreate(container, blueprint)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with fake_engine(tmp_path) as fake:
        old = fake.workload("orders", at=AT)
        engine = Engine(PROJECT, base_url=fake.url)
        yield Bench(fake, engine, old)
        engine.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # docker-py leaves a socket that was given up
        gc.collect()


@pytest.mark.asyncio
async def test_the_new_one_has_the_name_and_the_old_one_is_gone(bench: Bench) -> None:
    made = await bench.recreate()
    assert (made.name, made.running, made.environment) == (NAME, True, {"A": "2"})
    assert list(bench.fake.containers) == [made.id]


@pytest.mark.asyncio
async def test_somebody_elses_container_that_took_the_name_meanwhile_is_not_removed(bench: Bench) -> None:
    strangers: list[str] = []

    def take_the_name() -> None:
        if not strangers:
            strangers.append(bench.fake.create(NAME, {"Labels": {}}))

    bench.fake.troubles["create"] = take_the_name
    with pytest.raises(VerbFailedError, match=f"{NAME} could not be created: Conflict"):
        await bench.recreate()
    assert bench.fake.named(NAME) == strangers
    assert bench.fake.named(f"{NAME}{REPLACED}") == [bench.old]
    [sentence] = await bench.engine.mend()  # which must not keep the proxy from starting
    assert f"{NAME}{REPLACED} is left" in sentence
    del bench.fake.containers[strangers[0]]
    assert await bench.engine.mend() == (f"{NAME}{REPLACED} is {NAME} again",)


@pytest.mark.asyncio
async def test_a_new_one_that_does_not_start_is_removed_and_the_old_one_runs_again(bench: Bench) -> None:
    answers = iter([(500, "no such device")])
    bench.fake.troubles["start"] = lambda: next(answers, None)
    with pytest.raises(VerbFailedError, match="no such device"):
        await bench.recreate()
    assert list(bench.fake.containers) == bench.fake.named(NAME) == [bench.old]
    assert bench.fake.status(bench.old) == "running"


@pytest.mark.parametrize("silent_at", ["stop", "rename", "create"])
@pytest.mark.asyncio
async def test_after_a_silence_of_the_engine_the_old_one_is_back_and_runs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, silent_at: str
) -> None:
    monkeypatch.setattr(connection, "CALL_TIMEOUT_S", 0.3)
    first = iter([True])

    def say_nothing() -> tuple[int, str] | None:
        if not next(first, False):
            return None
        if silent_at == "stop":  # it did what it was asked to, and did not say so
            bench.fake.set_state(bench.old, "exited")
        bench.fake.silence.wait(0.8)
        return 500, "too late"

    bench.fake.troubles[silent_at] = say_nothing
    with pytest.raises(EngineSilentError):
        await bench.recreate()
    assert bench.fake.named(NAME) == [bench.old]
    assert bench.fake.status(bench.old) == "running"


@pytest.mark.asyncio
async def test_an_old_one_that_cannot_be_removed_fails_nothing_and_goes_with_the_next_replacement(bench: Bench) -> None:
    bench.fake.troubles["remove"] = lambda: (500, "driver failed to remove root filesystem")
    first = await bench.recreate()
    assert (first.name, first.running) == (NAME, True)
    assert bench.fake.named(f"{NAME}{REPLACED}") == [bench.old]
    del bench.fake.troubles["remove"]
    second = await bench.recreate()
    assert list(bench.fake.containers) == [second.id]
