"""What one run of a suite came to, as a file keeps it. Pure values; all spans in seconds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from broker.contracts.base import Frozen, Token, UnitInterval

RULEBOOK = "rulebook"
"""The planner that asks no model."""
Lane = Literal["world", "monitor", "planner", "model", "agents", "verdict"]
LANES: tuple[Lane, ...] = ("world", "monitor", "planner", "model", "agents", "verdict")
Seconds = Annotated[float, Field(ge=0.0)]


class Key(Frozen):
    """What makes a run this run and no other: asked for again, it is not run again."""

    scenario: Token
    seed: Annotated[int, Field(ge=0)]
    planner: str
    """`rulebook`, or the endpoint of a model without user and password."""
    commit: str
    platform: str
    digest: str
    """Of the scenario's content."""


class Mark(Frozen):
    """Something that happened, or lasted, in a run: a bar or a dot of its timeline."""

    lane: Lane
    label: str
    at_s: float
    """After the run's start. What the monitor saw may lie before it."""
    until_s: float | None = None
    ok: bool = True


class ClauseSaid(Frozen):
    """One clause of the oracle."""

    name: str
    ok: bool
    detail: str


class ReplanSaid(Frozen):
    """One replan: from its trigger to the commitment, and how much of the plan it changed."""

    latency_s: float
    tged: Seconds


class RunFigures(Frozen):
    """The figures of one run (harness/score.py)."""

    root_verified: bool
    """The control plane said so, and the oracle agrees."""
    tasks_total: int
    tasks_completed: int
    leaf_fail: UnitInterval
    success: bool
    """The spec's condition of one scenario for SR."""
    replans: tuple[ReplanSaid, ...]
    detect_s: float | None
    repair_s: float | None
    recover_s: float | None
    model_s: float | None
    platform_s: float | None
    model_seconds: Seconds
    prompt_tokens: int
    completion_tokens: int


class CleanUp(Frozen):
    """How the world was put back after a run, and whether that was seen to be so."""

    healed: tuple[str, ...] = ()
    """Faults that were still open, programs that still hung."""
    left: tuple[str, ...] = ()
    """What was not as before when patience ended: then the stack was brought up anew."""
    restarted: bool = False
    proved: bool
    """No fault and no incident is open, every program is healthy, users are served, the fingerprint is as before."""
    seconds: Seconds


class RunResult(Frozen):
    """One run, whatever came of it."""

    version: Literal[1] = 1
    key: Key
    family: str
    faults: tuple[str, ...]
    """`fault on target` of everything that was injected."""
    noise: UnitInterval
    text: str | None
    """What a person reported. Untrusted."""
    started_at: AwareDatetime
    wall_s: Seconds
    """The whole of it, clean-up included."""
    error: str | None
    """Why nothing could be measured; such a run counts as failed everywhere."""
    incident: str = ""
    verdict: str = ""
    reason: str = ""
    ok: bool = False
    """The oracle's judgement, all clauses."""
    clauses: tuple[ClauseSaid, ...] = ()
    figures: RunFigures | None = None
    located: bool | None = None
    """Whether the last accepted hypothesis names device and class of a fault; None without a fault."""
    hypothesis: str = ""
    planned_by: Literal["rulebook", "llm", "nobody"] = "nobody"
    """Who made the last accepted plan: with a model, `rulebook` is a fallback."""
    models: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    """One sentence for every task that changed the world."""
    false_actions: tuple[str, ...] = ()
    """`action on device` of those on a device that was not broken."""
    collateral: tuple[str, ...] = ()
    """What is not as it was, apart from what the repair needed."""
    refused: int = 0
    """Envelopes that the gate refused."""
    marks: tuple[Mark, ...] = ()
    notes: tuple[str, ...] = ()
    clean_up: CleanUp

    @property
    def has_fault(self) -> bool:
        """Tell whether anything was to be broken."""
        return bool(self.faults)
