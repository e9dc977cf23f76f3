"""Tasks, claims and results: the traffic between the scheduler and the agents."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from broker.contracts.base import MAX_OUT, CleanText, Contract, Scalar, Token
from broker.contracts.plan import AgentKind

Risk = Literal["read", "safe", "risky"]


class _Attempted(Contract):
    """Common head: attempt `a<n>` of a task. `task_id` is unique within the incident: `v<k>-<plan task>`."""

    incident: Token
    task_id: Token
    attempt: Annotated[int, Field(ge=1)]


class Task(_Attempted):
    """A signed order for one agent kind."""

    TYPE: ClassVar[str] = "task"
    kind: AgentKind
    type: str
    target: str
    args: dict[str, Scalar]
    plan_version: int
    risk: Risk
    timeout_s: Annotated[float, Field(gt=0)]
    timer_id: str
    """The time-out's timer; the result's publish cancels it."""

    def subject(self) -> str:
        return f"triage.task.{self.kind}.{self.incident}.{self.task_id}.a{self.attempt}"

    @property
    def effect_key(self) -> str:
        """Idempotency key of what this attempt does to the world, whoever carries it out."""
        return f"{self.incident}/{self.task_id}/a{self.attempt}"


class Claim(_Attempted):
    """An agent took a task. The journal sequence of the newest claim is the fencing token."""

    TYPE: ClassVar[str] = "claim"
    kind: AgentKind
    instance: Token
    task_seq: int
    """Journal sequence of the task."""
    delivery: str
    """The broker's reply subject of this delivery: who must be able to hand it on does so with it."""

    def subject(self) -> str:
        return f"triage.claim.{self.kind}.{self.incident}.{self.task_id}.a{self.attempt}"


class Result(_Attempted):
    """What an agent found or did (spec 5: status, out, meta)."""

    TYPE: ClassVar[str] = "result"
    kind: AgentKind
    instance: Token
    status: Literal["OK", "FAIL"]
    out: Annotated[CleanText, StringConstraints(max_length=MAX_OUT)]
    """One sentence a person can read."""
    meta: dict[str, Scalar] = Field(default_factory=dict)
    """Facts for conditions and scoring."""
    evidence: tuple[Annotated[str, StringConstraints(max_length=MAX_OUT)], ...] = ()
    """Log lines or samples the sentence stands on; untrusted."""
    error_code: Annotated[str, StringConstraints(max_length=80)] | None = None
    changed: bool = False
    """True if the world was changed by this attempt, whichever worker of it did so."""
    elapsed_ms: Annotated[float, Field(ge=0)] = 0.0

    def subject(self) -> str:
        return f"triage.result.{self.kind}.{self.incident}.{self.task_id}.a{self.attempt}"


class DeadLetter(_Attempted):
    """A task that no agent finished after all deliveries or attempts."""

    TYPE: ClassVar[str] = "dead"
    reason: str

    def subject(self) -> str:
        return f"triage.dead.{self.incident}.{self.task_id}.a{self.attempt}"
