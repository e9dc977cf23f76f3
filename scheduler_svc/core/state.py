"""The scheduler's state: at most one open incident, and what was closed lately.

Phases of the open incident (docs/state-machines/scheduler.md has the full tables):

```
            reported                accepted               all tasks ended
   (none) ───────────▶ planning ───────────────▶ executing ───────────────▶ verifying ──▶ closed
                        ▲  │ no plan: closed         │ failed for good          │ not ok
                        │  └───────────────▶         │                          │
                        └────────────────────────────┴──────────────────────────┘  next version, or closed
```

States of a task of the committed plan:

```
   waiting ──▶ running ──▶ ok                 waiting ──▶ skipped      its `when` is false
                                              running ──▶ skipped      advice that did not come: done without
      ▲  │        │ ├────▶ failed             approval ─▶ failed       denied, or nobody decided in time
      │  ▼        ▼ │                         waiting, approval, backoff ──▶ dropped   another task failed for good
   approval    backoff ──▶ waiting
```

Everything is bounded: eight tasks, `MAX_FAILURES` sentences, texts clipped, `MAX_CLOSED` closed incidents remembered.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from broker.contracts.base import Frozen, Scalar
from broker.contracts.incident import IncidentVerdict
from broker.contracts.plan import DecisionTag, Exchange, Hypothesis, PlanProposed, PlanTask, Reason, Tried

Phase = Literal["planning", "executing", "verifying"]
Status = Literal["waiting", "approval", "running", "backoff", "ok", "skipped", "failed", "dropped"]

ENDED: frozenset[Status] = frozenset({"ok", "skipped", "failed", "dropped"})
SATISFIED: frozenset[Status] = frozenset({"ok", "skipped"})
"""A dependency in one of these lets its dependents go: a task whose condition is false was rightly not run."""

MAX_CLOSED = 50
MAX_FAILURES = 12
MAX_DEVIATIONS = 8
MAX_FLAPS = 16
MAX_SENTENCE = 300
"""Characters of one sentence kept for a replan."""


def clip(text: str, limit: int = MAX_SENTENCE) -> str:
    """Return the text, cut to `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


class TaskState(Frozen):
    """One task of the committed plan."""

    plan_task: PlanTask
    task_id: str
    """Its name in the journal: `v<version>-<plan task>`."""
    status: Status = "waiting"
    attempt: int = 0
    """The newest attempt dispatched; 0 before the first."""
    armed: int = 0
    """Timers set for it so far; numbers the next one."""
    timer_id: str = ""
    """The timer it waits on, if any."""
    order_timer_id: str = ""
    """The time-out timer that the newest order names: the publish of its result takes that one back."""
    approved: bool = False
    meta: dict[str, Scalar] = Field(default_factory=dict)
    """Of the OK result: the fields that conditions may ask for."""
    changed: bool = False
    """True once any attempt of it changed the world."""


class Commitment(Frozen):
    """The plan that was accepted last."""

    plan_id: str
    tag: DecisionTag
    hypothesis: Hypothesis
    tasks: tuple[TaskState, ...]
    """In an order in which every task stands after its dependencies."""
    agreed: bool = False
    """Rulebook and model, each for itself, want every action of it."""
    mended: str = ""
    """What code had to mend in what it means, in one sentence; empty if nothing."""

    def of(self, plan_task_id: str) -> TaskState | None:
        """Return the task by its name in the plan, or None."""
        return next((task for task in self.tasks if task.plan_task.task_id == plan_task_id), None)

    def with_task(self, changed: TaskState) -> Commitment:
        """Return the same with one task replaced, found by its name in the journal."""
        tasks = tuple(changed if task.task_id == changed.task_id else task for task in self.tasks)
        return self.model_copy(update={"tasks": tasks})

    def has(self, *statuses: Status) -> bool:
        """Tell whether any task is in one of these."""
        return any(task.status in statuses for task in self.tasks)


class Flap(Frozen):
    """A plan difference that was judged: whose, and when (broker time, microseconds)."""

    fingerprint: str
    origin: Literal["rulebook", "llm"]
    time_us: int


class Ignored(Frozen):
    """Messages that fitted nothing, by kind: they change no decision, and they are not lost without a trace."""

    proposals: int = 0
    results: int = 0
    approvals: int = 0
    answers: int = 0


class Incident(Frozen):
    """The open incident."""

    incident: str
    text: str
    phase: Phase = "planning"
    timer_id: str = ""
    """The timer of the phase: planning, the wait after flapping or for an answer, or verification."""
    version: int = 0
    """Plans committed to. Grows at each commit and never otherwise (spec 6)."""
    asked: tuple[int, ...] = ()
    """Planning attempts asked, per version; the last entry is the version being planned or carried out."""
    refusals: int = 0
    """Refusals and time-outs of the version being planned."""
    rulebook_only: bool = False
    """What the newest request said."""
    dialogue: tuple[Exchange, ...] = ()
    """Clarifying questions of this incident, oldest first."""
    open_question: int = 0
    """Number of the question that waits for its answer; 0: none does."""
    unanswered: bool = False
    """Nobody answered the last question in time: the version being planned is the rulebook's."""
    rejected: tuple[Reason, ...] = ()
    """Why the newest attempt brought no plan."""
    judged: tuple[tuple[int, int], ...] = ()
    """(version, attempt) of every proposal that was accepted or rejected."""
    held: tuple[PlanProposed, ...] = ()
    """Proposals that came while halted."""
    commitment: Commitment | None = None
    tried: tuple[Tried, ...] = ()
    failures: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()
    flaps: tuple[Flap, ...] = ()
    failed: tuple[str, ...] = ()
    """Marks of the plans that failed (`repeat.py`)."""
    unapproved: tuple[str, ...] = ()
    """Tasks that nobody approved or denied in time, over all versions; at most one of each."""
    actions: int = 0
    """Tasks that changed the world and ended OK, over all plans that have ended."""
    ignored: Ignored = Ignored()


class Closed(Frozen):
    """An incident that is over. It never opens again."""

    incident: str
    verdict: IncidentVerdict


class SchedulerState(Frozen):
    """All the scheduler knows."""

    halted: bool = False
    active: Incident | None = None
    closed: tuple[Closed, ...] = ()
    """The last `MAX_CLOSED`, oldest first."""
