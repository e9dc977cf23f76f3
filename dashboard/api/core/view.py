"""The folded state: what stands now, after all that was said. Every field follows from the journal (`fold.py`)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

TaskState = Literal["waiting", "approval", "dispatched", "running", "done", "failed"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TaskView(_Value):
    """One task of an accepted plan."""

    task_id: str
    """As in the journal: `v<version>-<id in the plan>`."""
    type: str
    target: str
    dependencies: tuple[str, ...]
    """Ids of the same form."""
    state: TaskState = "waiting"
    attempt: int = 0
    agent: str = ""
    dispatched_us: int | None = None
    ended_us: int | None = None


class PlanView(_Value):
    """One version of an incident's plan: its newest attempt."""

    version: int
    attempt: int
    state: Literal["requested", "prompted", "answered", "proposed", "accepted", "rejected", "executed"]
    plan_id: str = ""
    origin: str = ""
    target: str = ""
    fault_class: str = ""
    confidence: float | None = None
    requested_us: int = 0
    decided_us: int | None = None
    tasks: tuple[TaskView, ...] = ()


class QuestionView(_Value):
    """A clarifying question that waits for an answer until `until_us`."""

    n: int
    question: str
    until_us: int


class ApprovalView(_Value):
    """A task that waits, or waited, for a person's word."""

    task_id: str
    binding: str
    action: str
    target: str
    why: str
    asked_us: int
    seq: int
    version: int
    state: Literal["open", "granted", "denied", "expired"] = "open"
    """`expired`: the incident was closed, or planned anew, before anybody answered."""


class IncidentView(_Value):
    """One incident from its report to its verdict."""

    incident: str
    text: str
    source: str
    reported_us: int
    seq: int
    phase: Literal["open", "closed"] = "open"
    verdict: str | None = None
    reason: str | None = None
    merged_into: str | None = None
    closed_us: int | None = None
    plans: tuple[PlanView, ...] = ()
    question: QuestionView | None = None
    approvals: tuple[ApprovalView, ...] = ()
    checks: int = 0
    dead_letters: int = 0


class AgentView(_Value):
    """A worker as the monitor saw it."""

    instance: str
    role: str
    connected: bool
    since_us: int
    works_on: tuple[str, ...] = ()
    """Subjects of the claims that it has not ended."""


class DeviceView(_Value):
    """A device by its newest telemetry."""

    name: str
    status: str
    error_code: str | None
    since_us: int
    """When it came into this status."""


class HaltView(_Value):
    """The kill switch is pressed."""

    reason: str
    since_us: int
    seq: int
    stop_ms: float = 0.0
    """How long after the halt an agent last said a result: what was at work then came to its end."""


class Meters(_Value):
    """The newest measurements; None until there was one."""

    reassign_ms: float | None = None
    """An agent's loss to the next claim of a task that was handed on."""
    plan_ms: float | None = None
    """A plan's request to its acceptance."""
    repair_s: float | None = None
    """An incident's report to its verdict `verified`."""
    stop_ms: float | None = None
    """`HaltView.stop_ms` of the newest halt."""


class View(_Value):
    """Everything."""

    head: int = 0
    time_us: int = 0
    halt: HaltView | None = None
    incidents: dict[str, IncidentView] = {}
    agents: dict[str, AgentView] = {}
    devices: dict[str, DeviceView] = {}
    handed_on: dict[str, int] = {}
    """Subjects of tasks that lost their agent, and when; gone with the next claim."""
    meters: Meters = Meters()
