"""Plans: a bounded DAG of typed tasks, its hypothesis, and the life of a planning attempt."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from broker.contracts.base import Contract, Frozen, Scalar, Token, UnitInterval

MAX_TASKS = 8
"""Spec 4: at most eight tasks in a plan."""

DecisionTag = Literal["LLM_DECISION", "DETERMINISTIC"]
AgentName = Literal["LogAgent", "MetricAgent", "ActionAgent"]
AgentKind = Literal["log", "metric", "action"]
KIND_OF_AGENT: dict[str, AgentKind] = {"LogAgent": "log", "MetricAgent": "metric", "ActionAgent": "action"}

FaultClass = Literal[
    "config_drift",
    "bad_credentials",
    "process_down",
    "process_hung",
    "cache_poison",
    "network_partition",
    "network_latency",
    "network_loss",
    "cpu_saturation",
    "resource_limit",
    "disk_full",
    "none",
]
"""The closed list a hypothesis chooses from. `none`: nothing is broken."""


class Condition(Frozen):
    """Run a task only if an earlier task's result says so: `meta[field]` of `task_id` equals `equals`."""

    task_id: Token
    field: Token
    equals: Scalar


class Hypothesis(Frozen):
    """What the planner believes is broken, so that localisation can be scored."""

    target: Token
    fault_class: FaultClass
    confidence: UnitInterval
    evidence: tuple[str, ...] = ()


class PlanTask(Frozen):
    """One node of the DAG (spec 3). What it may be is bounded by the catalogue, not by this shape."""

    task_id: Token
    type: str
    target: str
    args: dict[str, Scalar] = Field(default_factory=dict)
    dependencies: tuple[str, ...] = ()
    assigned_to: str
    estimated_cost_ms: Annotated[int, Field(ge=0)] = 0
    when: Condition | None = None


class Plan(Frozen):
    """A plan as proposed. The scheduler validates it; nothing here is trusted before that."""

    plan_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    root_goal: Annotated[str, StringConstraints(max_length=500)]
    created_at: AwareDatetime
    plan_version: Annotated[int, Field(ge=1)]
    hypothesis: Hypothesis
    tasks: tuple[PlanTask, ...]


class Reason(Frozen):
    """Why a plan was refused: a stable code and a sentence with the facts."""

    code: Token
    detail: str


class Tried(Frozen):
    """A hypothesis that was acted on before and did not hold, with what happened."""

    hypothesis: Hypothesis
    outcome: str


class _Attempt(Contract):
    """Common head: one planning attempt `a<n>` of version `v<k>` of an incident's plan."""

    incident: Token
    version: Annotated[int, Field(ge=1)]
    attempt: Annotated[int, Field(ge=1)]
    _STEP: ClassVar[str] = ""

    def subject(self) -> str:
        return f"triage.plan.{self.incident}.v{self.version}.a{self.attempt}.{self._STEP}"


class PlanRequested(_Attempt):
    """The scheduler asks for a plan, with everything a replan has to know."""

    TYPE: ClassVar[str] = "plan.requested"
    _STEP: ClassVar[str] = "requested"
    text: str
    tried: tuple[Tried, ...] = ()
    failures: tuple[str, ...] = ()
    """Failure context, one sentence each: failed tasks, failed verifications."""
    rejected: tuple[Reason, ...] = ()
    """Reasons for which the previous attempt of this version was refused."""
    rulebook_only: bool = False
    """True after two refusals or time-outs: the rulebook must answer."""


class ChatMessage(Frozen):
    """One turn of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


class PlanPrompted(_Attempt):
    """The planner's policy asks a model. The whole prompt stands in the journal."""

    TYPE: ClassVar[str] = "plan.prompted"
    _STEP: ClassVar[str] = "prompted"
    messages: tuple[ChatMessage, ...]
    prompt_hash: str
    """SHA-256 of the messages' canonical bytes, hex."""


class PlanAnswered(_Attempt):
    """What the model's endpoint said, or that it did not. The planner's policy decides what follows."""

    TYPE: ClassVar[str] = "plan.answered"
    _STEP: ClassVar[str] = "answered"
    outcome: Literal["ok", "unreachable", "timeout", "error"]
    response: str
    prompt_hash: str
    response_hash: str
    model: str
    settings: dict[str, Scalar]
    """Temperature, seed, token limit, endpoint: what is needed to ask again. Never a key."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    elapsed_ms: Annotated[float, Field(ge=0)] = 0.0
    error: str = ""


class PlanProposed(_Attempt):
    """A plan, who made it, and what code had to mend in it."""

    TYPE: ClassVar[str] = "plan.proposed"
    _STEP: ClassVar[str] = "proposed"
    plan: Plan
    origin: Literal["rulebook", "llm"]
    decision_tag: DecisionTag
    repairs: tuple[str, ...] = ()
    """What code changed in, or thought of, a model's answer; why the rulebook was taken."""


class PlanAccepted(_Attempt):
    """The scheduler committed to a plan; `version` is the new plan version."""

    TYPE: ClassVar[str] = "plan.accepted"
    _STEP: ClassVar[str] = "accepted"
    plan_id: str
    order: tuple[tuple[str, ...], ...]
    """Task ids in generations: each depends only on earlier ones."""


class PlanRejected(_Attempt):
    """The scheduler refused a plan."""

    TYPE: ClassVar[str] = "plan.rejected"
    _STEP: ClassVar[str] = "rejected"
    plan_id: str
    reasons: tuple[Reason, ...]


class PlanExecuted(Contract):
    """Every task of the accepted plan has ended; the monitor's check may begin."""

    TYPE: ClassVar[str] = "plan.executed"
    incident: Token
    version: int
    completed: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: tuple[str, ...]
    actions: int
    """Tasks that changed the world and ended OK."""

    def subject(self) -> str:
        return f"triage.plan.{self.incident}.v{self.version}.executed"
