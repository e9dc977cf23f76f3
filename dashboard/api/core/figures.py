"""Today's figures from the runs that were scored (spec 10). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Today:
    """Of the runs given; None where nothing was measured."""

    injected: int
    recovered: int
    success_rate: float | None
    mean_replan_latency_s: float | None
    median_recovery_s: float | None


@dataclass(frozen=True, slots=True)
class Run:
    """One scored run."""

    breaks: bool
    """Its scenario injects something."""
    verdict: str
    score: Mapping[str, Any]


def figures(runs: Sequence[Run]) -> Today:
    """Return the figures of runs. One that injects nothing counts for SR and MRL and for nothing else."""
    injected = [(run.verdict, run.score) for run in runs if run.breaks]
    times = [value for _, score in injected if (value := score.get("time_to_recover_s")) is not None]
    return Today(
        injected=len(injected),
        recovered=sum(verdict == "recovered" for verdict, _ in injected),
        success_rate=sum(bool(run.score.get("success")) for run in runs) / len(runs) if runs else None,
        mean_replan_latency_s=_replan_latency([run.score for run in runs]),
        median_recovery_s=median(times) if times else None,
    )


def _replan_latency(scores: Sequence[Mapping[str, Any]]) -> float | None:
    """MRL (spec 10): `sum((t_replan_complete - t_trigger) * TGED) / sum(TGED)`, seconds."""
    replans = [replan for score in scores for replan in score.get("replans") or ()]
    weight = sum(replan["tged"] for replan in replans)
    if not weight:
        return None
    return float(sum((r["t_replan_complete"] - r["t_trigger"]) * r["tged"] for r in replans) / weight)
