"""What the audit tells people: incidents, one incident's whole story, model runs, scenario runs. Reads only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from auditor_svc.store import ScenarioRun, Store


@dataclass(frozen=True, slots=True)
class IncidentSummary:
    """One incident and how it ended; the fields after `reported_at` are None while it is open."""

    incident: str
    text: str
    source: str
    reported_at: datetime
    verdict: str | None
    reason: str | None
    plan_version: int | None
    actions: int | None
    merged_into: str | None
    closed_at: datetime | None
    journal_seq: int


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """One proposed plan and what the scheduler said of it."""

    journal_seq: int
    version: int
    attempt: int
    plan_id: str
    origin: str
    decision_tag: str
    target: str
    fault_class: str
    confidence: float
    plan: Mapping[str, Any]
    repairs: tuple[str, ...]
    proposed_at: datetime
    accepted: bool | None
    """None if the scheduler has not answered."""
    reasons: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """What an agent said of one attempt."""

    journal_seq: int
    task_id: str
    attempt: int
    instance: str
    status: str
    out: str
    meta: Mapping[str, Any]
    evidence: tuple[str, ...]
    error_code: str | None
    changed: bool
    elapsed_ms: float
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One attempt of a task, who claimed it (in order), and its result."""

    journal_seq: int
    task_id: str
    attempt: int
    kind: str
    type: str
    target: str
    args: Mapping[str, Any]
    plan_version: int
    risk: str
    ordered_at: datetime
    claimed_by: tuple[str, ...]
    result: ResultRecord | None


@dataclass(frozen=True, slots=True)
class LlmRun:
    """One question to a model and its answer (spec 4 and 9)."""

    journal_seq: int
    run_id: str
    incident: str
    model: str
    prompt_hash: str
    response_hash: str
    prompt: Any
    """The messages as asked; None if the question is not in the audit."""
    response: str
    outcome: str
    error: str
    temp: float | None
    tokens: int
    prompt_tokens: int
    completion_tokens: int
    elapsed_ms: float
    model_config: Mapping[str, Any]
    """Endpoint, temperature, seed, token limit, schema's name."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LlmRecord(LlmRun):
    """A model run with everything that belongs to it (view `llm_run_records`)."""

    version: int
    attempt: int
    template: str | None
    template_hash: str | None
    schema_hash: str | None
    structured: bool | None
    fingerprint: str | None
    """What the server says of its build; its own word."""
    finish_reason: str | None
    timings: Mapping[str, float] | None
    plan_id: str | None
    """The plan that was proposed after the answer; None: none was."""
    origin: str | None
    decision_tag: str | None
    plan: Any
    repairs: tuple[str, ...]
    filled: tuple[str, ...]
    mended: bool
    """A repair touched the meaning: what acted waited for a person."""
    agreed: bool
    accepted: bool | None
    """The scheduler's verdict; None if it asked the operator instead, or has not answered."""
    reasons: tuple[Mapping[str, Any], ...]
    question: str | None

    @property
    def repaired(self) -> bool:
        """Tell whether code noted anything on the answer."""
        return bool(self.repairs)

    @property
    def verdict(self) -> str:
        """Return what became of the answer, in one word."""
        if self.plan_id is None:
            return "no plan"
        if self.accepted is None:
            return "asked" if self.question is not None else "open"
        return "accepted" if self.accepted else "refused"


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One message of the incident, accepted or refused."""

    journal_seq: int
    time_us: int
    type: str | None
    subject: str
    sender: str | None
    tag: str | None
    cause: int | None
    row_hash: str
    refusal: str | None


@dataclass(frozen=True, slots=True)
class IncidentStory:
    """Everything the audit knows of one incident, each list in the order of the journal."""

    summary: IncidentSummary
    plans: tuple[PlanRecord, ...]
    tasks: tuple[TaskRecord, ...]
    llm_runs: tuple[LlmRun, ...]
    timeline: tuple[TimelineEntry, ...]
    refusals: int
    """Messages of its subjects that the gate refused."""


def plain(value: Any) -> Any:
    """Return a record, or a tuple of them, as values for `json.dumps`; times in ISO 8601."""
    return json.loads(json.dumps(value if isinstance(value, Mapping) else _dictionary(value), default=_text))


def _dictionary(value: Any) -> Any:
    return [asdict(item) for item in value] if isinstance(value, tuple | list) else asdict(value)


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


async def read_incidents(store: Store, limit: int) -> tuple[IncidentSummary, ...]:
    """Return the newest incidents, newest first."""
    found = await store.fetch("SELECT * FROM incidents ORDER BY journal_seq DESC LIMIT $1", limit)
    return tuple(IncidentSummary(**row) for row in found)


async def read_story(store: Store, incident: str) -> IncidentStory | None:
    """Return an incident's story, or None if it was never reported."""
    found = await store.fetch("SELECT * FROM incidents WHERE incident = $1", incident)
    if not found:
        return None
    timeline = await _timeline(store, incident)
    return IncidentStory(
        summary=IncidentSummary(**found[0]),
        plans=await _plans(store, incident),
        tasks=await _tasks(store, incident),
        llm_runs=await read_llm_runs(store, incident=incident),
        timeline=timeline,
        refusals=sum(entry.refusal is not None for entry in timeline),
    )


async def read_llm_runs(
    store: Store, *, incident: str | None = None, limit: int = 1_000, before: int | None = None
) -> tuple[LlmRun, ...]:
    """Return one incident's model runs in order, or the newest of all (before a journal sequence), newest first."""
    where, order = ("incident = $2", "ASC") if incident is not None else ("$2::text IS NULL", "DESC")
    query = f"""SELECT * FROM llm_runs WHERE {where} AND ($3::bigint IS NULL OR journal_seq < $3)
                ORDER BY journal_seq {order} LIMIT $1"""  # noqa: S608 - our own words
    rows = await store.fetch(query, limit, incident, before)
    return tuple(LlmRun(**_unpacked(row, "prompt", "model_config")) for row in rows)


_OF_ANSWER = ("template", "template_hash", "schema_hash", "structured", "fingerprint", "finish_reason", "timings")


async def read_llm_records(store: Store, run_id: str, limit: int = 100) -> tuple[LlmRecord, ...]:
    """Return the runs of that id, or of the incident of that name, in order."""
    query = "SELECT * FROM llm_run_records WHERE run_id = $1 OR incident = $1 ORDER BY journal_seq LIMIT $2"
    return tuple(_llm_record(row) for row in await store.fetch(query, run_id, limit))


def _llm_record(row: dict[str, Any]) -> LlmRecord:
    """Return a row of the view, with what its messages say beside it; what a message does not say is None."""
    row = _unpacked(row, "prompt", "model_config", "plan", "repairs", "reasons", "answered", "proposed", "asked")
    answered, proposed, asked = (row.pop(name) or {} for name in ("answered", "proposed", "asked"))
    lists = {"repairs": row["repairs"], "reasons": row["reasons"], "filled": proposed.get("filled")}
    return LlmRecord(
        **row
        | {name: tuple(value or ()) for name, value in lists.items()}
        | {name: answered.get(name) for name in _OF_ANSWER}
        | {name: bool(proposed.get(name)) for name in ("mended", "agreed")}
        | {"question": asked.get("question")}
    )


async def read_refusals(store: Store) -> dict[str, int]:
    """Return how many messages were refused, by name."""
    found = await store.fetch("SELECT refusal, count(*) AS n FROM refusals GROUP BY refusal ORDER BY refusal")
    return {row["refusal"]: row["n"] for row in found}


async def read_scenario_runs(store: Store, limit: int) -> tuple[ScenarioRun, ...]:
    """Return the newest scenario runs, newest first."""
    found = await store.fetch("SELECT * FROM scenario_run ORDER BY started_at DESC, id LIMIT $1", limit)
    return tuple(ScenarioRun(**_unpacked(row, "score")) for row in found)


async def _plans(store: Store, incident: str) -> tuple[PlanRecord, ...]:
    found = await store.fetch(
        """SELECT p.journal_seq, p.version, p.attempt, p.plan_id, p.origin, p.decision_tag, p.target, p.fault_class,
                  p.confidence, p.plan, p.repairs, p.proposed_at, d.accepted, coalesce(d.reasons, '[]') AS reasons
             FROM plans p LEFT JOIN plan_decisions d USING (incident, version, attempt, plan_id)
            WHERE incident = $1 ORDER BY p.journal_seq""",
        incident,
    )
    rows = (_unpacked(row, "plan", "repairs", "reasons") for row in found)
    return tuple(
        PlanRecord(**row | {"repairs": tuple(row["repairs"]), "reasons": tuple(row["reasons"])}) for row in rows
    )


async def _tasks(store: Store, incident: str) -> tuple[TaskRecord, ...]:
    claims: dict[tuple[str, int], list[str]] = {}
    claimed = "SELECT task_id, attempt, instance FROM claims WHERE incident = $1 ORDER BY journal_seq"
    for row in await store.fetch(claimed, incident):
        claims.setdefault((row["task_id"], row["attempt"]), []).append(row["instance"])
    results = {(result.task_id, result.attempt): result for result in await _results(store, incident)}
    tasks = []
    for row in await store.fetch("SELECT * FROM tasks WHERE incident = $1 ORDER BY journal_seq", incident):
        del row["incident"]
        key = row["task_id"], row["attempt"]
        by = tuple(claims.get(key, ()))
        tasks.append(TaskRecord(**_unpacked(row, "args"), claimed_by=by, result=results.get(key)))
    return tuple(tasks)


async def _results(store: Store, incident: str) -> list[ResultRecord]:
    results = []
    for row in await store.fetch("SELECT * FROM results WHERE incident = $1 ORDER BY journal_seq", incident):
        del row["incident"]
        row = _unpacked(row, "meta", "evidence")
        results.append(ResultRecord(**row | {"evidence": tuple(row["evidence"])}))
    return results


async def _timeline(store: Store, incident: str) -> tuple[TimelineEntry, ...]:
    """Messages on the incident's own subjects: its token is the third, for those with a kind before it the fourth."""
    found = await store.fetch(
        """SELECT journal_seq, time_us, type, subject, sender, tag, cause, encode(row_hash, 'hex') AS row_hash, refusal
             FROM envelopes
            WHERE NOT starts_with(subject, 'triage.telemetry.')
              AND (split_part(subject, '.', 3) = $1 AND split_part(subject, '.', 2) = ANY($2)
                   OR split_part(subject, '.', 4) = $1 AND split_part(subject, '.', 2) = ANY($3))
            ORDER BY journal_seq""",
        incident,
        ["incident", "plan", "dead", "deviation", "verified", "approval"],
        ["task", "claim", "result"],
    )
    return tuple(TimelineEntry(**row) for row in found)


def _unpacked(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return row | {name: json.loads(row[name]) for name in names if row[name] is not None}
