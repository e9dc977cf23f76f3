"""What the scheduler is made with. It stands in every recording, so that the same machine can be made again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from broker.contracts.base import Frozen
from broker.contracts.inventory import Inventory

Seconds = Annotated[float, Field(gt=0, le=3_600)]


class SchedulerConfig(Frozen):
    """Limits of the scheduler's decisions; all times in seconds of broker time."""

    inventory: Inventory
    retries: Annotated[int, Field(ge=0, le=5)] = 2
    """Attempts of a task after the first (spec 6)."""
    backoff_base_s: Seconds = 1.0
    """Wait before the first retry; each further one waits twice as long."""
    planning_timeout_s: Seconds = 45.0
    """How long one planning attempt may take before the next is asked."""
    max_plan_versions: Annotated[int, Field(ge=1, le=16)] = 4
    """Plans committed to in one incident before it is given up: the first and three replans."""
    max_refusals: Annotated[int, Field(ge=1, le=8)] = 2
    """Refusals and time-outs of one version after which only the rulebook is asked (spec 12)."""
    verify_timeout_s: Seconds = 40.0
    """How long the monitor may take for its verdict: twice its own deadline."""
    anti_flap_s: Seconds = 5.0
    """The same plan difference from the same origin within this time is refused (spec 12)."""
    redelivery_slack_s: Seconds = 11.0
    """Added to a task's own time: what the broker needs to hand it to another worker twice, and a timer's lateness."""
    auto_approve: Literal["safe", "agreed", "risky"] = "risky"
    """Highest risk that goes ahead without a person. agreed: risky where rulebook and model both want it."""
    definite_errors: tuple[str, ...] = ("refused", "precondition", "unhealthy")
    """Error codes of a FAIL that a retry cannot change: a replan follows at once."""
    max_questions: Annotated[int, Field(ge=0, le=3)] = 0
    """Clarifying questions that an incident may ask. 0 here, since recordings from before questions hold no number;
    the roles' setting is higher."""
    question_timeout_s: Seconds = 120.0
    """How long the operator's answer is waited for."""
    approval_timeout_s: Annotated[float, Field(ge=0, le=3_600)] = 0.0
    """How long a task waits for a person (docs/adr/0018). 0: for ever, as in recordings from before."""
    remembers_failed: bool = False
    """True: a replan is told what was done and seen, and no plan that failed is taken again. False here for the same
    reason; the roles decide with True."""
    refuses_doubled: bool = False
    """True: a model's plan that does the same to the same device twice is refused. False here for the same reason."""
    knows_relapses: bool = False
    """True: a replan is told what was well after the repair, and the rulebook may repair it once more (docs/adr/0027).
    False here for the same reason."""
