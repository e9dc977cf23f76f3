"""One incident as a person follows it: report, plan, tasks, verdict. A pure projection of journal events.

It is made to be shown, so no text in it drives a terminal (`harness/terminal.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from broker.contracts.control import ApprovalDenied, ApprovalExpired, ApprovalGranted, ApprovalRequested
from broker.contracts.incident import IncidentAnswered, IncidentAsked, IncidentClosed, IncidentReported
from broker.contracts.machine import Event
from broker.contracts.monitor import AgentLost, Deviation, Verified
from broker.contracts.plan import (
    Plan,
    PlanAccepted,
    PlanAnswered,
    PlanExecuted,
    PlanProposed,
    PlanRejected,
    PlanRequested,
)
from broker.contracts.task import Claim, Result, Task
from harness.terminal import visible_throughout

TaskState = Literal["waiting", "dispatched", "running", "done", "failed", "skipped"]
US = 1_000_000


@dataclass
class TaskView:
    """One task of the accepted plan."""

    task_id: str
    type: str
    target: str
    args: dict[str, str | int | float | bool]
    dependencies: tuple[str, ...]
    depth: int
    state: TaskState = "waiting"
    agent: str = ""
    attempt: int = 0
    dispatched_at: float | None = None
    ended_at: float | None = None
    sentence: str = ""
    changed: bool = False

    @property
    def seconds(self) -> float | None:
        """Dispatch to result, seconds."""
        if self.dispatched_at is None or self.ended_at is None:
            return None
        return self.ended_at - self.dispatched_at


@dataclass
class Story:
    """Everything a view shows of one incident. Fed by `see`, event by event."""

    incident: str
    text: str = ""
    reported_at: float | None = None
    deviations: list[Deviation] = field(default_factory=list)
    planning: str = ""
    """What planning is doing right now, or how it ended, in one line."""
    plan: Plan | None = None
    origin: str = ""
    tag: str = ""
    version: int = 0
    order: tuple[tuple[str, ...], ...] = ()
    tasks: dict[str, TaskView] = field(default_factory=dict)
    question: IncidentAsked | None = None
    """The clarifying question that waits for the operator."""
    approvals: dict[str, ApprovalRequested] = field(default_factory=dict)
    """Tasks that wait for a person's word, by their names in the journal."""
    notes: list[str] = field(default_factory=list)
    verified: list[Verified] = field(default_factory=list)
    closed: IncidentClosed | None = None
    closed_at: float | None = None
    actions: list[str] = field(default_factory=list)
    """One sentence for every task that changed the world, in order."""
    _plans: dict[str, PlanProposed] = field(default_factory=dict)

    def see(self, event: Event) -> bool:
        """Take one event of the journal; tell whether the view changed."""
        message, at = event.payload, event.time_us / US
        if isinstance(message, AgentLost) and message.handed_on:
            lost = visible_throughout(message)
            self.notes.append(f"{lost.instance} was lost ({lost.reason}); its work was handed on")
            return True
        if getattr(message, "incident", None) != self.incident:
            return False
        event = event._replace(payload=visible_throughout(message))
        self._see_incident(event, at)
        self._see_plan(event)
        self._see_approval(event)
        self._see_task(event, at)
        return True

    def _see_incident(self, event: Event, at: float) -> None:
        message = event.payload
        if isinstance(message, IncidentReported):
            self.text, self.reported_at = message.text, at
        elif isinstance(message, Deviation):
            self.deviations.append(message)
        elif isinstance(message, Verified):
            self.verified.append(message)
        elif isinstance(message, IncidentAsked):
            self.question, self.planning = message, "waiting for the operator's answer"
        elif isinstance(message, IncidentAnswered) and self.question is not None and message.n == self.question.n:
            self.notes += [f"asked: {self.question.question}", f"answered: {message.text}"]
            self.question = None
        elif isinstance(message, IncidentClosed):
            self.closed, self.closed_at, self.question = message, at, None
            self.approvals.clear()

    def _see_plan(self, event: Event) -> None:
        message = event.payload
        if isinstance(message, PlanRequested):
            if self.question is not None:
                self.notes.append(f"asked, and not answered in time: {self.question.question}")
                self.question = None
            self.approvals.clear()
            who = "the rulebook" if message.rulebook_only else "the planner"
            self.planning = f"version {message.version}, attempt {message.attempt}: {who} is asked"
        elif isinstance(message, PlanAnswered):
            self.planning = f"the model answered: {message.outcome}" + (f" ({message.error})" if message.error else "")
        elif isinstance(message, PlanProposed):
            self._plans[message.plan.plan_id] = message
        elif isinstance(message, PlanRejected):
            self.notes.append("plan refused: " + "; ".join(reason.detail for reason in message.reasons))
        elif isinstance(message, PlanAccepted) and message.plan_id in self._plans:
            self._accept(message, self._plans[message.plan_id])

    def _accept(self, accepted: PlanAccepted, proposed: PlanProposed) -> None:
        self.plan, self.origin, self.tag = proposed.plan, proposed.origin, proposed.decision_tag
        self.question = None
        if proposed.mended:
            self.notes.append("the plan was mended by code: whatever acts waits for `triage approve`")
        self.version, self.order = accepted.version, accepted.order
        self.planning = f"version {accepted.version} accepted, made by the {proposed.origin} ({proposed.decision_tag})"
        depth = {name: level for level, names in enumerate(accepted.order) for name in names}
        self.tasks = {
            task.task_id: TaskView(
                task.task_id, task.type, task.target, dict(task.args), task.dependencies, depth.get(task.task_id, 0)
            )
            for task in proposed.plan.tasks
        }

    def _see_approval(self, event: Event) -> None:
        message = event.payload
        if isinstance(message, ApprovalRequested):
            self.approvals[message.task_id] = message
            return
        if not isinstance(message, ApprovalGranted | ApprovalDenied | ApprovalExpired):
            return
        asked = self.approvals.pop(message.task_id, None)
        what = f"{message.task_id} ({asked.action} of {asked.target})" if asked else message.task_id
        if isinstance(message, ApprovalExpired):
            self.notes.append(f"nobody decided on {what} within {message.wait_s:g} s: not approved")
        elif isinstance(message, ApprovalDenied):
            self.notes.append(f"{what} was denied: {message.reason}")
        else:
            self.notes.append(f"{what} was approved")

    def _see_task(self, event: Event, at: float) -> None:
        message = event.payload
        if isinstance(message, PlanExecuted):
            for name in message.skipped:
                self._set(name, "skipped")
            return
        if not isinstance(message, Task | Claim | Result):
            return
        view = self._view(message.task_id)
        if view is None:
            return
        if isinstance(message, Task):
            view.state, view.attempt = "dispatched", message.attempt
            view.dispatched_at = view.dispatched_at or at
        elif isinstance(message, Claim):
            if view.state == "running" and view.agent != message.instance:
                self.notes.append(f"{view.task_id} was taken over by {message.instance} from {view.agent}")
            view.state, view.agent = "running", message.instance
        else:
            self._end(view, message, at)

    def _end(self, view: TaskView, result: Result, at: float) -> None:
        view.state = "done" if result.status == "OK" else "failed"
        view.agent, view.sentence, view.ended_at, view.changed = result.instance, result.out, at, result.changed
        if result.changed and result.status == "OK":
            self.actions.append(result.out)

    def _view(self, task_id: str) -> TaskView | None:
        version, _, name = task_id.partition("-")
        return self.tasks.get(name) if version == f"v{self.version}" else None

    def _set(self, task_id: str, state: TaskState) -> None:
        view = self._view(task_id) or self.tasks.get(task_id)
        if view is not None:
            view.state = state
