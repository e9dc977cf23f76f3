"""Both sources of a metric's values keep the same promises: Prometheus over real HTTP, and the journal's telemetry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Protocol

import pytest
import pytest_asyncio

from agents.errors import SourceError
from agents.metric.analysis import Sample
from agents.metric.prometheus import PrometheusSource
from agents.metric.source import MetricSource, Question
from agents.metric.window import JournalSource, TelemetryWindow
from broker.contracts.telemetry import Metrics, Telemetry
from broker.memory import MemoryBroker, MemoryJournal, settle
from tests.support.prometheus import holding, running_prometheus
from tests.support.signing import gate, signer
from tests.support.world import shop_inventory

pytestmark = pytest.mark.asyncio
US = 1_000_000
DEVICE = shop_inventory().devices[3]


class World(Protocol):
    """A source, and a way to have measured something."""

    source: MetricSource

    async def measured(self, values: Sequence[float | None]) -> int:
        """Note one value a second (None: not measured, but the source goes on); return the time after the last."""
        ...


class PrometheusWorld:
    START_US = 1_790_000_000 * US

    def __init__(self, stack: AsyncExitStack) -> None:
        self._samples: list[Sample] = []
        canned = stack.enter_context(running_prometheus(holding(self._samples)))
        self.source: MetricSource = PrometheusSource(canned.url)

    async def measured(self, values: Sequence[float | None]) -> int:
        at = self.START_US
        for value in values:
            at += US
            self._samples.append(Sample(at, float("nan") if value is None else value))
        return at


class JournalWorld:
    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self._sensors = MemoryBroker(self.journal, "sensors-1", "sensors")
        self._sign = signer("sensors", journal=self.journal)
        self._reader = MemoryBroker(self.journal, "metric-1", "metric")
        self.source: MetricSource = JournalSource(TelemetryWindow(self._reader, gate("metric")))

    async def measured(self, values: Sequence[float | None]) -> int:
        for value in values:
            await self.journal.advance(1.0)
            sample = Telemetry(
                device_id=DEVICE.name,
                timestamp=datetime.now(UTC),
                status="OK",
                metrics=Metrics(cpu_load=None, mem_usage=None, latency_ms=value),
            )
            await self._sensors.publish(sample.subject(), self._sign.seal(sample))
        await settle()
        return self.journal.now_us

    async def close(self) -> None:
        await self.source.close()
        await self._reader.close()
        await self._sensors.close()


@pytest_asyncio.fixture(params=["prometheus", "journal"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        if request.param == "journal":
            journal = JournalWorld()
            stack.push_async_callback(journal.close)
            yield journal
            return
        prometheus = PrometheusWorld(stack)
        stack.push_async_callback(prometheus.source.close)
        yield prometheus


def question(time_us: int, lookback_s: int, metric: str = "latency_ms") -> Question:
    return Question(DEVICE, metric, lookback_s * US, 1, time_us)


async def test_the_look_back_is_parted_from_what_was_before(world: World) -> None:
    now = await world.measured([float(n) for n in range(60)])
    series = await world.source.series(question(now, 10))
    recent, before = [s.value for s in series.recent], [s.value for s in series.before]
    assert recent == sorted(recent)
    assert recent[-1] == 59.0
    assert min(recent) >= 49.0
    assert before
    assert max(before) < min(recent)


async def test_the_samples_stand_in_the_order_of_their_time(world: World) -> None:
    now = await world.measured([5.0, 4.0, 3.0, 2.0, 1.0])
    times = [sample.time_us for sample in (await world.source.series(question(now, 60))).recent]
    assert times == sorted(times)
    assert all(now - 60 * US <= at <= now for at in times)


async def test_what_was_not_measured_is_no_sample(world: World) -> None:
    now = await world.measured([1.0, None, 3.0, None])
    assert [s.value for s in (await world.source.series(question(now, 30))).recent] == [1.0, 3.0]


async def test_a_source_that_holds_nothing_of_that_time_says_so(world: World) -> None:
    now = await world.measured([None, None])
    with pytest.raises(SourceError, match="holds no value"):
        await world.source.series(question(now, 30))


async def test_an_old_value_is_no_answer_for_now(world: World) -> None:
    now = await world.measured([7.0, *[None] * 40])
    with pytest.raises(SourceError, match="holds no value"):
        await world.source.series(question(now, 20))


async def test_without_a_baseline_the_look_back_alone_is_the_answer(world: World) -> None:
    now = await world.measured([2.0, 2.0, 2.0])
    series = await world.source.series(question(now, 600))
    assert (len(series.recent), series.before) == (3, ())


async def test_a_metric_of_another_unit_is_not_mixed_in(world: World) -> None:
    now = await world.measured([1.0, 2.0])
    if world.source.name == "journal":
        with pytest.raises(SourceError):
            await world.source.series(question(now, 30, "cpu_load"))
    else:
        assert (await world.source.series(question(now, 30))).query != (
            await world.source.series(question(now, 30, "cpu_load"))
        ).query
