"""`python -m agents.metric`: one MetricAgent. Start more to share the work."""

from __future__ import annotations

import sys

from agents.metric.agent import MetricAgent, SourceMetrics
from agents.metric.source import MetricSource
from agents.metric.window import JournalSource, TelemetryWindow
from broker.runtime.process import Context, worker_main


def _make(context: Context) -> MetricAgent:
    counted = SourceMetrics(context.metrics.registry)
    return MetricAgent(context.settings.instance, context.inventory, _sources(context), counted)


def _sources(context: Context) -> list[MetricSource]:
    """Prometheus first, where there is one; the journal always."""
    # A gate of its own, for reading back; the context keeps it up to date when keys rotate.
    journal = JournalSource(TelemetryWindow(context.broker, context.gate()))
    url = context.settings.prometheus_url
    if url is None:
        return [journal]
    from agents.metric.prometheus import PrometheusSource  # late: without it, no HTTP client in memory

    return [PrometheusSource(url), journal]


if __name__ == "__main__":
    sys.exit(worker_main("metric", "w-metric", _make))
