"""Results of suites for tests, in few words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from harness.suite.report import About
from harness.suite.result import CleanUp, Key, Mark, ReplanSaid, RunFigures, RunResult

CLEAN = CleanUp(proved=True, seconds=1.0)


def key(scenario: str = "db_conn_drift", seed: int = 1, planner: str = "rulebook", commit: str = "abc") -> Key:
    return Key(scenario=scenario, seed=seed, planner=planner, commit=commit, platform="embedded", digest="d")


def figures(*replans: tuple[float, float], success: bool = True, **changes: Any) -> RunFigures:
    """Return the figures of a run; `replans` are (latency in seconds, TGED)."""
    values: dict[str, Any] = {
        "root_verified": success,
        "tasks_total": 4,
        "tasks_completed": 4,
        "leaf_fail": 0.0,
        "success": success,
        "replans": tuple(ReplanSaid(latency_s=latency, tged=distance) for latency, distance in replans),
        "detect_s": 1.0,
        "repair_s": 4.0,
        "recover_s": 10.0,
        "model_s": 0.0,
        "platform_s": 10.0,
        "model_seconds": 0.0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
    }
    return RunFigures(**values | changes)


def run(scenario: str = "db_conn_drift", seed: int = 1, planner: str = "rulebook", **changes: Any) -> RunResult:
    """Return a run that succeeded, but for what is changed."""
    values: dict[str, Any] = {
        "key": key(scenario, seed, planner),
        "family": "configuration",
        "faults": ("db_conn_drift on orders",),
        "noise": 0.0,
        "text": "orders is down",
        "started_at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        "wall_s": 20.0,
        "error": None,
        "incident": "inc-1",
        "verdict": "verified",
        "reason": "users are served",
        "ok": True,
        "figures": figures(),
        "located": True,
        "planned_by": "rulebook",
        "marks": (
            Mark(lane="world", label="injected: db_conn_drift on orders", at_s=0.5, ok=False),
            Mark(lane="agents", label="reconcile on orders: OK, changed", at_s=2.0, until_s=3.5),
        ),
        "clean_up": CLEAN,
    }
    return RunResult(**values | changes)


def failed(scenario: str = "db_conn_drift", seed: int = 1, planner: str = "rulebook", **changes: Any) -> RunResult:
    """Return a run that was measured and did not succeed."""
    values: dict[str, Any] = {"ok": False, "verdict": "unresolved", "figures": figures(success=False, recover_s=None)}
    return run(scenario, seed, planner, **values | changes)


def unmeasured(scenario: str = "db_conn_drift", seed: int = 1, planner: str = "rulebook") -> RunResult:
    """Return a run that could not be measured."""
    nothing: dict[str, Any] = {"ok": False, "figures": None, "located": None, "marks": (), "verdict": ""}
    return run(scenario, seed, planner, error="the incident was not closed in time", **nothing)


def about(**changes: Any) -> About:
    values: dict[str, Any] = {
        "set": "nightly",
        "scenarios": ("db_conn_drift",),
        "seeds": 2,
        "planners": ("rulebook",),
        "platform": "embedded",
        "planned": 2,
        "commit": "abc",
        "machine": "2 cores",
        "date": "2026-01-02",
        "command": "triage suite",
    }
    return About(**values | changes)
