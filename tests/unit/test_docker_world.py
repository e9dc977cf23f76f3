"""What the proxy does by itself, over an engine in memory: what it remembers, mends and survives."""

from __future__ import annotations

import asyncio
import gc
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture

from broker.subjects import JOURNAL_MAX_AGE_S
from broker.tasks import end
from services.platform.docker.adapter import DockerPlatform
from services.platform.docker.engine import MAX_LOG_BYTES, Engine
from services.platform.docker.faults import DockerFaults
from services.platform.docker.labels import Labelled
from services.platform.ledger import Ledger, Row
from services.platform.port import PlatformDownError, UnknownWorkloadError, VerbFailedError
from services.platform.proxy.metrics import ProxyMetrics
from services.platform.proxy.world import WatchedWorld
from tests.support.fake_engine import PROJECT, FakeEngine, fake_engine, frames
from tests.support.waiting import eventually

EARLY, LATER, LATE = "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z", "2026-01-01T01:00:00Z"


@dataclass(frozen=True)
class Bench:
    """An engine in memory, and a folder that outlives every proxy."""

    fake: FakeEngine
    engine: Engine
    folder: Path
    log: LogCapture

    @property
    def platform(self) -> DockerPlatform:
        return DockerPlatform(self.engine, self.folder / "store", "tool:dev")

    def proxy(self) -> WatchedWorld:
        """A proxy that was just started."""
        log = structlog.wrap_logger(None, processors=[self.log])
        return WatchedWorld(self.platform, self.folder / "inventory.json", ProxyMetrics(), log, None)

    async def names(self) -> tuple[str, ...]:
        return (await self.platform.inventory()).inventory.names()

    def said(self) -> list[str]:
        return [row["event"] for row in self.log.entries]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with fake_engine(tmp_path) as fake:
        engine = Engine(PROJECT, base_url=fake.url)
        yield Bench(fake, engine, tmp_path, LogCapture())
        engine.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # docker-py leaves a socket that was given up
        gc.collect()


# -- remembering


@pytest.mark.asyncio
async def test_a_workload_removed_by_hand_is_still_known_to_a_proxy_that_starts_anew(bench: Bench) -> None:
    orders = bench.fake.workload("orders", at=EARLY)
    bench.fake.add("nats", at=LATER)  # made a moment later by the same `up`
    bench.fake.set_state(orders, "running", LATE)
    assert await bench.names() == ("orders",)
    del bench.fake.containers[orders]
    await bench.proxy().open()
    assert await bench.names() == ("orders",)
    assert "declaration_forgotten" not in bench.said()


@pytest.mark.asyncio
async def test_a_workload_that_compose_made_a_second_time_from_the_same_file_is_still_known(bench: Bench) -> None:
    for at in (EARLY, LATE):  # up, down, up: the same configuration keeps its first declaration
        bench.fake.containers.clear()
        orders = bench.fake.workload("orders", at=at)
        bench.fake.add("nats", at=at)
        assert await bench.names() == ("orders",)
    del bench.fake.containers[orders]
    await bench.proxy().open()
    assert await bench.names() == ("orders",)


@pytest.mark.asyncio
async def test_a_service_that_was_not_seen_since_the_project_was_made_anew_is_forgotten(bench: Bench) -> None:
    bench.fake.workload("orders", at=EARLY)
    bench.fake.workload("users", at=EARLY)
    assert await bench.names() == ("orders", "users")
    bench.fake.containers.clear()
    bench.fake.workload("orders", at=LATE)
    await bench.proxy().open()
    assert await bench.names() == ("orders",)
    assert "declaration_forgotten" in bench.said()


@pytest.mark.asyncio
async def test_effects_older_than_the_journal_are_dropped_when_the_proxy_starts(bench: Bench) -> None:
    bench.fake.workload("orders", at=EARLY)
    platform = bench.proxy()
    ledger = Ledger(bench.folder / "store" / "effects.jsonl")
    now_us = time.time_ns() // 1_000
    ledger.append(Row("old", "orders", "restart", "intent", now_us - (JOURNAL_MAX_AGE_S + 60) * 1_000_000))
    ledger.append(Row("new", "orders", "restart", "intent", now_us - (JOURNAL_MAX_AGE_S - 60) * 1_000_000))
    await platform.open()
    assert await bench.platform.effects() == (("new", "orders", "restart"),)


# -- mending


@pytest.mark.asyncio
async def test_a_role_that_was_killed_and_not_started_again_is_started_by_the_next_proxy(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = bench.fake.add("log-agent", at=EARLY, role="log")
    bench.fake.workload("orders", at=EARLY)
    killed = asyncio.Event()

    async def never(*_: object) -> None:
        killed.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(bench.engine, "start", never)
        killing = asyncio.create_task(bench.proxy().faults.kill_role("log-agent", "KILL"))
        async with asyncio.timeout(5):
            await killed.wait()
        await end(killing)  # the proxy is stopped right here
    assert bench.fake.status(role) == "exited"
    await bench.proxy().open()
    assert bench.fake.status(role) == "running"
    assert "mended" in bench.said()
    bench.fake.set_state(role, "exited")  # and now by a person, who means it
    await bench.proxy().open()
    assert bench.fake.status(role) == "exited"


@pytest.mark.asyncio
async def test_a_role_that_was_killed_and_removed_keeps_no_proxy_from_starting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = bench.fake.add("log-agent", at=EARLY, role="log")
    bench.fake.troubles["start"] = lambda: (500, "no")
    with pytest.raises(VerbFailedError, match="could not be started: no"):
        await bench.proxy().faults.kill_role("log-agent", "KILL")
    await bench.proxy().open()  # it still cannot be started
    assert bench.fake.status(role) == "exited"
    del bench.fake.containers[role]
    await bench.proxy().open()


@pytest.mark.asyncio
async def test_a_role_that_could_not_be_killed_is_left_as_a_person_left_it(bench: Bench) -> None:
    role = bench.fake.add("log-agent", at=EARLY, role="log")
    bench.fake.set_state(role, "exited")
    bench.fake.troubles["kill"] = lambda: (409, "is not running")
    with pytest.raises(VerbFailedError, match="is not running"):
        await bench.proxy().faults.kill_role("log-agent", "KILL")
    await bench.proxy().open()
    assert bench.fake.status(role) == "exited"


# -- surviving


@pytest.mark.asyncio
async def test_a_watch_that_fails_is_told_in_health_and_log_and_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.fake.workload("orders", at=EARLY)
    world = bench.proxy()
    whole, broken = world.platform.inventory, True

    async def inventory() -> Labelled:
        if broken:
            raise ZeroDivisionError("nobody foresaw this")
        return await whole()

    monkeypatch.setattr(world.platform, "inventory", inventory)
    monkeypatch.setattr("services.platform.proxy.world.RETRY_S", 0.05)
    monkeypatch.setattr("services.platform.proxy.world.REFRESH_S", 0.05)

    async def told() -> bool:
        return "watch_failed" in bench.said()

    async def ready() -> bool:
        return world.ready

    running = asyncio.create_task(world.run())
    try:
        await eventually(told)
        assert not world.ready
        broken = False
        await eventually(ready)
        broken = True

        async def unready() -> bool:
            return not world.ready

        await eventually(unready)
        assert not running.done()
    finally:
        await end(running)


# -- names


@pytest.mark.parametrize("name", ["a/b", "x" * 300, "a\0b", "../../../../usr/**/x", "/etc/x", "nobody"])
@pytest.mark.asyncio
async def test_a_name_that_is_no_workloads_makes_no_lock_and_no_search(bench: Bench, name: str) -> None:
    bench.fake.workload("orders", at=EARLY)
    platform = bench.platform
    faults = DockerFaults(platform)
    for call in (
        platform.inspect(name),
        faults.stop(name),
        faults.names.break_names(name),
        faults.reset_environment(name),
    ):
        with pytest.raises(UnknownWorkloadError, match="no workload is called"):
            await call
    assert list((bench.folder / "store" / "run").iterdir()) == []


# -- logs


@pytest.mark.asyncio
async def test_of_a_log_without_end_the_newest_part_is_read(bench: Bench) -> None:
    bench.fake.workload("orders", at=EARLY)
    long = "x" * 10_000
    lines = [f"2026-01-01T00:00:{number % 60:02}.{number:06}Z {number} {long}" for number in range(1_000)]
    bench.fake.log = frames(*lines)
    [container] = await bench.engine.find("orders")
    got = await bench.engine.logs(container, since_us=0, tail=20_000)
    assert sum(len(text) for _, text in got) <= MAX_LOG_BYTES < len(bench.fake.log)
    numbers = [int(text.split()[0]) for _, text in got]
    assert numbers == list(range(numbers[0], 1_000))
    assert len(numbers) > 100


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.asyncio
async def test_a_log_is_read_with_and_without_a_terminal(bench: Bench, terminal: bool) -> None:
    ident = bench.fake.workload("orders", at=EARLY)
    bench.fake.containers[ident]["Config"]["Tty"] = terminal
    line = "2026-01-01T00:00:01.5Z hällo"
    bench.fake.log = f"{line}\r\n".encode() if terminal else frames(line)
    [container] = await bench.engine.find("orders")
    [(at_us, text)] = await bench.engine.logs(container, since_us=0)
    assert (at_us % 60_000_000, text.rstrip()) == (1_500_000, "hällo")


@pytest.mark.asyncio
async def test_a_log_that_breaks_off_is_told_in_a_sentence(bench: Bench) -> None:
    bench.fake.workload("orders", at=EARLY)
    bench.fake.log = frames("2026-01-01T00:00:01Z x")
    [container] = await bench.engine.find("orders")
    bench.fake.cut_short = True
    with pytest.raises(PlatformDownError, match=r"the Docker engine at .* cannot be used"):
        await bench.engine.logs(container, since_us=0)


@pytest.mark.parametrize("until_us", [None, 10])
@pytest.mark.asyncio
async def test_the_engine_is_never_asked_for_a_whole_log(bench: Bench, until_us: int | None) -> None:
    bench.fake.workload("orders", at=EARLY)
    await bench.platform.logs("orders", since_us=0, until_us=until_us, limit=50)
    [query] = [query for what, query in bench.fake.asked if what == "logs"]
    assert query["tail"] == (["50"] if until_us is None else ["20000"])
