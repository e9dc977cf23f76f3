"""Runbooks and past incidents for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from agents.runbook.frontmatter import parse
from agents.runbook.passages import Document, Repaired, of_incident, of_runbook
from auditor_svc.chain import EMPTY
from auditor_svc.projections import project
from auditor_svc.store import Batch
from auditor_svc.store import Store as AuditStore
from broker.contracts.base import Contract
from broker.contracts.incident import IncidentClosed, IncidentReported, IncidentVerdict
from broker.contracts.plan import Hypothesis, Plan, PlanAccepted, PlanProposed, PlanTask
from broker.contracts.registry import CONTRACTS
from broker.contracts.task import Result, Task
from broker.contracts.telemetry import Metrics, Status, Telemetry
from broker.envelope import open_frame
from broker.port import Stored
from broker.subjects import Role
from tests.support.audit import START_US, chain, sealed

HEAD = """---
id: {id}
title: {title}
fault_class: {fault_class}
applies_to: [service]
symptoms:
  - {symptom}
errors: [{errors}]
actions: [check_config, reconcile]
risk: risky
version: 1
---
"""


def runbook_file(
    name: str = "mine",
    *,
    title: str = "A title of its own",
    fault_class: str = "config_drift",
    symptom: str = "it does not work",
    errors: str = "gaierror",
    body: str = "## Repair\nReconcile it.\n",
) -> bytes:
    """Return the bytes of a valid runbook file."""
    head = HEAD.format(id=name, title=title, fault_class=fault_class, symptom=symptom, errors=errors)
    return (head + body).encode()


def document(name: str = "mine", **parts: str) -> Document:
    """Return a runbook as it is stored."""
    return of_runbook(parse(runbook_file(name, **parts), "test"))


def incident(
    name: str = "inc-1",
    *,
    seq: int = 10,
    text: str = "it is broken",
    looked: Mapping[str, float] | None = None,
    **symptoms: float,
) -> Document:
    """Return a past incident as it is stored; it `looked` so, or as the names of symptoms say, `__` for a colon."""
    return of_incident(
        Repaired(
            incident=name,
            journal_seq=seq,
            text=text,
            target="orders",
            fault_class="config_drift",
            actions=(("reconcile", "orders", {}),),
            symptoms=looked or {key.replace("__", ":"): weight for key, weight in symptoms.items()},
        )
    )


def repaired_messages(
    incident_: str = "inc1", *, verdict: IncidentVerdict = "verified", text: str = "checkout is dead"
) -> list[tuple[Role, Contract, float]]:
    """Return an incident from its signs to its end: who says what, seconds after the first."""
    attempt: dict[str, Any] = {"incident": incident_, "version": 1, "attempt": 1}
    plan = Plan(
        plan_id="00000000-0000-0000-0000-000000000001",
        root_goal="mend orders",
        created_at=datetime.fromtimestamp(START_US / 1e6, UTC),
        plan_version=1,
        hypothesis=Hypothesis(target="orders", fault_class="config_drift", confidence=0.9),
        tasks=(PlanTask(task_id="t2", type="reconcile", target="orders", assigned_to="ActionAgent"),),
    )
    head: dict[str, Any] = {"incident": incident_, "task_id": "v1-t2", "attempt": 1, "kind": "action"}
    order = Task(
        **head, type="reconcile", target="orders", args={}, plan_version=1, risk="risky", timeout_s=30.0, timer_id="x"
    )
    done = Result(**head, instance="action-agent-1", status="OK", out="orders was brought back", changed=True)
    closed = IncidentClosed(incident=incident_, verdict=verdict, reason="symptoms gone", plan_version=1, actions=1)
    return [
        ("sensors", _telemetry("shop-cache", error_code="TooEarly"), 0.0),
        ("sensors", _telemetry("orders", error_code="gaierror", note="shop-db=gaierror"), 20.0),
        ("operator", IncidentReported(incident=incident_, text=text, source="operator"), 22.0),
        ("sensors", _telemetry("orders", error_code="gaierror", note="shop-db=gaierror"), 23.0),
        ("sensors", _telemetry("catalog", status="OK"), 23.5),
        ("planner", PlanProposed(**attempt, plan=plan, origin="rulebook", decision_tag="DETERMINISTIC"), 24.0),
        ("scheduler", PlanAccepted(**attempt, plan_id=plan.plan_id, order=(("t2",),)), 24.1),
        ("scheduler", order, 24.2),
        ("sensors", _telemetry("catalog", error_code="DuringRepair"), 25.0),
        ("action", done, 26.0),
        ("scheduler", closed, 32.0),
    ]


def _telemetry(
    device: str, *, status: Status = "ERROR", error_code: str | None = None, note: str | None = None
) -> Telemetry:
    return Telemetry(
        device_id=device,
        timestamp=datetime.fromtimestamp(START_US / 1e6, UTC),
        status=status,
        metrics=Metrics(cpu_load=0.1, mem_usage=1e6, latency_ms=2.0),
        error_code=error_code,
        note=note,
    )


async def audit(dsn: str, *incidents: list[tuple[Role, Contract, float]]) -> None:
    """Fill an empty audit database with incidents, an hour between two; its schema is there."""
    said = [
        Stored(0, START_US + int(1e6 * (3_600 * number + second)), message.subject(), sealed(role)(message))
        for number, messages in enumerate(incidents)
        for role, message, second in messages
    ]
    rows, _ = chain([replace(stored, seq=seq) for seq, stored in enumerate(said, 1)])
    facts = []
    for row in rows:
        frame = open_frame(row.envelope)
        fact = project(row.journal_seq, row.time_us, CONTRACTS[frame.type].decode(frame.payload))
        facts += [fact] if fact else []
    store = AuditStore(dsn)
    await store.append(EMPTY, Batch(tuple(rows), tuple(facts)))
    await store.close()
