"""What a message says, in one line for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from broker.contracts.base import Contract
from broker.contracts.control import (
    ApprovalDenied,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRequested,
    Checkpoint,
    Halt,
    Resume,
    Rotate,
    Takeover,
    Timer,
)
from broker.contracts.incident import IncidentAnswered, IncidentAsked, IncidentClosed, IncidentReported
from broker.contracts.monitor import AgentLost, AgentUp, Deviation, Verified
from broker.contracts.plan import (
    PlanAccepted,
    PlanAnswered,
    PlanExecuted,
    PlanPrompted,
    PlanProposed,
    PlanRejected,
    PlanRequested,
)
from broker.contracts.task import Claim, DeadLetter, Result, Task
from broker.contracts.telemetry import Telemetry

MAX_LINE = 300
"""Longest line, in characters."""


def said(message: Contract) -> str:
    """Return the line; a type without words of its own says its name."""
    words = _WORDS.get(type(message))
    line = message.TYPE if words is None else words(message)
    line = " ".join(line.split())
    return line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…"


def _reported(message: IncidentReported) -> str:
    return f"reported by {message.source}: {message.text}"


def _closed(message: IncidentClosed) -> str:
    into = f" into {message.merged_into}" if message.merged_into else ""
    return f"closed {message.verdict}{into}: {message.reason}"


def _requested(message: PlanRequested) -> str:
    who = "the rulebook" if message.rulebook_only else "the planner"
    return f"{who} is asked for version {message.version}, attempt {message.attempt}"


def _answered(message: PlanAnswered) -> str:
    tokens = message.prompt_tokens + message.completion_tokens
    detail = message.error or f"{tokens} tokens in {message.elapsed_ms / 1_000:.1f} s"
    return f"{message.model}: {message.outcome}, {detail}"


def _proposed(message: PlanProposed) -> str:
    believed = message.plan.hypothesis
    cause = f"{believed.fault_class} of {believed.target} ({believed.confidence:.2f})"
    return f"{message.origin} believes {cause}: {len(message.plan.tasks)} tasks"


def _accepted(message: PlanAccepted) -> str:
    return f"version {message.version} is accepted: {' → '.join(' | '.join(names) for names in message.order)}"


def _rejected(message: PlanRejected) -> str:
    reasons = "; ".join(reason.detail for reason in message.reasons)
    return f"version {message.version}, attempt {message.attempt} is refused: {reasons}"


def _executed(message: PlanExecuted) -> str:
    done, skipped, failed = (len(names) for names in (message.completed, message.skipped, message.failed))
    return f"version {message.version} has ended: {done} done, {skipped} skipped, {failed} failed"


def _result(message: Result) -> str:
    return f"{message.instance}: {message.status} {message.task_id} in {message.elapsed_ms:.0f} ms: {message.out}"


def _verified(message: Verified) -> str:
    if message.ok:
        return f"check {message.n}: no symptom, and the objective is met for {message.window_s:g} s"
    return f"check {message.n} does not hold: {'; '.join(message.reasons)}"


def _lost(message: AgentLost) -> str:
    return f"{message.instance} is lost ({message.reason}); {len(message.handed_on)} tasks were handed on"


def _telemetry(message: Telemetry) -> str:
    return f"{message.device_id} {message.status} {message.error_code or ''}"


_WORDS: dict[type[Contract], Callable[[Any], str]] = {
    IncidentReported: _reported,
    IncidentAsked: lambda m: f"asks: {m.question}",
    IncidentAnswered: lambda m: f"answer {m.n}: {m.text}",
    IncidentClosed: _closed,
    PlanRequested: _requested,
    PlanPrompted: lambda m: f"a model is asked ({m.form}): {len(m.messages)} turns",
    PlanAnswered: _answered,
    PlanProposed: _proposed,
    PlanAccepted: _accepted,
    PlanRejected: _rejected,
    PlanExecuted: _executed,
    Task: lambda m: f"{m.task_id} {m.type} {m.target} for a {m.kind} agent, attempt {m.attempt}",
    Claim: lambda m: f"{m.instance} takes {m.task_id}, attempt {m.attempt}",
    Result: _result,
    DeadLetter: lambda m: f"{m.task_id} was given up: {m.reason}",
    Deviation: lambda m: f"{m.kind} on {m.device}: {m.detail}",
    Verified: _verified,
    AgentUp: lambda m: f"{m.instance} is connected",
    AgentLost: _lost,
    Halt: lambda m: f"halt: {m.reason}",
    Resume: lambda m: f"resume: {m.reason}",
    Rotate: lambda m: f"key version {m.key_version}: read the key files again",
    Takeover: lambda m: f"version {m.version} of the {m.machine} decides from here on",
    ApprovalRequested: lambda m: f"{m.task_id} {m.action} {m.target} waits for a person: {m.why}",
    ApprovalGranted: lambda m: f"{m.task_id} is approved",
    ApprovalDenied: lambda m: f"{m.task_id} is denied: {m.reason}",
    ApprovalExpired: lambda m: f"{m.task_id} is not carried out: nobody decided on it within {m.wait_s:g} s",
    Timer: lambda m: f"timer {m.purpose} of the {m.machine}",
    Checkpoint: lambda m: f"checkpoint {m.n}: {m.rows} rows, head {m.head[:16]}",
    Telemetry: _telemetry,
}
