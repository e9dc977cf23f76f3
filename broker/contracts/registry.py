"""Every message type by its name in the envelope."""

from __future__ import annotations

from broker.contracts import control, incident, monitor, plan, task, telemetry
from broker.contracts.base import Contract

CONTRACTS: dict[str, type[Contract]] = {
    contract.TYPE: contract
    for contract in (
        incident.IncidentReported,
        incident.IncidentAsked,
        incident.IncidentAnswered,
        incident.IncidentClosed,
        telemetry.Telemetry,
        plan.PlanRequested,
        plan.PlanPrompted,
        plan.PlanAnswered,
        plan.PlanProposed,
        plan.PlanAccepted,
        plan.PlanRejected,
        plan.PlanExecuted,
        task.Task,
        task.Claim,
        task.Result,
        task.DeadLetter,
        monitor.Deviation,
        monitor.Verified,
        monitor.AgentUp,
        monitor.AgentLost,
        control.Halt,
        control.Resume,
        control.Rotate,
        control.Takeover,
        control.ApprovalRequested,
        control.ApprovalGranted,
        control.ApprovalDenied,
        control.ApprovalExpired,
        control.Timer,
        control.Checkpoint,
    )
}
