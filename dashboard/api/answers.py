"""What the API answers and is asked, for the server, the OpenAPI document and the page's client alike.

`*_us`: microseconds since the epoch. `*_s`: seconds. `*_ms`: milliseconds. Every text is data and never markup.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from broker.contracts.base import Scalar
from broker.contracts.inventory import Device, Objective
from dashboard.api.core.entry import Entry
from dashboard.api.core.view import View

MAX_WORDS = 16_384
"""Longest text that is read at all, in characters; contracts bound it further and say so."""
Words = Annotated[str, StringConstraints(max_length=MAX_WORDS)]


class Answer(BaseModel):
    """Base of what is answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Error(Answer):
    """Every refusal and failure."""

    error: str
    """Stable name."""
    message: str
    """What happened, to what."""
    next: str
    """What to do."""


class Done(Answer):
    """A command was carried out."""

    seq: int | None
    """Where it stands in the journal; None for what is not said there."""
    sentence: str
    incident: str | None = None


class CatalogueEntry(Answer):
    agent: str
    risk: str
    summary: str
    undo: str | None


class World(Answer):
    """What exists and what users were promised."""

    devices: tuple[Device, ...]
    objective: Objective


class OpenFault(Answer):
    id: str
    fault: str
    target: str
    args: dict[str, Scalar]
    since_us: int
    state: str


class Snapshot(Answer):
    """Everything a page begins with; the stream goes on behind `head`."""

    journal: str
    """Names the journal: another name, another world."""
    head: int
    now_us: int
    connected: bool
    """Whether the stack's broker answers. While it does not, this is what was heard last, and no command is taken."""
    entries: list[Entry]
    telemetry: list[Entry]
    inventory: World
    catalogue: dict[str, CatalogueEntry]
    view: View
    faults_open: list[OpenFault] | None
    """None where the faults cannot be seen from here."""
    token_needed: bool


class Journal(Answer):
    entries: list[Entry]
    next: int | None
    """Edge of the next page, in the direction asked for; None: nothing further."""


class Proof(Answer):
    """One message with its exact bytes and its place in the audit's chain. The fields of the chain are null until the
    auditor has written it."""

    entry: Entry
    seq: int
    time_us: int
    subject: str
    verdict: str
    """`accepted`, or the refusal's name."""
    envelope: str
    """Base64."""
    number: int | None
    envelope_hash: str | None
    prev_hash: str | None
    row_hash: str | None
    hmac_ok: bool | None
    """What the gate says of the MAC; null: it did not come to that."""


class IncidentRow(Answer):
    incident: str
    text: str
    source: str
    reported_us: int
    verdict: str | None
    reason: str | None
    merged_into: str | None
    closed_us: int | None
    actions: int | None
    seq: int


class Incidents(Answer):
    incidents: list[IncidentRow]
    next: int | None


class Story(Answer):
    """Everything the audit knows of an incident; as `triage audit` and `auditor_svc.reading` have it."""

    summary: dict[str, Any]
    plans: list[dict[str, Any]]
    tasks: list[dict[str, Any]]
    llm_runs: list[dict[str, Any]]
    timeline: list[dict[str, Any]]
    refusals: int


class Similar(Answer):
    incident: str
    text: str
    target: str
    fault_class: str
    actions: list[str]
    likeness: float | None


class SimilarIncidents(Answer):
    similar: list[Similar]


class TimelineRow(Answer):
    seq: int
    time_us: int
    type: str | None
    subject: str
    sender: str | None
    tag: str | None
    cause: int
    hmac: str
    row_hash: str | None
    refusal: str | None
    message: str


class Timeline(Answer):
    rows: list[TimelineRow]
    next: int | None


class LlmRunRow(Answer):
    """A model run without its texts."""

    run_id: str
    incident: str
    model: str
    outcome: str
    error: str
    tokens: int
    elapsed_ms: float
    prompt_hash: str
    response_hash: str
    created_us: int
    seq: int


class LlmRuns(Answer):
    runs: list[LlmRunRow]
    next: int | None


class LlmRecords(Answer):
    records: list[dict[str, Any]]


class AgentRow(Answer):
    agent: str
    kind: str
    state: str
    connected: bool | None
    heartbeat_ms: float | None
    """Since the broker last heard of it."""
    up_s: float | None
    works_on: list[str]


class Agents(Answer):
    agents: list[AgentRow]


class StreamRow(Answer):
    name: str
    messages: int
    bytes: int
    first_seq: int
    last_seq: int
    subjects: int | None


class ConsumerRow(Answer):
    stream: str
    name: str
    pending: int
    ack_pending: int
    redelivered: int
    waiting: int


class ConnectionRow(Answer):
    name: str
    user: str
    rtt_ms: float | None
    idle_s: float | None
    in_msgs: int
    out_msgs: int
    slow: bool


class DeadLetterRow(Answer):
    incident: str
    dead_letters: int


class BrokerLook(Answer):
    monitor_url: str | None
    streams: list[StreamRow]
    consumers: list[ConsumerRow]
    connections: list[ConnectionRow]
    dead_letters: list[DeadLetterRow]
    error: str | None
    """Why the server's own monitoring cannot be read; null if it can."""


class Bounds(Answer):
    default: float
    low: float
    high: float


class FaultKind(Answer):
    name: str
    summary: str
    targets: list[str]
    args: dict[str, Bounds]


class Faults(Answer):
    catalogue: list[FaultKind]
    open: list[OpenFault]
    can_inject: bool
    why_not: str | None


class ScenarioRow(Answer):
    name: str
    summary: str


class Scenarios(Answer):
    scenarios: list[ScenarioRow]


class RunRow(Answer):
    id: str
    scenario: str
    seed: int
    noise: float
    incident: str | None
    started_us: int
    ended_us: int
    verdict: str
    score: dict[str, Any]


class Runs(Answer):
    runs: list[RunRow]


class Figures(Answer):
    """Of the scenario runs since midnight UTC."""

    injected: int
    recovered: int
    sr: float | None
    mrl_s: float | None
    mttr_s: float | None
    """Median of injected to verified."""
    since_us: int | None


class RecordingRow(Answer):
    name: str
    scenario: str
    incident: str
    seed: int


class Recordings(Answer):
    recordings: list[RecordingRow]


class RecordingHeader(Answer):
    scenario: str
    seed: int
    noise: float
    incident: str


class RecordingEvents(Answer):
    header: RecordingHeader
    entries: list[Entry]


class Health(Answer):
    ok: bool
    connected: bool
    head: int
    subscribers: int
    ring_bytes: int


# what is asked


class Ask(BaseModel):
    """Base of what is asked; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Report(Ask):
    text: Words


class Reply(Ask):
    text: Words


class Decision(Ask):
    decision: Literal["grant", "deny"]
    binding: str | None = Field(default=None, max_length=128)
    """What the person saw: the answer is refused if something else is asked for by now."""
    reason: Words = ""


class Reason(Ask):
    reason: Words = ""


class Kill(Ask):
    signal: Literal["KILL", "STOP"] = "KILL"


class Inject(Ask):
    fault: Annotated[str, StringConstraints(max_length=80)]
    target: Annotated[str, StringConstraints(max_length=160)] | None = None
    args: dict[str, float] = Field(default_factory=dict, max_length=16)


class Nothing(Ask):
    pass


class Alert(BaseModel):
    """One alert of Alertmanager's webhook; fields that are not used are let pass."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    status: str = "firing"
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    startsAt: str = ""
    fingerprint: str = ""


class AlertGroup(BaseModel):
    """Alertmanager's webhook, version 4."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: str = "4"
    groupKey: str = ""
    status: str = "firing"
    receiver: str = ""
    alerts: list[Alert] = Field(default_factory=list, max_length=1_000)
