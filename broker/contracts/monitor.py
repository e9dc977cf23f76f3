"""What the monitor says: deviations, verdicts of checks, agents that come and go."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from broker.contracts.base import Contract, Token, UnitInterval

DeviationKind = Literal["objective_missed", "service_down", "agent_lost", "task_failed", "verification_failed"]


class Deviation(Contract):
    """Something is not as it should be. `t_trigger_us` is when the monitor first saw it (spec 10)."""

    TYPE: ClassVar[str] = "deviation"
    incident: Token
    n: Annotated[int, Field(ge=1)]
    kind: DeviationKind
    device: str
    t_trigger_us: int
    """Broker time of the event that first showed it, microseconds since the epoch."""
    detail: str

    def subject(self) -> str:
        return f"triage.deviation.{self.incident}.{self.n}"


class Verified(Contract):
    """Verdict of the n-th check of an incident: symptoms gone and objective met for a whole window, or not."""

    TYPE: ClassVar[str] = "verified"
    incident: Token
    n: Annotated[int, Field(ge=1)]
    plan_version: int
    ok: bool
    reasons: tuple[str, ...]
    window_s: float
    samples: int
    success_ratio: UnitInterval | None

    def subject(self) -> str:
        return f"triage.verified.{self.incident}.{self.n}"


class AgentUp(Contract):
    """A worker connected to the broker."""

    TYPE: ClassVar[str] = "agent.up"
    instance: Token
    role: str
    connection: int
    """The broker's number of the connection: one instance may come and go."""

    def subject(self) -> str:
        return f"triage.agent.{self.instance}.up"


class AgentLost(Contract):
    """A worker's connection ended. Its open claims are handed on at once."""

    TYPE: ClassVar[str] = "agent.lost"
    instance: Token
    role: str
    connection: int
    reason: str
    handed_on: tuple[str, ...]
    """Subjects of the tasks that were given back to the queue in its name."""

    def subject(self) -> str:
        return f"triage.agent.{self.instance}.lost"
