"""What a scenario file holds: which faults, when, with which noise and seed, what people report, what must come out.

A field that may hold a list holds choices: the seed draws one. Times are seconds after the scenario's start. The JSON
schema in docs/scenario.json is made from here (`python -m deploy.schemas`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from broker.contracts.base import Frozen, Scalar, Token, UnitInterval
from broker.contracts.incident import IncidentText
from broker.contracts.plan import AgentKind, FaultClass
from injector.fault import Spec

Seconds = Annotated[float, Field(ge=0.0, le=3_600.0)]
Chosen = str | tuple[str, ...]
SetName = Literal["nightly", "full"]
Cue = Literal["claim", "task", "plan.requested", "plan.accepted", "result", "plan.executed"]
CUES_OF_A_KIND: tuple[Cue, ...] = ("claim", "task", "result")
"""Messages that belong to one agent kind."""


class FaultStep(Frozen):
    """Inject one fault, at a time or at a cue."""

    at_s: Seconds = 0.0
    """Seconds after the start."""
    when: Cue | None = None
    """In place of a time: when this is first seen in the journal, so that it breaks during a repair."""
    kind: AgentKind | None = None
    """Restricts the cues `claim`, `task` and `result` to one agent kind."""
    fault: str
    """See: triage faults."""
    target: Chosen
    """A workload, or `source--destination`."""
    args: dict[str, Scalar] = Field(default_factory=dict)

    @property
    def spec(self) -> Spec:
        """The fault as the injector takes it, once the target is drawn."""
        return Spec(self.fault, str(self.target), self.args)


class ReportStep(Frozen):
    """A person reports, in messy words. Without it the monitor has to notice by itself."""

    at_s: Seconds
    """Seconds after the start; the seed adds less than one, so that no two runs have the same rhythm."""
    text: IncidentText | tuple[IncidentText, ...]


class KillStep(Frozen):
    """Kill a process of the control plane when something is seen in the journal. The process manager brings it back, so
    that this is a restart, too."""

    when: Cue
    kind: AgentKind | None = None
    """Restricts `claim`, `task` and `result` to one agent kind."""
    victim: Literal["claimant", "planner", "scheduler", "monitor", "sensors", "auditor", "broker"]
    """`claimant`: the agent that has just claimed a task, so only with the cue `claim`."""
    signal: Literal["KILL", "STOP"] = "KILL"


class Cause(Frozen):
    """What a right diagnosis names."""

    target: Token
    fault_class: FaultClass


class Expectation(Frozen):
    """What must come out, or the run has failed."""

    verdict: Literal["verified", "no_fault"]
    max_actions: Annotated[int, Field(ge=0)]
    """Tasks that changed the world, over all incidents of the run."""
    causes: tuple[Cause, ...] = ()
    """Diagnoses that count as right; those of the faults themselves unless given."""
    within_s: Annotated[float, Field(gt=0, le=3_600)] | None = None
    """Bound of the time from the first injection to the proof, seconds."""


class Scenario(Frozen):
    """One scenario file."""

    name: Token
    summary: str
    sets: tuple[SetName, ...] = ("full",)
    """Sets that it belongs to; `full` holds everything else that comes with the project, too."""
    seed: Annotated[int, Field(ge=0)] = 42
    noise: UnitInterval = 0.0
    """Harmless trouble in the users' traffic: bursts, unknown products, customers whose names look like errors, like
    orders to a model, like control sequences. They stand in the shop's logs."""
    faults: tuple[FaultStep, ...] = ()
    report: ReportStep | None = None
    reports: tuple[ReportStep, ...] = ()
    """Further reports after the first, of the same trouble or of another."""
    kills: tuple[KillStep, ...] = ()
    expect: Expectation
    timeout_s: Annotated[float, Field(gt=0, le=3_600)] = 120.0
    """Bound of the whole run, seconds."""

    def is_in(self, name: SetName) -> bool:
        """Tell whether the scenario belongs to a set; `full` holds every one."""
        return name == "full" or name in self.sets


class Said(Frozen):
    """A report with its words and its time drawn."""

    at_s: float
    text: str


class Draw(Frozen):
    """A scenario with every choice made."""

    scenario: Scenario
    seed: int
    noise: float
    faults: tuple[FaultStep, ...]
    text: str | None
    report_at_s: float | None
    reports: tuple[Said, ...] = ()
    """Further reports, in the order of their times."""

    @property
    def specs(self) -> tuple[Spec, ...]:
        """Its faults as the injector takes them."""
        return tuple(step.spec for step in self.faults)
