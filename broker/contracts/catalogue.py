"""The closed catalogue of task types: who does it, on what, with which arguments, at which risk.

The planner compiles from it, the scheduler validates against it, agents carry it out. Risk stands here and never in a
plan, so no model can talk a risky action down. There is no free shell: a type that is not here does not exist.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from broker.contracts import symptoms
from broker.contracts.base import Scalar
from broker.contracts.excerpt import MAX_EXCERPTS
from broker.contracts.inventory import Device, DeviceKind
from broker.contracts.plan import AgentName
from broker.contracts.task import Risk

LOOKBACK = r"[1-9][0-9]{0,3}[smh]"
LARGEST_WHOLE = 10**15
"""Whole numbers up to here are exact as float; far larger ones would not convert at all."""
METRIC_NAMES = ("cpu_load", "mem_usage", "latency_ms", "success_ratio", "request_rate")
ALL_KINDS: frozenset[DeviceKind] = frozenset({"service", "database", "cache", "queue", "traffic"})
WORKLOADS: frozenset[DeviceKind] = ALL_KINDS - {"traffic"}


@dataclass(frozen=True, slots=True)
class Argument:
    """Bounds of one argument. Text is bounded by `pattern` (full match) or `choices`; numbers by `low` and `high`."""

    type: type[str] | type[int] | type[float] | type[bool]
    required: bool = False
    pattern: str = r".{1,200}"
    choices: tuple[str, ...] = ()
    low: float = float("-inf")
    high: float = float("inf")

    def fault(self, name: str, value: Scalar) -> str | None:
        """Return what is wrong with a value in one sentence, or None."""
        if self.type is float and type(value) is int:
            if abs(value) > LARGEST_WHOLE:
                return f"argument {name} is a whole number of more than 15 digits"
            value = float(value)
        if type(value) is not self.type:
            return f"argument {name} must be {self.type.__name__}, not {type(value).__name__}"
        if isinstance(value, str):
            return self._fault_of_text(name, value)
        if not self.low <= value <= self.high:
            return f"argument {name} must lie in {self.low:g}..{self.high:g}, not {value}"
        return None

    def _fault_of_text(self, name: str, value: str) -> str | None:
        if self.choices and value not in self.choices:
            return f"argument {name} must be one of {', '.join(self.choices)}, not {value[:60]!r}"
        if not re.fullmatch(self.pattern, value):
            return f"argument {name} must match {self.pattern}, not {value[:60]!r}"
        return None


@dataclass(frozen=True, slots=True)
class TaskType:
    """One entry of the catalogue."""

    name: str
    agent: AgentName
    risk: Risk
    summary: str
    targets: frozenset[DeviceKind]
    timeout_s: float
    arguments: dict[str, Argument] = field(default_factory=dict)
    meta: tuple[str, ...] = ()
    """Fields of the result's `meta` that a condition may ask for."""
    advice: bool = False
    """Nothing hangs on it: if it fails it is skipped, and the plan goes on."""
    undo: str | None = None
    """How the action is taken back, in words; None where there is nothing to take back."""

    @property
    def changes_world(self) -> bool:
        """Tell whether carrying it out may change anything."""
        return self.risk != "read"

    def faults(self, args: dict[str, Scalar], target: Device) -> list[str]:
        """Return every way in which arguments and target break this entry's bounds; empty if none."""
        found = [f"{self.name} takes no argument {name}" for name in args if name not in self.arguments]
        for name, argument in self.arguments.items():
            if name in args:
                fault = argument.fault(name, args[name])
                found += [fault] if fault else []
            elif argument.required:
                found.append(f"{self.name} needs the argument {name}")
        if target.kind not in self.targets:
            found.append(f"{self.name} does not apply to {target.name}, a {target.kind}")
        if self.changes_world and not target.managed:
            found.append(f"{target.name} is not managed: nothing may change it")
        return found


CATALOGUE: dict[str, TaskType] = {
    entry.name: entry
    for entry in (
        TaskType(
            "check_logs",
            "LogAgent",
            "read",
            "search a workload's log lines for a pattern",
            WORKLOADS,
            10.0,
            {
                "pattern": Argument(str, required=True),
                "lookback": Argument(str, pattern=LOOKBACK),
                "level": Argument(str, choices=("DEBUG", "INFO", "WARN", "ERROR")),
                "top_k": Argument(int, low=1, high=20),
            },
            meta=("matched", "count"),
        ),
        TaskType(
            "check_metrics",
            "MetricAgent",
            "read",
            "trend, threshold and anomaly of one metric against its baseline",
            ALL_KINDS,
            10.0,
            {
                "metric": Argument(str, required=True, choices=METRIC_NAMES),
                "lookback": Argument(str, pattern=LOOKBACK),
                "above": Argument(float),
                "below": Argument(float),
            },
            meta=("crossed", "anomalous", "trend"),
        ),
        TaskType(
            "check_health",
            "ActionAgent",
            "read",
            "ask a workload for its health, until it is healthy or the time is over",
            WORKLOADS,
            20.0,
            {"within_s": Argument(float, low=0.0, high=15.0)},
            meta=("healthy",),
        ),
        TaskType(
            "check_config",
            "ActionAgent",
            "read",
            "compare what runs with what is declared: command, environment, limits, network, foreign processes",
            WORKLOADS,
            10.0,
            meta=("drifted", "running", "paused", "sound"),  # sound: it runs, as declared
        ),
        TaskType(
            "start",
            "ActionAgent",
            "safe",
            "start a stopped workload",
            WORKLOADS,
            30.0,
            undo="stop it again",
        ),
        TaskType(
            "resume",
            "ActionAgent",
            "safe",
            "continue a paused or stopped-by-signal workload",
            WORKLOADS,
            15.0,
            undo="pause it again",
        ),
        TaskType(
            "restart",
            "ActionAgent",
            "risky",
            "restart a workload as it is configured now",
            WORKLOADS,
            30.0,
        ),
        TaskType(
            "reconcile",
            "ActionAgent",
            "risky",
            "bring a workload back to its declaration: command, environment, network, no foreign processes",
            WORKLOADS,
            30.0,
            undo="put the drifted configuration back from the result's evidence",
        ),
        TaskType(
            "flush_cache",
            "ActionAgent",
            "safe",
            "delete the cache entries under a prefix; the owner fills them again from its database",
            frozenset({"cache"}),
            15.0,
            {"prefix": Argument(str, required=True, pattern=r"[a-z][a-z0-9:_-]{0,40}")},
        ),
        TaskType(
            "search_runbook",
            "RAGAgent",
            "read",
            "search the runbooks and past incidents for what is known about these symptoms",
            ALL_KINDS,
            8.0,
            {
                "query": Argument(str, required=True, pattern=r".{1,400}"),
                "symptoms": Argument(str, pattern=symptoms.PATTERN),
                "k": Argument(int, low=1, high=MAX_EXCERPTS),
            },
            meta=("found", "count"),
            advice=True,
        ),
    )
}
