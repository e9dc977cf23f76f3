"""Clarifying questions (spec 4, docs/adr/0013): asked once, waited for, answered or not.

A plan that asks is not carried out. Its question goes to the operator and the incident waits under a timer, in the
phase `planning`. The answer leads to the next attempt of the same version, which carries every question and answer;
silence leads to a request that only the rulebook answers, and to no further question in this incident.
"""

from __future__ import annotations

from broker.contracts.incident import IncidentAnswered, IncidentAsked
from broker.contracts.machine import Publish
from broker.contracts.plan import Exchange, PlanProposed, Reason
from scheduler_svc.core import asking, validate
from scheduler_svc.core.state import Incident, clip
from scheduler_svc.core.turn import Change, Turn, cancel

MAX_ANSWER = 1_000
"""Characters of an answer that the planner is told."""


def may_ask(turn: Turn, incident: Incident, proposal: PlanProposed) -> bool:
    """Tell whether the plan asks something that the operator is to be asked."""
    return proposal.plan.clarifying_task is not None and why_not(turn, incident, proposal) is None


def why_not(turn: Turn, incident: Incident, proposal: PlanProposed) -> Reason | None:
    """Return why the plan's question is not passed on, or None."""
    asks = proposal.plan.clarifying_task
    if asks is None:
        return None
    asked, limit = incident.dialogue, turn.config.max_questions
    if len(asked) >= limit:
        return validate.reason("no_more_questions", f"an incident may ask {limit} questions, {len(asked)} were asked")
    if any(one.answer is None for one in asked):
        return validate.reason("no_more_questions", "nobody answered the question before")
    if any(_same(one.question, asks.question) for one in asked):
        return validate.reason("asked_before", f"the operator has answered this already: {asks.question[:60]!r}")
    if incident.rulebook_only:
        return validate.reason("no_more_questions", "the rulebook was asked, and it does not ask back")
    return None


def pose(turn: Turn, incident: Incident, proposal: PlanProposed) -> Change:
    """Ask the operator, and wait under a timer instead of the planning one."""
    asks = proposal.plan.clarifying_task
    if asks is None:
        return incident, ()
    number = len(incident.dialogue) + 1
    wait_s = turn.config.question_timeout_s
    message = IncidentAsked(
        incident=incident.incident,
        n=number,
        question=asks.question,
        version=proposal.version,
        attempt=proposal.attempt,
        plan_id=proposal.plan.plan_id,
        wait_s=wait_s,
    )
    timer = turn.timer("question-timeout", wait_s, incident.incident, "question", number)
    changed = {
        "dialogue": (*incident.dialogue, Exchange(question=asks.question)),
        "open_question": number,
        "timer_id": timer.timer.timer_id,
    }
    stop = cancel(incident.timer_id)
    return incident.model_copy(update=changed), (Publish(message, proposal.decision_tag), timer, *stop)


def on_answered(turn: Turn, incident: Incident, answered: IncidentAnswered) -> Change:
    """Plan again with the answer; one that comes too late, or to no question, is counted and changes nothing."""
    if incident.open_question != answered.n or incident.phase != "planning":
        ignored = incident.ignored.model_copy(update={"answers": incident.ignored.answers + 1})
        return incident.model_copy(update={"ignored": ignored}), ()
    last = incident.dialogue[-1].model_copy(update={"answer": clip(answered.text, MAX_ANSWER)})
    changed = {"dialogue": (*incident.dialogue[:-1], last), "open_question": 0, "timer_id": ""}
    change, said = asking.ask(turn, incident.model_copy(update=changed))
    return change, said + cancel(incident.timer_id)


def on_question_timeout(turn: Turn, incident: Incident) -> Change:
    """Nobody answered: the rulebook goes on. With a proposal in hand that only the halt holds back, that one first."""
    waited = incident.model_copy(update={"open_question": 0, "unanswered": True, "timer_id": ""})
    return (waited, ()) if incident.held else asking.ask(turn, waited)


def _same(one: str, other: str) -> bool:
    return " ".join(one.casefold().split()) == " ".join(other.casefold().split())
