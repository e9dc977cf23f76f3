"""The beginning of an incident, what the monitor says of it, and its end."""

from __future__ import annotations

from broker.contracts.incident import IncidentClosed, IncidentReported
from broker.contracts.machine import Command, Publish
from broker.contracts.monitor import Deviation, Verified
from scheduler_svc.core import asking
from scheduler_svc.core.state import MAX_CLOSED, MAX_DEVIATIONS, Closed, Incident, SchedulerState, clip
from scheduler_svc.core.turn import Change, Turn, cancel

KNOWN_ALREADY = frozenset({"verification_failed", "task_failed"})
"""Deviations that repeat what a verdict or a result has said to the scheduler itself."""


def on_reported(
    turn: Turn, state: SchedulerState, reported: IncidentReported
) -> tuple[SchedulerState, tuple[Command, ...]]:
    """Open the incident and ask for a plan; while another one is open, merge it into that one.

    One incident at a time: two plans at once would act on one world without knowing of each other.
    """
    name, active = reported.incident, state.active
    if any(closed.incident == name for closed in state.closed) or (active and active.incident == name):
        return state, ()
    if active is None:
        opened, said = asking.ask(turn, Incident(incident=name, text=reported.text))
        return settle(state, opened), said
    merged = IncidentClosed(
        incident=name,
        verdict="merged",
        reason=f"reported while {active.incident} was open",
        plan_version=0,
        actions=0,
        merged_into=active.incident,
    )
    return remember(state, Closed(incident=name, verdict="merged")), (Publish(merged),)


def settle(state: SchedulerState, change: Incident | Closed) -> SchedulerState:
    """Return the state with what has become of the open incident."""
    if isinstance(change, Incident):
        return state.model_copy(update={"active": change})
    return remember(state.model_copy(update={"active": None}), change)


def remember(state: SchedulerState, closed: Closed) -> SchedulerState:
    """Return the state with one more closed incident; the oldest ones are forgotten."""
    return state.model_copy(update={"closed": (*state.closed, closed)[-MAX_CLOSED:]})


def on_deviation(_turn: Turn, incident: Incident, deviation: Deviation) -> Change:
    """Keep it for the next replan."""
    if deviation.kind in KNOWN_ALREADY:
        return incident, ()
    sentence = clip(f"{deviation.kind} on {deviation.device}: {deviation.detail}")
    if sentence in incident.deviations:
        return incident, ()
    kept = (*incident.deviations, sentence)[-MAX_DEVIATIONS:]
    return incident.model_copy(update={"deviations": kept}), ()


def on_verified(turn: Turn, incident: Incident, verified: Verified) -> Change:
    """Close after a good check of the plan that was carried out last; replan after a bad one."""
    if incident.phase != "verifying" or verified.plan_version != incident.version:
        return incident, ()
    stop = cancel(incident.timer_id)
    checked = incident.model_copy(update={"timer_id": ""})
    change, said = _good(checked, verified) if verified.ok else _bad(turn, checked, "; ".join(verified.reasons))
    return change, said + stop


def on_verify_timeout(turn: Turn, incident: Incident) -> Change:
    """No verdict counts as a bad one: nothing is called repaired that nobody has seen."""
    return _bad(turn, incident, f"no verdict within {turn.config.verify_timeout_s:g} s")


def _good(incident: Incident, verified: Verified) -> Change:
    seen = f"the objective was met for {verified.window_s:g} s, plan version {incident.version}"
    if not incident.actions:
        # Whatever was suspected, no confirmation held: what is well without a repair was not repaired.
        return asking.close(incident, "no_fault", f"nothing deviates and nothing was done; {seen}")
    return asking.close(incident, "verified", seen)


def _bad(turn: Turn, incident: Incident, why: str) -> Change:
    sentence = f"check of plan version {incident.version} failed: {why or 'no reason was given'}"
    noted = asking.with_failure(incident, sentence)
    if incident.commitment is not None:
        noted = asking.with_tried(turn, noted, incident.commitment, sentence)
    return asking.replan(turn, noted)
