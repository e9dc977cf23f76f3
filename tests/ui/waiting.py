"""Incidents that need a person: one whose approval nobody gave in time, and one that waits, with a hostile text."""

from __future__ import annotations

from hashlib import sha256

from broker.contracts.control import ApprovalExpired, ApprovalRequested
from broker.contracts.incident import IncidentAnswered, IncidentAsked, IncidentClosed, IncidentReported
from broker.contracts.plan import Hypothesis, PlanRejected, PlanRequested, Reason
from tests.ui.journal import Story
from tests.ui.sayings import accepted, done, plan_of, proposed, task

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script> catalog is slow!!'
WAIT_S = 300.0
QUESTION = "Since when is it slow?"
SLOW = Hypothesis(
    target="catalog", fault_class="process_hung", confidence=0.55, evidence=("catalog does not answer within 800 ms",)
)
VAGUE = plan_of(1, SLOW, task("t1", "check_logs", "catalogue", pattern="x"), question=QUESTION)
GOOD = plan_of(
    1,
    SLOW,
    task("t1", "check_metrics", "catalog", metric="latency_ms", lookback="5m"),
    task("t2", "restart", "catalog", "t1"),
    task("t3", "check_health", "catalog", "t2"),
)
FULL = Hypothesis(target="shop-cache", fault_class="cache_poison", confidence=0.61)
CLEAR = plan_of(1, FULL, task("t1", "flush_cache", "shop-cache"))


def unapproved(story: Story, incident: str) -> None:
    """Tell of a step that nobody decided on: it was not carried out, and the incident was given up."""
    story.say(IncidentReported(incident=incident, text="prices look old", source="operator"), "operator", "cli")
    story.say(PlanRequested(incident=incident, version=1, attempt=1, text="prices look old"), "scheduler")
    proposed(story, incident, CLEAR)
    accepted(story, incident, CLEAR)
    asks = _asks(incident, "v1-t1", "flush_cache", "shop-cache", "this stack acts only with approval", wait_s=10.0)
    story.say(asks, "scheduler")
    story.wait(10_000)
    over = ApprovalExpired(
        incident=incident,
        task_id=asks.task_id,
        binding=asks.binding,
        action=asks.action,
        target=asks.target,
        wait_s=10.0,
    )
    story.say(over, "scheduler")
    end = IncidentClosed(
        incident=incident,
        verdict="unresolved",
        reason="nobody decided on v1-t1 within 10 s",
        plan_version=1,
        actions=0,
        unapproved=(asks.task_id,),
    )
    story.say(end, "scheduler")


def waiting(story: Story, incident: str) -> None:
    """Tell how a model's first plan was refused, its question answered, and its second waits for an approval."""
    story.say(IncidentReported(incident=incident, text=HOSTILE, source="operator"), "operator", "cli")
    story.say(PlanRequested(incident=incident, version=1, attempt=1, text=HOSTILE), "scheduler")
    proposed(story, incident, VAGUE, llm=True)
    unknown = Reason(code="unknown-target", detail="there is no device catalogue; did it mean catalog?")
    refused = PlanRejected(incident=incident, version=1, attempt=1, plan_id=VAGUE.plan_id, reasons=(unknown,))
    story.say(refused, "scheduler")
    _asked_and_answered(story, incident)
    story.say(PlanRequested(incident=incident, version=1, attempt=2, text=HOSTILE), "scheduler")
    proposed(story, incident, GOOD, attempt=2, llm=True, mended=True)
    accepted(story, incident, GOOD, attempt=2)
    done(story, incident, GOOD, "t1", "metric-agent-1", "latency_ms rose from 3 to 812 within five minutes")
    why = "the plan was mended by code; restart is risky"
    story.say(_asks(incident, "v1-t2", "restart", "catalog", why, wait_s=WAIT_S), "scheduler")


def _asked_and_answered(story: Story, incident: str) -> None:
    question = IncidentAsked(
        incident=incident, n=1, question=QUESTION, version=1, attempt=1, plan_id=VAGUE.plan_id, wait_s=120.0
    )
    story.say(question, "scheduler")
    story.say(IncidentAnswered(incident=incident, n=1, text="since the deploy at ten"), "operator", "cli")


def _asks(incident: str, task_id: str, action: str, target: str, why: str, *, wait_s: float) -> ApprovalRequested:
    binding = sha256(f"{action} {target}".encode()).hexdigest()
    return ApprovalRequested(
        incident=incident, task_id=task_id, binding=binding, action=action, target=target, why=why, wait_s=wait_s
    )
