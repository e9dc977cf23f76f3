"""Plans: a bounded DAG of typed tasks, its hypothesis, and the life of a planning attempt."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from broker.contracts.base import CleanText, Contract, Frozen, Scalar, Token, UnitInterval, added

MAX_TASKS = 8
"""Spec 4: at most eight tasks in a plan."""
MAX_QUESTION = 300
"""Longest clarifying question, in characters."""

QuestionText = Annotated[CleanText, StringConstraints(min_length=1, max_length=MAX_QUESTION)]
PromptForm = Literal["hypothesis", "plan"]
"""What a model is asked for: a target and a fault class, or a whole plan. It chooses the schema of the answer."""

DecisionTag = Literal["LLM_DECISION", "DETERMINISTIC"]
AgentName = Literal["LogAgent", "MetricAgent", "ActionAgent", "RAGAgent"]
AgentKind = Literal["log", "metric", "action", "runbook"]
KIND_OF_AGENT: dict[str, AgentKind] = {
    "LogAgent": "log",
    "MetricAgent": "metric",
    "ActionAgent": "action",
    "RAGAgent": "runbook",
}

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


class ClarifyingTask(Frozen):
    """A question to the operator, without whose answer the planner would only guess (spec 4)."""

    task_id: Token
    question: QuestionText


class Plan(Frozen):
    """A plan as proposed. The scheduler validates it; nothing here is trusted before that."""

    plan_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    root_goal: Annotated[str, StringConstraints(max_length=500)]
    created_at: AwareDatetime
    plan_version: Annotated[int, Field(ge=1)]
    hypothesis: Hypothesis
    tasks: tuple[PlanTask, ...]
    clarifying_task: ClarifyingTask | None = added(None)
    """Set: the operator is to be asked before anything of this plan is done (docs/adr/0013)."""


class Reason(Frozen):
    """Why a plan was refused: a stable code and a sentence with the facts."""

    code: Token
    detail: str


class Tried(Frozen):
    """A hypothesis that was acted on before and did not hold, with what happened."""

    hypothesis: Hypothesis
    outcome: str
    actions: tuple[str, ...] = added(())
    """What was done for it, one task a line: `reconcile orders: ok, changed`."""
    showed: tuple[str, ...] = added(())
    """What its looks found, one fact a line: `check_config orders drifted=false`."""
    well: tuple[str, ...] = added(())
    """Devices that an agent saw healthy after it had changed something: what is wrong there now has come back
    (docs/adr/0027)."""


class Exchange(Frozen):
    """A clarifying question and what the operator said; no answer came in time where it is None."""

    question: str
    answer: str | None = None


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
    """True after two refusals or time-outs, or a question without answer: the rulebook must answer."""
    dialogue: tuple[Exchange, ...] = added(())
    """Questions asked in this incident so far."""


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
    form: PromptForm = added("hypothesis")
    template: str = added("")
    """The prompt's template and version, such as `full.v1`; empty before templates were files."""
    template_hash: str = added("")
    """SHA-256 of the template's file, hex."""
    targets: tuple[Token, ...] = added(())
    """The devices that an answer may name; empty: all."""
    fault_classes: tuple[FaultClass, ...] = added(())
    """The kinds of fault that an answer may name; empty: all."""


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
    template: str = added("")
    template_hash: str = added("")
    structured: bool | None = added(None)
    """Whether the endpoint was held to the schema; None: it gave no answer."""
    schema_hash: str = added("")
    """SHA-256 of the schema's canonical JSON, hex."""
    fingerprint: str = added("")
    """What the server calls itself and its build (`system_fingerprint`); its own word, not checked."""
    finish_reason: str = added("")
    timings: dict[str, float] = added({})
    """What the server says of its work: prompt_ms, generation_ms, first_token_ms, cached_tokens."""


class PlanProposed(_Attempt):
    """A plan, who made it, and what code had to mend in it."""

    TYPE: ClassVar[str] = "plan.proposed"
    _STEP: ClassVar[str] = "proposed"
    plan: Plan
    origin: Literal["rulebook", "llm"]
    decision_tag: DecisionTag
    repairs: tuple[str, ...] = ()
    """What code changed in, or thought of, a model's answer; why the rulebook was taken."""
    filled: tuple[str, ...] = added(())
    """Parts of the plan that code made and no model wrote, a sentence each."""
    mended: bool = added(False)
    """True if a repair touched what the model's plan means: whatever acts then waits for a person (docs/adr/0012)."""
    agreed: bool = added(False)
    """True if rulebook and model, each for itself, want every action of this plan."""
    unusable: tuple[Reason, ...] = added(())
    """Why a model's answer is no plan. The scheduler refuses with these reasons, and the model is asked again."""


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
