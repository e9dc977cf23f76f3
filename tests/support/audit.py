"""Chains, checkpoints and journals for the auditor's tests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auditor_svc.chain import ACCEPTED, Progress, Row, append, checkpoint, due, signer
from auditor_svc.diagnosis import hash_of
from auditor_svc.projections import columns_of
from broker.contracts.base import Contract
from broker.contracts.control import Checkpoint, Halt
from broker.contracts.incident import IncidentClosed, IncidentReported
from broker.contracts.plan import (
    ChatMessage,
    Hypothesis,
    Plan,
    PlanAccepted,
    PlanAnswered,
    PlanPrompted,
    PlanProposed,
    PlanTask,
)
from broker.contracts.task import Claim, Result, Task
from broker.contracts.telemetry import Metrics, Telemetry
from broker.port import Stored
from broker.subjects import Role
from tests.support.signing import signer as sealer

SEED = hashlib.sha256(b"test/checkpoint").digest()
"""The checkpoint seed of `signing.master`."""
PUBLIC = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
SIGN = signer(SEED)
START_US = 1_750_000_000_000_000
SECOND = 1_000_000


def telemetry(device: str, second: int = 0) -> Telemetry:
    """Return a device's healthy record."""
    return Telemetry(
        device_id=device,
        timestamp=datetime.fromtimestamp(START_US / 1e6 + second, UTC),
        status="OK",
        metrics=Metrics(cpu_load=0.1, mem_usage=1e6, latency_ms=2.0),
    )


def sealed(role: Role = "operator") -> Callable[[Contract], bytes]:
    """Return what seals messages of a role at START_US."""
    seal = sealer(role)
    seal._clock = lambda: START_US
    return seal.seal


def journal(length: int, *, step_us: int = 50_000) -> list[Stored]:
    """Return messages at every second sequence, as if others had expired between them."""
    seal = sealed("sensors")
    devices = ("orders", "catalog", "gateway")
    records = [telemetry(devices[i % 3], i) for i in range(length)]
    return [
        Stored(2 * i + 1, START_US + i * step_us, record.subject(), seal(record)) for i, record in enumerate(records)
    ]


def chain(
    messages: Sequence[Stored], verdicts: dict[int, str] | None = None, *, end: bool = True, columns: bool = True
) -> tuple[list[Row], list[Checkpoint]]:
    """Return the chain of messages and its checkpoints; `end`: the last row is covered, as after a proper stop."""
    progress, rows, checkpoints = Progress(), [], []
    for stored in messages:
        verdict = (verdicts or {}).get(stored.seq, ACCEPTED)
        progress, row = append(progress, stored, verdict, columns_of(stored.data, verdict) if columns else None)
        rows.append(row)
        if due(progress, stored.time_us):
            progress, signed = checkpoint(progress, SIGN)
            checkpoints.append(signed)
    if end and progress.uncovered:
        checkpoints.append(checkpoint(progress, SIGN)[1])
    return rows, checkpoints


def rehashed(row: Row, **changes: object) -> Row:
    """Return a row with other content and hashes that fit it; with the old one where no hash can be over it (a number
    below zero, say): nobody can forge more."""
    changed = row._replace(**changes)  # type: ignore[arg-type]
    body = hashlib.sha256(changed.envelope).digest()
    fitting = changed._replace(envelope_hash=body)
    return fitting._replace(row_hash=hash_of(fitting) or row.row_hash)


def rebuilt(rows: Sequence[Row], start: int = 0) -> list[Row]:
    """Return a chain made to fit again from index `start` on, numbers and links included."""
    made = list(rows[:start])
    for row in rows[start:]:
        before = made[-1] if made else None
        prev = before.row_hash if before else _genesis()
        made.append(rehashed(row, number=len(made) + 1, prev_hash=prev))
    return made


def _genesis() -> bytes:
    return hashlib.sha256(b"agentic-triage/audit/genesis/1").digest()


def incident_messages(incident: str = "inc1") -> list[tuple[Role, Contract]]:
    """Return the messages of one incident, from report to end, with a model run."""
    asked = (ChatMessage(role="system", content="You find \x00 causes."), ChatMessage(role="user", content="orders?"))
    plan = Plan(
        plan_id="00000000-0000-0000-0000-000000000001",
        root_goal="mend orders",
        created_at=datetime.fromtimestamp(START_US / 1e6, UTC),
        plan_version=1,
        hypothesis=Hypothesis(target="orders", fault_class="config_drift", confidence=0.9, evidence=("gaierror",)),
        tasks=(PlanTask(task_id="t1", type="check_logs", target="orders", assigned_to="LogAgent"),),
    )
    attempt: dict[str, Any] = {"incident": incident, "version": 1, "attempt": 1}
    head: dict[str, Any] = {"incident": incident, "task_id": "v1-t1", "attempt": 1, "kind": "log"}
    return [
        ("operator", IncidentReported(incident=incident, text="orders are\tslow", source="operator")),
        ("planner", PlanPrompted(**attempt, messages=asked, prompt_hash="ab" * 32)),
        (
            "planner",
            PlanAnswered(
                **attempt,
                outcome="ok",
                response='{"target": "orders"}\x00',
                prompt_hash="ab" * 32,
                response_hash="cd" * 32,
                model="small",
                settings={"temperature": 0.0, "seed": 42},
                prompt_tokens=100,
                completion_tokens=20,
                elapsed_ms=12.5,
            ),
        ),
        ("planner", PlanProposed(**attempt, plan=plan, origin="llm", decision_tag="LLM_DECISION", repairs=("quoted",))),
        ("scheduler", PlanAccepted(**attempt, plan_id=plan.plan_id, order=(("t1",),))),
        (
            "scheduler",
            Task(
                **head,
                type="check_logs",
                target="orders",
                args={"pattern": "error"},
                plan_version=1,
                risk="read",
                timeout_s=10.0,
                timer_id="x",
            ),
        ),
        ("log", Claim(**head, instance="log-agent-1", task_seq=6, delivery="$JS.ACK.x")),
        ("log", Result(**head, instance="log-agent-1", status="OK", out="12 lines", meta={"lines": 12})),
        (
            "scheduler",
            IncidentClosed(incident=incident, verdict="verified", reason="symptoms gone", plan_version=1, actions=1),
        ),
    ]


def halt() -> Halt:
    """Return any operator's message."""
    return Halt(reason="test")
