"""MetricAgent (spec 5): trend, threshold and anomaly of one metric against its own baseline, the hour before.

It asks its sources in order and judges the first answer, with the same analysis whoever gave it. The result names the
source; if an earlier one had no answer, the sentence says so and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, get_args

from prometheus_client import CollectorRegistry, Counter

from agents.base import Agent, Order, Outcome, lookback_us
from agents.errors import PreconditionError, SourceError
from agents.metric.analysis import Analysis, analyse, sentence
from agents.metric.source import MetricSource, Question, Series, SourceName
from broker.contracts.base import Scalar
from broker.contracts.inventory import Inventory
from broker.contracts.plan import AgentKind

DEFAULT_LOOKBACK = "30s"


class SourceMetrics:
    """What /metrics shows of the sources."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.questions = Counter(
            "triage_metric_questions_total",
            "Questions to a source of measurements: answered, or missed (away, wrong, holds nothing).",
            ["source", "outcome"],
            registry=registry or CollectorRegistry(),
        )
        for source in get_args(SourceName):
            for outcome in ("answered", "missed"):
                self.questions.labels(source, outcome)


class MetricAgent(Agent):
    """Reads measurements; changes nothing."""

    kind: ClassVar[AgentKind] = "metric"

    def __init__(
        self,
        instance: str,
        inventory: Inventory,
        sources: Sequence[MetricSource],
        metrics: SourceMetrics | None = None,
    ) -> None:
        """
        Args:
            sources: asked in this order until one has an answer; at least one.
        """
        super().__init__(instance, inventory)
        self._sources = tuple(sources)
        self._metrics = metrics or SourceMetrics()

    async def execute(self, order: Order) -> Outcome:
        """Judge the metric's values of the look-back before the order."""
        args = order.task.args
        lookback = str(args.get("lookback", DEFAULT_LOOKBACK))
        question = self._question(order, lookback)
        source, series, missed = await self._ask(question, lookback)
        above, below = _number(args.get("above")), _number(args.get("below"))
        found = analyse(series.recent, series.before, above=above, below=below)
        said = sentence(question.device.name, question.metric, lookback, found)
        return Outcome(
            out=said + (f"; from the {source}, because {missed}" if missed else ""),
            meta=_meta(found) | {"source": source},
            evidence=(*_origin(source, series, missed), *(f"{s.value:g} at {s.time_us}" for s in series.recent[-5:])),
        )

    def _question(self, order: Order, lookback: str) -> Question:
        device = self._inventory.get(order.task.target)
        if device is None:
            raise PreconditionError(f"{order.task.target} is not in the inventory")
        return Question(device, str(order.task.args["metric"]), lookback_us(lookback), order.seq, order.time_us)

    async def _ask(self, question: Question, lookback: str) -> tuple[str, Series, str]:
        """Return the first answer, who gave it, and why the others before it did not."""
        missed: list[str] = []
        for source in self._sources:
            try:
                series = await source.series(question)
                self._metrics.questions.labels(source.name, "answered").inc()
                return source.name, series, "; ".join(missed)
            except SourceError as error:
                self._metrics.questions.labels(source.name, "missed").inc()
                missed.append(f"{source.name} {error}")
        nothing = f"no {question.metric} of {question.device.name} was measured in the last {lookback}"
        raise PreconditionError(f"{nothing} ({'; '.join(missed)})")


def _meta(found: Analysis) -> dict[str, Scalar]:
    return {
        "crossed": found.crossed,
        "anomalous": found.anomalous,
        "trend": found.trend,
        "slope_per_s": found.slope,
        "last": found.last,
    }


def _origin(source: str, series: Series, missed: str) -> tuple[str, ...]:
    """Return where the values are from, for whoever checks the finding."""
    asked = (f"query: {series.query}",) if series.query else ()
    return (f"source: {source}", *asked, *((f"no answer: {missed}",) if missed else ()))


def _number(value: Scalar | None) -> float | None:
    return None if value is None else float(value)
