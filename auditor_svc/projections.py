"""What the audit says in tables of its own, made from messages of the journal. Pure.

`columns_of` gives the columns beside an envelope, `project` the rows that an accepted message adds to the tables of
incidents, plans, tasks, results and model runs. Both are functions of what the chain holds, so a verifier makes them
again and compares: whoever edits a plan's row without touching its envelope is found as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgpack

from auditor_svc.chain import ACCEPTED, NUMBER_MAX, Columns, clean
from broker.contracts.base import Contract, Frozen
from broker.contracts.incident import IncidentClosed, IncidentReported
from broker.contracts.plan import PlanAccepted, PlanAnswered, PlanPrompted, PlanProposed, PlanRejected
from broker.contracts.registry import CONTRACTS
from broker.contracts.task import Claim, Result, Task
from broker.errors import BadFrameError, TooLargeError

_UNREAD = frozenset({BadFrameError.name, TooLargeError.name})
"""Verdicts on bytes that were not, or could not be, taken apart."""
NOTHING = Columns(None, None, None, None, None, None, None, None, None)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ASKED = ("run_id", "incident", "prompt_hash", "prompt", "asked_at")
_ANSWERED = (
    *("run_id", "incident", "model", "prompt_hash", "response_hash", "response", "outcome", "error", "temp"),
    *("tokens", "prompt_tokens", "completion_tokens", "elapsed_ms", "model_config", "created_at"),
)

TABLES: dict[str, tuple[str, ...]] = {
    "incident_reports": ("incident", "text", "source", "reported_at"),
    "incident_closures": ("incident", "verdict", "reason", "plan_version", "actions", "merged_into", "closed_at"),
    "plans": (
        *("incident", "version", "attempt", "plan_id", "origin", "decision_tag", "target", "fault_class"),
        *("confidence", "plan", "repairs", "proposed_at"),
    ),
    "plan_decisions": ("incident", "version", "attempt", "plan_id", "accepted", "reasons", "decided_at"),
    "tasks": (
        *("incident", "task_id", "attempt", "kind", "type", "target", "args", "plan_version", "risk", "ordered_at"),
    ),
    "claims": ("incident", "task_id", "attempt", "instance", "claimed_at"),
    "results": (
        *("incident", "task_id", "attempt", "instance", "status", "out", "meta", "evidence", "error_code"),
        *("changed", "elapsed_ms", "ended_at"),
    ),
    "llm_prompts": _ASKED,
    "llm_runs": _ANSWERED,
}
"""Columns of each table after its key, `journal_seq`. `llm_runs.prompt` is not here: the database fills it in from
`llm_prompts`, since the question and the answer are two messages."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One row for one of `TABLES`: values in the order of its columns, after `journal_seq`."""

    table: str
    journal_seq: int
    values: tuple[Any, ...]


def columns_of(data: bytes, verdict: str) -> Columns:
    """Return what the frame says of itself: claims if it was refused, facts if it was accepted.

    Raises:
        ValueError: the bytes are no frame although the verdict says that they were taken apart (only tampering).
    """
    if verdict in _UNREAD:
        return NOTHING
    try:
        (_, type_, channel, sender, version, _, _, ttl_s, nonce, cause, tag, payload, _) = msgpack.unpackb(
            data
        ).values()
        text = payload.decode() if verdict == ACCEPTED else None
        return Columns(sender, clean(type_), clean(channel), version, tag, cause, nonce, ttl_s, text)
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as error:
        raise ValueError(f"no frame: {type(error).__name__}") from error


def at(time_us: int) -> datetime:
    """Return a broker time (microseconds since the epoch) as the database keeps it."""
    return _EPOCH + timedelta(microseconds=time_us)


def project(journal_seq: int, time_us: int, message: Contract) -> Fact | None:
    """Return the row that an accepted message adds, or None if its type has no table."""
    maker = _MAKERS.get(type(message))
    if maker is None:
        return None
    table, values = maker(message)
    return Fact(table, journal_seq, (*(_held(value) for value in values), at(time_us)))


def project_again(journal_seq: int, time_us: int, type_: str, payload: str) -> Fact | None:
    """Return what `project` gave for a message of this type and payload when it was audited.

    Raises:
        SchemaError: the payload is no value of its type (only tampering).
    """
    return project(journal_seq, time_us, CONTRACTS[type_].decode(payload.encode()))


def _held(value: Any) -> Any:
    """Return a value that its column can hold; the envelope beside it keeps the exact one."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-NUMBER_MAX, min(value, NUMBER_MAX))
    return value


def _json(value: Any) -> str:
    """JSON text of plain values and contracts, as PostgreSQL's `json` keeps it."""
    return json.dumps(value, default=_plain, ensure_ascii=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, Frozen):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is no JSON")


def _reported(m: IncidentReported) -> tuple[str, tuple[Any, ...]]:
    return "incident_reports", (m.incident, m.text, m.source)


def _closed(m: IncidentClosed) -> tuple[str, tuple[Any, ...]]:
    return "incident_closures", (m.incident, m.verdict, m.reason, m.plan_version, m.actions, m.merged_into)


def _proposed(m: PlanProposed) -> tuple[str, tuple[Any, ...]]:
    hypothesis = m.plan.hypothesis
    head = (m.incident, m.version, m.attempt, m.plan.plan_id, m.origin, m.decision_tag)
    body = (hypothesis.target, hypothesis.fault_class, hypothesis.confidence, _json(m.plan), _json(m.repairs))
    return "plans", head + body


def _accepted(m: PlanAccepted) -> tuple[str, tuple[Any, ...]]:
    return "plan_decisions", (m.incident, m.version, m.attempt, m.plan_id, True, "[]")


def _rejected(m: PlanRejected) -> tuple[str, tuple[Any, ...]]:
    return "plan_decisions", (m.incident, m.version, m.attempt, m.plan_id, False, _json(m.reasons))


def _task(m: Task) -> tuple[str, tuple[Any, ...]]:
    head = (m.incident, m.task_id, m.attempt, m.kind, m.type, m.target)
    return "tasks", (*head, _json(m.args), m.plan_version, m.risk)


def _claim(m: Claim) -> tuple[str, tuple[Any, ...]]:
    return "claims", (m.incident, m.task_id, m.attempt, m.instance)


def _result(m: Result) -> tuple[str, tuple[Any, ...]]:
    head = (m.incident, m.task_id, m.attempt, m.instance, m.status, m.out)
    return "results", (*head, _json(m.meta), _json(m.evidence), m.error_code, m.changed, m.elapsed_ms)


def _prompted(m: PlanPrompted) -> tuple[str, tuple[Any, ...]]:
    return "llm_prompts", (_run_id(m), m.incident, m.prompt_hash, _json(m.messages))


def _answered(m: PlanAnswered) -> tuple[str, tuple[Any, ...]]:
    heat = m.settings.get("temperature")
    temperature = float(heat) if isinstance(heat, int | float) and not isinstance(heat, bool) else None
    head = (_run_id(m), m.incident, m.model, m.prompt_hash, m.response_hash, m.response, m.outcome, m.error)
    tokens = (m.prompt_tokens + m.completion_tokens, m.prompt_tokens, m.completion_tokens)
    return "llm_runs", (*head, temperature, *tokens, m.elapsed_ms, _json(m.settings))


def _run_id(m: PlanPrompted | PlanAnswered) -> str:
    return f"{m.incident}.v{m.version}.a{m.attempt}"


_MAKERS: dict[type[Contract], Callable[[Any], tuple[str, tuple[Any, ...]]]] = {
    IncidentReported: _reported,
    IncidentClosed: _closed,
    PlanProposed: _proposed,
    PlanAccepted: _accepted,
    PlanRejected: _rejected,
    Task: _task,
    Claim: _claim,
    Result: _result,
    PlanPrompted: _prompted,
    PlanAnswered: _answered,
}
PROJECTED: tuple[str, ...] = tuple(contract.TYPE for contract in _MAKERS)
"""Message types that have a table."""
