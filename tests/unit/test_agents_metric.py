"""MetricAgent: trend, threshold, anomaly; which source it believes, and what it says of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from agents.errors import SourceError
from agents.metric.agent import MetricAgent
from agents.metric.analysis import Sample, analyse, sentence, slope, trend
from agents.metric.source import Question, Series, SourceName
from broker.contracts.task import Result, Task
from broker.runtime.worker_host import Work
from tests.support.world import shop_inventory


def samples(*values: float) -> list[Sample]:
    return [Sample(n * 1_000_000, value) for n, value in enumerate(values)]


def test_a_value_far_from_a_calm_baseline_is_an_anomaly() -> None:
    found = analyse(samples(900.0, 950.0), samples(*[12.0, 13.0, 11.0] * 5))
    assert found.anomalous
    assert found.baseline == 12.0


def test_a_ripple_on_a_perfectly_calm_baseline_is_none() -> None:
    assert not analyse(samples(10.1), samples(*[10.0] * 30)).anomalous


def test_with_too_little_baseline_nothing_is_called_an_anomaly() -> None:
    found = analyse(samples(900.0), samples(1.0, 1.0))
    assert (found.baseline, found.score, found.anomalous) == (None, None, False)


def test_a_threshold_is_crossed_above_or_below() -> None:
    assert analyse(samples(0.5, 0.98), [], below=0.9).crossed
    assert analyse(samples(0.5, 0.98), [], above=0.9).crossed
    assert not analyse(samples(0.95), [], above=0.99, below=0.9).crossed


def test_a_line_that_climbs_is_rising_and_noise_is_flat() -> None:
    assert trend(samples(1, 2, 3, 4, 5)) == "rising"
    assert trend(samples(5, 4, 3, 2, 1)) == "falling"
    assert trend(samples(10, 10.4, 9.8, 10.1)) == "flat"
    assert trend(samples(1, 9)) == "flat"


def test_the_sentence_holds_the_figures() -> None:
    text = sentence("orders", "latency_ms", "30s", analyse(samples(1500.0), samples(*[10.0] * 9), above=1000))
    assert text == (
        "latency_ms of orders is 1,500 (flat over 30s, 1,500..1,500 in 1 samples), "
        "an anomaly against its baseline of 10, across its threshold"
    )


def test_the_slope_is_per_second_of_time_and_not_per_sample() -> None:
    line = [Sample(0, 1.0), Sample(1_000_000, 3.0), Sample(4_000_000, 9.0)]
    assert slope(line) == pytest.approx(2.0)
    assert slope(line[:2]) == 0.0
    assert analyse(line, []).slope == pytest.approx(2.0)


@dataclass
class FakeSource:
    """Answers with a series, or with an error."""

    name: SourceName
    answer: Series | Exception
    asked: list[Question] = field(default_factory=list)

    async def series(self, question: Question) -> Series:
        self.asked.append(question)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def close(self) -> None:
        """Nothing to let go of."""


SERIES = Series(tuple(samples(5.0, 5.0, 80.0)), tuple(samples(*[5.0] * 9)), "some_query")
PLAIN = Series(tuple(samples(7.0)), ())


async def result_of(*sources: FakeSource, **args: str | float) -> Result:
    order = Task(
        incident="i1",
        task_id="v1-t1",
        attempt=1,
        kind="metric",
        type="check_metrics",
        target="orders",
        args={"metric": "latency_ms", **args},
        plan_version=1,
        risk="read",
        timeout_s=10.0,
        timer_id="x",
    )
    agent = MetricAgent("metric-1", shop_inventory(), sources)
    answer = await agent.handle(Work(order, 12, 90_000_000, 1, "DETERMINISTIC", order.subject()))
    assert isinstance(answer, Result)
    return answer


@pytest.mark.asyncio
async def test_prometheus_is_asked_first_and_named_as_the_source() -> None:
    first, second = FakeSource("prometheus", SERIES), FakeSource("journal", PLAIN)
    result = await result_of(first, second, lookback="1m", above=50.0)
    assert (result.status, second.asked) == ("OK", [])
    assert result.evidence[:2] == ("source: prometheus", "query: some_query")
    assert result.meta["source"] == "prometheus"
    assert result.meta["crossed"] is True
    assert "because" not in result.out
    asked = first.asked[0]
    assert (asked.device.name, asked.metric, asked.since_us, asked.seq) == ("orders", "latency_ms", 30_000_000, 12)


@pytest.mark.asyncio
async def test_when_prometheus_has_no_answer_the_journal_has_the_word_and_the_result_says_so() -> None:
    away = FakeSource("prometheus", SourceError("cannot be reached (ConnectError)"))
    result = await result_of(away, FakeSource("journal", PLAIN))
    assert result.status == "OK"
    assert result.out.endswith("; from the journal, because prometheus cannot be reached (ConnectError)")
    assert result.evidence[:2] == ("source: journal", "no answer: prometheus cannot be reached (ConnectError)")
    assert (result.meta["source"], result.meta["last"]) == ("journal", 7.0)


@pytest.mark.asyncio
async def test_the_same_values_give_the_same_verdict_whoever_measured_them() -> None:
    results = [await result_of(FakeSource(name, SERIES), above=50.0) for name in ("prometheus", "journal")]
    first, second = ({**result.meta, "source": ""} for result in results)
    assert first == second
    assert results[0].out == results[1].out


@pytest.mark.asyncio
async def test_if_nobody_measured_anything_that_is_definite_and_says_why_for_each() -> None:
    result = await result_of(
        FakeSource("prometheus", SourceError("answers HTTP 500")), FakeSource("journal", SourceError("holds nothing"))
    )
    assert (result.status, result.error_code) == ("FAIL", "precondition")
    assert result.out == (
        "no latency_ms of orders was measured in the last 30s (prometheus answers HTTP 500; journal holds nothing)"
    )
