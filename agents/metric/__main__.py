"""`python -m agents.metric`: one MetricAgent. Start more to share the work."""

from __future__ import annotations

import sys

from agents.metric.agent import MetricAgent
from agents.metric.window import TelemetryWindow
from broker.gate import Gate
from broker.runtime.process import Context, worker_main


def _make(context: Context) -> MetricAgent:
    # A gate of its own: the window reads back what other instances may have read too, with its own nonce memory.
    window = TelemetryWindow(context.broker, Gate(context.keyring))
    return MetricAgent(context.settings.instance, context.inventory, window)


if __name__ == "__main__":
    sys.exit(worker_main("metric", "w-metric", _make))
