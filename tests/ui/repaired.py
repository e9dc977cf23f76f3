"""The incident that went all the way: a model's plan, an agent lost, a failed check, a replan, a repair."""

from __future__ import annotations

from hashlib import sha256

from auditor_svc import chain
from broker.contracts.control import Checkpoint
from broker.contracts.incident import IncidentClosed, IncidentReported
from broker.contracts.monitor import AgentLost, AgentUp, Deviation
from broker.contracts.plan import (
    ChatMessage,
    Condition,
    Hypothesis,
    Plan,
    PlanAnswered,
    PlanExecuted,
    PlanPrompted,
    PlanRequested,
)
from tests.support.signing import master
from tests.ui.journal import Story
from tests.ui.sayings import accepted, checked, claim, done, finish, ordered, plan_of, proposed, task

TEXT = "cant place orders!! getting 500s since ten, db maybe??"
DRIFT = Hypothesis(
    target="orders",
    fault_class="config_drift",
    confidence=0.82,
    evidence=("orders blames shop-db: gaierror", "users: 41 % of the requests are answered well"),
)
LOOK = (
    task("t1", "check_logs", "orders", pattern="gaierror|could not translate", lookback="5m"),
    task("t2", "check_config", "orders"),
)
RESTART = plan_of(
    1, DRIFT, *LOOK, task("t3", "restart", "orders", "t1"), task("t4", "check_health", "orders", "t3", within_s=10.0)
)
RECONCILE = plan_of(
    2,
    DRIFT,
    LOOK[1],
    task("t3", "reconcile", "orders", "t2", when=Condition(task_id="t2", field="drifted", equals=True)),
    task("t4", "check_health", "orders", "t3", within_s=10.0),
)


def repaired(story: Story, incident: str) -> None:
    """Tell it from the first bad answer to the signed end."""
    _reported(story, incident)
    _asked_a_model(story, incident)
    _restarted_in_vain(story, incident)
    _reconciled(story, incident)
    end = IncidentClosed(
        incident=incident, verdict="verified", reason="symptoms gone, objective met", plan_version=2, actions=2
    )
    story.say(end, "scheduler")
    _sign(story)


def _reported(story: Story, incident: str) -> None:
    story.telemetry(orders=("ERROR", "gaierror"), gateway=("WARN", ""), loadgen=("WARN", ""))
    story.say(IncidentReported(incident=incident, text=TEXT, source="operator"), "operator", "cli")
    missed = Deviation(
        incident=incident,
        n=1,
        kind="objective_missed",
        device="loadgen",
        t_trigger_us=story.now_us,
        detail="good answers 41 % of 99 %",
    )
    story.say(missed, "monitor")


def _asked_a_model(story: Story, incident: str) -> None:
    story.say(PlanRequested(incident=incident, version=1, attempt=1, text=TEXT), "scheduler")
    asked = _prompt(incident)
    story.say(asked, "planner", tag="LLM_DECISION")
    story.wait(1_840)
    story.say(_answer(asked), "planner", tag="LLM_DECISION")


def _prompt(incident: str) -> PlanPrompted:
    rules = "You are an incident triage planner. Choose a target and a fault class.\n" + "- rule\n" * 30
    return PlanPrompted(
        incident=incident,
        version=1,
        attempt=1,
        messages=(
            ChatMessage(role="system", content=rules),
            ChatMessage(role="user", content=f"Incident: {TEXT}\nDeviating: orders ERROR gaierror"),
        ),
        prompt_hash=sha256(b"p").hexdigest(),
        template="hypothesis.v3",
    )


def _answer(asked: PlanPrompted) -> PlanAnswered:
    response = '{"target":"orders","fault_class":"config_drift","confidence":0.82,"evidence":["gaierror"]}'
    return PlanAnswered(
        incident=asked.incident,
        version=1,
        attempt=1,
        outcome="ok",
        response=response,
        prompt_hash=asked.prompt_hash,
        response_hash=sha256(response.encode()).hexdigest(),
        model="qwen2.5-7b-instruct",
        settings={"temperature": 0.0, "seed": 7},
        prompt_tokens=1_412,
        completion_tokens=61,
        elapsed_ms=1_838.2,
        template=asked.template,
        structured=True,
        finish_reason="stop",
    )


def _restarted_in_vain(story: Story, incident: str) -> None:
    proposed(story, incident, RESTART, llm=True, repairs=("confidence was text and is a number now",))
    accepted(story, incident, RESTART)
    _killed_in_the_middle(story, incident)
    drifted = "orders: SHOP_DB_HOST differs from the declaration"
    done(story, incident, RESTART, "t2", "action-agent-1", drifted)
    done(story, incident, RESTART, "t3", "action-agent-2", "orders was restarted")
    done(story, incident, RESTART, "t4", "action-agent-1", "orders is not healthy: gaierror", ok=False)
    _executed(story, incident, RESTART, failed=("t4",))
    checked(story, incident, 1, 1, ok=False)
    again = PlanRequested(incident=incident, version=2, attempt=1, text=TEXT, failures=("t4 failed: gaierror",))
    story.say(again, "scheduler")
    story.wait(12)


def _reconciled(story: Story, incident: str) -> None:
    proposed(story, incident, RECONCILE)
    accepted(story, incident, RECONCILE)
    done(story, incident, RECONCILE, "t2", "action-agent-1", "orders differs from its declaration")
    done(story, incident, RECONCILE, "t3", "action-agent-2", "orders is as declared again")
    done(story, incident, RECONCILE, "t4", "action-agent-1", "orders is healthy")
    story.telemetry()
    _executed(story, incident, RECONCILE)
    checked(story, incident, 2, 2, ok=True)


def _executed(story: Story, incident: str, plan: Plan, failed: tuple[str, ...] = ()) -> None:
    completed = tuple(item.task_id for item in plan.tasks if item.task_id not in failed)
    end = PlanExecuted(
        incident=incident, version=plan.plan_version, completed=completed, skipped=(), failed=failed, actions=1
    )
    story.say(end, "scheduler")


def _killed_in_the_middle(story: Story, incident: str) -> None:
    order = ordered(story, incident, 1, LOOK[0])
    claim(story, order, "log-agent-1")
    story.wait(90)
    lost = AgentLost(
        instance="log-agent-1", role="log", connection=0, reason="Client Closed", handed_on=(order.subject(),)
    )
    story.say(lost, "monitor")
    claim(story, order, "log-agent-2")
    finish(story, order, "log-agent-2", "14 lines match; the newest: could not translate host name")
    story.say(AgentUp(instance="log-agent-1", role="log", connection=9), "monitor")


def _sign(story: Story) -> None:
    seed = master().checkpoint_seed
    assert seed is not None
    story.progress, point = chain.checkpoint(story.progress, chain.signer(seed))
    assert isinstance(point, Checkpoint)
    story.say(point, "auditor")
