"""The figures of a run, from the journal alone: SR, MRL and TGED as the spec defines them, MTTD and MTTR beside them.

Section numbers are those of `spec/agentic-multi-node-simulation.md`. All times are broker times, in seconds here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from broker.contracts.base import Contract
from broker.contracts.incident import IncidentClosed, IncidentReported
from broker.contracts.machine import Event
from broker.contracts.monitor import Deviation, Verified
from broker.contracts.plan import (
    Plan,
    PlanAccepted,
    PlanAnswered,
    PlanExecuted,
    PlanPrompted,
    PlanProposed,
    PlanRequested,
)
from broker.contracts.task import Result, Task
from harness.tged import tged

COMPLETED_SHARE = 0.8
LEAF_FAIL_SHARE = 0.2
US = 1_000_000


@dataclass(frozen=True, slots=True)
class Replan:
    """One replan: when its trigger was seen, when the new plan was committed, how much it changed."""

    t_trigger: float
    t_replan_complete: float
    tged: float


@dataclass(frozen=True, slots=True)
class Score:
    """The figures of one scenario. `None`: not applicable (nothing was injected, or it never came to that)."""

    root_verified: bool
    tasks_total: int
    """Tasks of the last plan that were to run (a task whose condition was false is not one of them)."""
    tasks_completed: int
    leaf_fail_pct: float
    success: bool
    """The spec's condition of one scenario for SR."""
    replans: tuple[Replan, ...]
    mrl_s: float | None
    actions: int
    time_to_detect_s: float | None
    time_to_plan_s: float | None
    time_to_repair_s: float | None
    time_to_verify_s: float | None
    time_to_recover_s: float | None
    """Injected to verified: what MTTR is the mean of."""
    control_plane_s: float | None
    """The control plane's own share of report to closed: hops in which nobody looked, acted or waited."""
    planning_s: float | None
    """Plan requested to proposed, all attempts: the model's or the rulebook's time, waiting for telemetry included."""
    model_s: float | None = None
    """The part of `time_to_recover_s` in which a model was asked (prompted to answered, by the broker's clock)."""
    platform_s: float | None = None
    """All the rest of it: seeing, deciding, acting, watching. The two add up to `time_to_recover_s`."""
    model_seconds: float = 0.0
    """What the endpoint took for all its answers, by the worker's clock, also those after the verification."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


def success_rate(scores: Sequence[Score]) -> float | None:
    """SR (spec 10): share of scenarios verified, with >= 0.8 of the tasks completed and <= 0.2 of the leaves failed."""
    return sum(score.success for score in scores) / len(scores) if scores else None


def is_success(*, verified: bool, completed: int, total: int, leaf_fail: float) -> bool:
    """Return the condition of one scenario for SR (spec 10): verified, completed/total >= 0.8, leaf_fail_pct <= 0.2."""
    return verified and completed >= COMPLETED_SHARE * total and leaf_fail <= LEAF_FAIL_SHARE


def mean_replan_latency(replans: Iterable[Replan]) -> float | None:
    """MRL (spec 10): `sum((t_replan_complete - t_trigger) * TGED) / sum(TGED)`, seconds; None without a replan."""
    rows = tuple(replans)
    weight = sum(replan.tged for replan in rows)
    if not weight:
        return None
    return sum((replan.t_replan_complete - replan.t_trigger) * replan.tged for replan in rows) / weight


def false_actions(incident: str, events: Iterable[Event], devices: Collection[str]) -> tuple[str, ...]:
    """Return every action that changed a device nobody had broken, as `type on target`, in the journal's order.

    Args:
        devices: what a right repair may act on: the devices that the injected faults name; none without a fault. An
            action counts when the world was changed, whether or not it was any use.
    """
    orders: dict[tuple[str, int], Task] = {}
    found = []
    for message in (event.payload for event in events):
        if isinstance(message, Task) and message.incident == incident:
            orders[message.task_id, message.attempt] = message
        elif isinstance(message, Result) and message.incident == incident and message.changed:
            order = orders.get((message.task_id, message.attempt))
            if order is None or order.target not in devices:
                found.append(f"{order.type} on {order.target}" if order else f"{message.task_id} on an unknown target")
    return tuple(found)


@dataclass
class _Story:
    """What the journal says of one incident, collected in one pass."""

    incident: str
    reported: float | None = None
    closed: float | None = None
    first_trigger: float | None = None
    verified_at: float | None = None
    ok: bool = False
    actions: int = 0
    requested: dict[tuple[int, int], float] = field(default_factory=dict)
    proposed: dict[tuple[int, int], float] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    accepted: list[tuple[float, Plan]] = field(default_factory=list)
    triggers: list[float] = field(default_factory=list)
    results: dict[str, tuple[float, Result]] = field(default_factory=dict)
    executed: list[tuple[float, PlanExecuted]] = field(default_factory=list)
    last_change: float | None = None
    steps: list[tuple[float, str]] = field(default_factory=list)
    prompted: dict[tuple[int, int], float] = field(default_factory=dict)
    asked: list[tuple[float, float]] = field(default_factory=list)
    """When a model was being asked: prompted, answered."""
    answers: list[PlanAnswered] = field(default_factory=list)


def score(incident: str, events: Iterable[Event], *, injected_at: float | None) -> Score:
    """Return the figures of one incident.

    Args:
        events: the journal's trusted messages in order; those of other incidents are ignored.
        injected_at: when the first fault was in the world, broker time in seconds; None if none was.
    """
    story = _Story(incident)
    for event in events:
        if getattr(event.payload, "incident", None) == incident:
            _collect(story, event)
    return _figures(story, injected_at)


def _collect(story: _Story, event: Event) -> None:
    at, message = event.time_us / US, event.payload
    if isinstance(message, IncidentReported):
        story.reported = at
    elif isinstance(message, IncidentClosed):
        story.closed, story.actions = at, message.actions
        story.ok = message.verdict in ("verified", "no_fault")
    elif isinstance(message, Deviation):
        story.triggers.append(message.t_trigger_us / US)
    elif isinstance(message, PlanRequested):
        story.requested[message.version, message.attempt] = at
    elif isinstance(message, PlanProposed):
        story.proposed[message.version, message.attempt] = at
        story.plans[message.plan.plan_id] = message.plan
    elif isinstance(message, PlanAccepted):
        story.accepted.append((at, story.plans[message.plan_id]))
    elif isinstance(message, PlanExecuted):
        story.executed.append((at, message))
    elif isinstance(message, Verified):
        story.verified_at = at if message.ok else story.verified_at
    _collect_model(story, at, message)
    _collect_work(story, at, message)


def _collect_model(story: _Story, at: float, message: Contract) -> None:
    if isinstance(message, PlanPrompted):
        story.prompted[message.version, message.attempt] = at
    elif isinstance(message, PlanAnswered):
        story.asked.append((story.prompted.get((message.version, message.attempt), at), at))
        story.answers.append(message)


def _collect_work(story: _Story, at: float, message: Contract) -> None:
    if isinstance(message, Result):
        story.results[message.task_id] = (at, message)
        if message.status == "OK" and message.changed:
            story.last_change = at
    story.steps.append((at, message.TYPE))


def _figures(story: _Story, injected_at: float | None) -> Score:
    replans = _replans(story)
    total, completed, leaf_fail = _completion(story)
    success = is_success(verified=story.ok, completed=completed, total=total, leaf_fail=leaf_fail)
    first_plan = story.accepted[0][0] if story.accepted else None
    executed = story.executed[-1][0] if story.executed else None
    recover = _span(injected_at, story.verified_at)
    model = _asked_within(story, injected_at, story.verified_at)
    return Score(
        root_verified=story.ok,
        tasks_total=total,
        tasks_completed=completed,
        leaf_fail_pct=leaf_fail,
        success=success,
        replans=replans,
        mrl_s=mean_replan_latency(replans),
        actions=story.actions,
        time_to_detect_s=_span(injected_at, min(story.triggers, default=None)),
        time_to_plan_s=_span(story.reported, first_plan),
        time_to_repair_s=_span(injected_at, story.last_change),
        time_to_verify_s=_span(executed, story.verified_at),
        time_to_recover_s=recover,
        control_plane_s=_own_time(story),
        planning_s=sum((story.proposed[key] - at for key, at in story.requested.items() if key in story.proposed), 0.0)
        if story.requested
        else None,
        model_s=model,
        platform_s=None if recover is None or model is None else recover - model,
        model_seconds=sum(answer.elapsed_ms for answer in story.answers) / 1_000,
        prompt_tokens=sum(answer.prompt_tokens for answer in story.answers),
        completion_tokens=sum(answer.completion_tokens for answer in story.answers),
    )


def _asked_within(story: _Story, start: float | None, end: float | None) -> float | None:
    """Return how long a model was being asked between two moments; attempts never overlap."""
    if start is None or end is None:
        return None
    return sum((max(0.0, min(answered, end) - max(prompted, start)) for prompted, answered in story.asked), 0.0)


def _span(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def _replans(story: _Story) -> tuple[Replan, ...]:
    """Pair every committed replan with the newest deviation before it."""
    found = []
    for (_, before), (at, plan) in pairwise(story.accepted):
        trigger = max((t for t in story.triggers if t <= at), default=at)
        found.append(Replan(trigger, at, tged(before, plan)))
    return tuple(found)


def _completion(story: _Story) -> tuple[int, int, float]:
    """Return (tasks that were to run, tasks completed, share of failed leaves) of the last accepted plan.

    Taken from the results, since a plan that was given up is never said to be executed; only which tasks were skipped
    stands in that message.
    """
    if not story.accepted:
        return 0, 0, 1.0
    plan = story.accepted[-1][1]
    skipped = _skipped(story, plan.plan_version)
    to_run = [task.task_id for task in plan.tasks if task.task_id not in skipped]
    ended = {name: story.results.get(f"v{plan.plan_version}-{name}") for name in to_run}
    completed = sum(result is not None and result[1].status == "OK" for result in ended.values())
    inner = {name for task in plan.tasks for name in task.dependencies}
    leaves = [ended[name] for name in to_run if name not in inner]
    failed = sum(result is not None and result[1].status == "FAIL" for result in leaves)
    return len(to_run), completed, failed / len(leaves) if leaves else 0.0


def _skipped(story: _Story, version: int) -> frozenset[str]:
    """Return the plan's own names of its skipped tasks; in the journal they carry the prefix `v<k>-`."""
    prefix = f"v{version}-"
    return frozenset(
        name.removeprefix(prefix) for _, ended in story.executed if ended.version == version for name in ended.skipped
    )


OWN_HOPS = {
    ("incident.reported", "plan.requested"),
    ("plan.proposed", "plan.accepted"),
    ("plan.proposed", "plan.rejected"),
    ("plan.rejected", "plan.requested"),
    ("plan.accepted", "task"),
    ("task", "claim"),
    ("result", "task"),
    ("result", "plan.executed"),
    ("verified", "incident.closed"),
    ("verified", "plan.requested"),
}
"""Pairs of neighbouring messages of an incident between which only the control plane was at work."""


def _own_time(story: _Story) -> float | None:
    if story.reported is None or story.closed is None:
        return None
    wanted = {step for pair in OWN_HOPS for step in pair}
    steps = [step for step in story.steps if step[1] in wanted]
    hops = ((after - at, (kind, following)) for (at, kind), (after, following) in pairwise(steps))
    return sum((span for span, pair in hops if pair in OWN_HOPS), 0.0)
