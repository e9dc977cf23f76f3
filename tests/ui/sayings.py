"""What the roles say in every incident of the story: plans, orders, claims, results, checks."""

from __future__ import annotations

from datetime import UTC, datetime

from broker.contracts.base import Scalar
from broker.contracts.monitor import Verified
from broker.contracts.plan import (
    KIND_OF_AGENT,
    ClarifyingTask,
    Condition,
    DecisionTag,
    Hypothesis,
    Plan,
    PlanAccepted,
    PlanProposed,
    PlanTask,
)
from broker.contracts.task import Claim, Result, Task
from dashboard.api.core.entry import Entry
from tests.ui.journal import Story


def task(name: str, kind: str, target: str, *after: str, when: Condition | None = None, **args: Scalar) -> PlanTask:
    """Return a task of a plan."""
    agent = {"check_logs": "LogAgent", "check_metrics": "MetricAgent"}.get(kind, "ActionAgent")
    return PlanTask(
        task_id=name,
        type=kind,
        target=target,
        args=args,
        dependencies=after,
        assigned_to=agent,
        estimated_cost_ms=200,
        when=when,
    )


def plan_of(version: int, hypothesis: Hypothesis, *tasks: PlanTask, question: str = "") -> Plan:
    """Return a plan."""
    return Plan(
        plan_id=f"00000000-0000-4000-8000-{version:012d}",
        root_goal=f"{hypothesis.target} answers its users again",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        plan_version=version,
        hypothesis=hypothesis,
        tasks=tasks,
        clarifying_task=ClarifyingTask(task_id="q1", question=question) if question else None,
    )


def proposed(
    story: Story,
    incident: str,
    plan: Plan,
    *,
    attempt: int = 1,
    llm: bool = False,
    repairs: tuple[str, ...] = (),
    mended: bool = False,
) -> None:
    """Let the planner propose a plan."""
    tag: DecisionTag = "LLM_DECISION" if llm else "DETERMINISTIC"
    said = PlanProposed(
        incident=incident,
        version=plan.plan_version,
        attempt=attempt,
        plan=plan,
        origin="llm" if llm else "rulebook",
        decision_tag=tag,
        repairs=repairs,
        mended=mended,
    )
    story.say(said, "planner", tag=tag)


def accepted(story: Story, incident: str, plan: Plan, *, attempt: int = 1) -> None:
    """Let the scheduler commit to a plan whose tasks go one after another."""
    order = tuple((item.task_id,) for item in plan.tasks)
    said = PlanAccepted(
        incident=incident, version=plan.plan_version, attempt=attempt, plan_id=plan.plan_id, order=order
    )
    story.say(said, "scheduler")


def ordered(story: Story, incident: str, version: int, spec: PlanTask) -> Task:
    """Let the scheduler order a task of a plan."""
    order = Task(
        incident=incident,
        task_id=f"v{version}-{spec.task_id}",
        attempt=1,
        kind=KIND_OF_AGENT[spec.assigned_to],
        type=spec.type,
        target=spec.target,
        args={},
        plan_version=version,
        risk="risky" if spec.type in ("restart", "reconcile") else "read",
        timeout_s=30.0,
        timer_id="x",
    )
    story.say(order, "scheduler")
    return order


def claim(story: Story, order: Task, agent: str) -> Entry:
    """Let an agent take a task."""
    story.wait(2)
    taken = Claim(
        incident=order.incident,
        task_id=order.task_id,
        attempt=1,
        kind=order.kind,
        instance=agent,
        task_seq=1,
        delivery="$JS.ACK.x",
    )
    return story.say(taken, order.kind, agent)


def finish(story: Story, order: Task, agent: str, out: str, *, ok: bool = True, changed: bool = False) -> Entry:
    """Let an agent give a task's result."""
    story.wait(180)
    return story.say(
        Result(
            incident=order.incident,
            task_id=order.task_id,
            attempt=1,
            kind=order.kind,
            instance=agent,
            status="OK" if ok else "FAIL",
            out=out,
            evidence=("socket.gaierror: [Errno -2] Name or service not known", "orders 500 POST /orders"),
            changed=changed,
            elapsed_ms=178.0,
            error_code=None if ok else "gaierror",
        ),
        order.kind,
        agent,
    )


def done(story: Story, incident: str, plan: Plan, name: str, agent: str, out: str, *, ok: bool = True) -> None:
    """Let a task of a plan be ordered, taken and ended; one that acts and ends well has changed the world."""
    spec = next(item for item in plan.tasks if item.task_id == name)
    order = ordered(story, incident, plan.plan_version, spec)
    claim(story, order, agent)
    finish(story, order, agent, out, ok=ok, changed=ok and order.risk == "risky")


def checked(story: Story, incident: str, n: int, version: int, *, ok: bool) -> None:
    """Let the monitor check for a whole window."""
    story.wait(5_200)
    reasons = (
        ("users' requests were answered well for the whole window", "orders is healthy")
        if ok
        else ("orders still fails: gaierror",)
    )
    story.say(
        Verified(
            incident=incident,
            n=n,
            plan_version=version,
            ok=ok,
            reasons=reasons,
            window_s=5.0,
            samples=5,
            success_ratio=1.0 if ok else 0.43,
        ),
        "monitor",
    )
