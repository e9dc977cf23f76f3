"""`python -m agents.metric`: one MetricAgent. Start more to share the work."""

from __future__ import annotations

import sys

from agents.metric.agent import MetricAgent
from agents.metric.window import TelemetryWindow
from broker.runtime.process import Context, worker_main


def _make(context: Context) -> MetricAgent:
    # A gate of its own, for reading back; the context keeps it up to date when keys rotate.
    window = TelemetryWindow(context.broker, context.gate())
    return MetricAgent(context.settings.instance, context.inventory, window)


if __name__ == "__main__":
    sys.exit(worker_main("metric", "w-metric", _make))
