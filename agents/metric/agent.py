"""MetricAgent (spec 5): trend, threshold and anomaly of one metric against its own baseline."""

from __future__ import annotations

from typing import ClassVar

from agents.base import Agent, Order, Outcome, lookback_us
from agents.errors import PreconditionError
from agents.metric.analysis import analyse, sentence
from agents.metric.window import TelemetryWindow
from broker.contracts.base import Scalar
from broker.contracts.inventory import Inventory
from broker.contracts.plan import AgentKind

DEFAULT_LOOKBACK = "30s"
BASELINE_US = 10 * 60 * 1_000_000
"""How far before the look-back the baseline reaches."""
SLACK_US = 2_000_000
"""Telemetry taken shortly after the order still belongs to it."""


class MetricAgent(Agent):
    """Reads telemetry from the journal; changes nothing."""

    kind: ClassVar[AgentKind] = "metric"

    def __init__(self, instance: str, inventory: Inventory, window: TelemetryWindow) -> None:
        super().__init__(instance, inventory)
        self._window = window

    async def execute(self, order: Order) -> Outcome:
        """Judge the metric's values of the look-back before the order."""
        args = order.task.args
        device, metric = order.task.target, str(args["metric"])
        lookback = str(args.get("lookback", DEFAULT_LOOKBACK))
        await self._window.follow(order.seq)
        since = order.time_us - lookback_us(lookback)
        recent = self._window.samples(device, metric, since, order.time_us + SLACK_US)
        if not recent:
            raise PreconditionError(f"no {metric} of {device} was measured in the last {lookback}")
        before = self._window.samples(device, metric, since - BASELINE_US, since)
        found = analyse(recent, before, above=_number(args.get("above")), below=_number(args.get("below")))
        return Outcome(
            out=sentence(device, metric, lookback, found),
            meta={"crossed": found.crossed, "anomalous": found.anomalous, "trend": found.trend, "last": found.last},
            evidence=tuple(f"{sample.value:g} at {sample.time_us}" for sample in recent[-5:]),
        )


def _number(value: Scalar | None) -> float | None:
    return None if value is None else float(value)
