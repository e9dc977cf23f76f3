"""MetricAgent: trend, threshold, anomaly."""

from __future__ import annotations

from agents.metric.analysis import Sample, analyse, sentence, trend


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
