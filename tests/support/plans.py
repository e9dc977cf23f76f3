"""Plans for tests, in few words."""

from __future__ import annotations

from datetime import UTC, datetime

from broker.contracts.base import Scalar
from broker.contracts.plan import Hypothesis, Plan, PlanTask


def task(name: str, *dependencies: str, type_: str = "check_logs", target: str = "orders", **args: Scalar) -> PlanTask:
    """Return a task; `dependencies` are names of earlier ones."""
    return PlanTask(
        task_id=name, type=type_, target=target, args=args, dependencies=dependencies, assigned_to="LogAgent"
    )


def plan(*tasks: PlanTask, version: int = 1, number: int = 1) -> Plan:
    """Return a plan of these tasks."""
    return Plan(
        plan_id=f"00000000-0000-0000-0000-{number:012x}",
        root_goal="orders works again",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        plan_version=version,
        hypothesis=Hypothesis(target="orders", fault_class="config_drift", confidence=0.9),
        tasks=tasks,
    )
