"""Asking the planner, and giving up: what every other part ends in when the committed plan did not do."""

from __future__ import annotations

from broker.contracts.incident import IncidentClosed, IncidentVerdict
from broker.contracts.machine import Command, Publish
from broker.contracts.plan import PlanRequested, Reason, Tried
from scheduler_svc.core import repeat
from scheduler_svc.core.state import MAX_FAILURES, Closed, Commitment, Incident, clip
from scheduler_svc.core.turn import Change, Turn, cancel


def ask(turn: Turn, incident: Incident) -> Change:
    """Ask for the next attempt of the version after the committed one, with everything a replan has to know."""
    version, attempts = incident.version + 1, incident.asked
    attempt = attempts[-1] + 1 if len(attempts) == version else 1
    rulebook_only = incident.refusals >= turn.config.max_refusals or incident.unanswered
    request = PlanRequested(
        incident=incident.incident,
        version=version,
        attempt=attempt,
        text=incident.text,
        tried=incident.tried,
        failures=incident.failures + incident.deviations if incident.version else (),
        rejected=incident.rejected,
        rulebook_only=rulebook_only,
        dialogue=incident.dialogue,
    )
    timer = turn.timer("planning-timeout", turn.config.planning_timeout_s, incident.incident, f"v{version}", attempt)
    asked = (*attempts[: version - 1], attempt)
    changed = {"phase": "planning", "asked": asked, "rulebook_only": rulebook_only, "timer_id": timer.timer.timer_id}
    return incident.model_copy(update=changed), (Publish(request), timer)


def ask_again(turn: Turn, incident: Incident, rejected: tuple[Reason, ...]) -> Change:
    """After a refused or missing plan: ask once more, or give the incident up when the rulebook had its turn.

    A plan refused as flapping is asked again only when the window has gone by: anti-flap slows the loop, and never
    makes a sound plan impossible.
    """
    flapping = any(one.code == "flapping" for one in rejected)
    rulebook_had_its_turn = incident.rulebook_only and not flapping
    last_attempt = turn.config.max_refusals + 3 + len(incident.dialogue)
    if rulebook_had_its_turn or incident.asked[-1] >= last_attempt:
        return give_up(turn, incident, f"no plan: {rejected[0].detail}" if rejected else "no plan")
    again = incident.model_copy(update={"refusals": incident.refusals + 1, "rejected": rejected})
    if not flapping:
        return ask(turn, again)
    scope, number = f"v{incident.version + 1}", incident.asked[-1]
    timer = turn.timer("replan-wait", turn.config.anti_flap_s, incident.incident, scope, number)
    return again.model_copy(update={"timer_id": timer.timer.timer_id}), (timer,)


def replan(turn: Turn, incident: Incident) -> Change:
    """The committed plan failed: ask for the next version, or give up after the last one allowed."""
    if incident.version >= turn.config.max_plan_versions:
        last = incident.failures[-1] if incident.failures else "the plan failed"
        return give_up(turn, incident, f"{incident.version} plans did not help; last: {last}")
    return ask(turn, incident)


def give_up(turn: Turn, incident: Incident, why: str) -> Change:
    """Close as unresolved: people must look. What nobody approved comes first: it may have been the repair."""
    if incident.unapproved:
        why = f"nobody decided in time on {', '.join(incident.unapproved)}; {why}"
    return close(incident, "unresolved", why)


def close(incident: Incident, verdict: IncidentVerdict, why: str) -> Change:
    """Close the incident. No task of it runs any more: every caller has let them end first."""
    said: tuple[Command, ...] = (
        Publish(
            IncidentClosed(
                incident=incident.incident,
                verdict=verdict,
                reason=clip(why),
                plan_version=incident.version,
                actions=incident.actions,
                unapproved=incident.unapproved,
            )
        ),
    )
    return Closed(incident=incident.incident, verdict=verdict), said + cancel(incident.timer_id)


def with_failure(incident: Incident, sentence: str) -> Incident:
    """Return the incident with one more sentence of failure context; the oldest ones go first."""
    return incident.model_copy(update={"failures": (*incident.failures, clip(sentence))[-MAX_FAILURES:]})


def with_tried(turn: Turn, incident: Incident, commitment: Commitment, outcome: str) -> Incident:
    """Return the incident with the committed plan's hypothesis counted as tried; one plan counts once."""
    if not turn.config.remembers_failed:
        tried = Tried(hypothesis=commitment.hypothesis, outcome=clip(outcome))
        return incident.model_copy(update={"tried": (*incident.tried, tried)})
    well = repeat.well_after(commitment) if turn.config.knows_relapses else ()
    tried = repeat.told(commitment, outcome, well)
    failed = tuple(dict.fromkeys((*incident.failed, *repeat.marks_of(commitment, well))))
    return incident.model_copy(update={"tried": (*incident.tried, tried), "failed": failed})
