"""A journal as the stack would have written it: signed, chained, with everything in it that the page can show.

One incident went all the way (a model's plan, an agent lost in the middle, a failed check, a replan, a repair); another
one waits for a person, with a text that would be a script if anything took it for markup.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

from auditor_svc import chain
from broker.contracts.base import Contract, Scalar
from broker.contracts.control import ApprovalRequested, Checkpoint
from broker.contracts.incident import IncidentAnswered, IncidentAsked, IncidentClosed, IncidentReported
from broker.contracts.inventory import Inventory
from broker.contracts.monitor import AgentLost, AgentUp, Deviation, Verified
from broker.contracts.plan import (
    AgentKind,
    ChatMessage,
    ClarifyingTask,
    Condition,
    DecisionTag,
    Hypothesis,
    Plan,
    PlanAccepted,
    PlanAnswered,
    PlanExecuted,
    PlanPrompted,
    PlanProposed,
    PlanRejected,
    PlanRequested,
    PlanTask,
    Reason,
)
from broker.contracts.task import Claim, Result, Task
from broker.contracts.telemetry import Metrics, Status, Telemetry
from broker.envelope import Signer
from broker.errors import Refusal
from broker.gate import Gate
from broker.port import Stored
from broker.subjects import Role
from dashboard.api.core.entry import Entry
from dashboard.api.decode import entry_of, refused_entry
from services.inventory.declared import inventory
from tests.support.signing import gate, master

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script> catalog is slow!!'
AGENTS = ("log-agent-1", "log-agent-2", "metric-agent-1", "metric-agent-2", "action-agent-1", "action-agent-2")
ASKED_FOR = sha256(b"restart catalog").hexdigest()


def shop() -> Inventory:
    """Return what exists in the story."""
    return inventory(25_400, {"orders_db_password": "x", "catalog_db_password": "y"})


@dataclass
class Story:
    """The journal so far, and who may speak in it."""

    now_us: int
    rows: list[chain.Row] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    progress: chain.Progress = field(default_factory=chain.Progress)
    _gate: Gate = field(default_factory=lambda: gate("reader"))
    _signers: dict[str, Signer] = field(default_factory=dict)

    def wait(self, ms: float) -> None:
        """Let broker time pass."""
        self.now_us += int(ms * 1_000)

    def say(
        self, message: Contract, role: Role, instance: str | None = None, tag: DecisionTag = "DETERMINISTIC"
    ) -> Entry:
        """Let a role say a message now."""
        name = instance or f"{role}-1"
        signer = self._signers.setdefault(
            f"{role}/{name}", Signer(role, name, master().restricted_to(role), clock=lambda: self.now_us)
        )
        return self.store(message.subject(), signer.seal(message, tag=tag, cause=len(self.entries)))

    def store(self, subject: str, data: bytes) -> Entry:
        """Put bytes into the journal, whatever they are."""
        self.wait(1)
        stored = Stored(len(self.entries) + 1, self.now_us, subject, data)
        try:
            entry, verdict = entry_of(self._gate.admit(stored)), chain.ACCEPTED
        except Refusal as refusal:
            entry, verdict = refused_entry(stored, refusal.name, str(refusal)), refusal.name
        self.progress, row = chain.append(self.progress, stored, verdict)
        self.rows.append(row)
        self.entries.append(entry)
        return entry

    def telemetry(self, **sick: tuple[Status, str]) -> None:
        """Let every device be measured once; names of sick ones have `_` for `-`."""
        for device in shop().devices:
            status, error = sick.get(device.name.replace("-", "_"), ("OK", ""))
            good = {"OK": 1.0, "WARN": 0.93, "ERROR": 0.41}[status]
            serves = device.kind in ("service", "traffic")
            blamed = f"{device.depends_on[0]}={error}" if error and device.depends_on else None
            metrics = Metrics(
                cpu_load=0.12,
                mem_usage=48_000_000.0,
                latency_ms=3.2 if status == "OK" else 812.0,
                success_ratio=good if serves else None,
                request_rate=19.6 if serves else None,
            )
            at = datetime.fromtimestamp(self.now_us / 1e6, UTC)
            self.say(
                Telemetry(
                    device_id=device.name,
                    timestamp=at,
                    status=status,
                    metrics=metrics,
                    error_code=error or None,
                    log_sample=f"{error}: could not reach {device.depends_on[0]}" if blamed else None,
                    note=blamed,
                ),
                "sensors",
            )


def written(now_us: int) -> Story:
    """Return the story, ending now."""
    story = Story(now_us - 190_000_000)
    for number, agent in enumerate(AGENTS):
        story.say(AgentUp(instance=agent, role=agent.partition("-")[0], connection=number), "monitor")
    story.telemetry()
    story.wait(60_000)
    _repaired(story, "inc-a1")
    story.wait(40_000)
    story.store("triage.control.halt", b"\x81\xa1vno envelope at all")
    _waiting(story, "inc-b2")
    story.now_us = max(story.now_us, now_us - 1_500_000)
    story.telemetry(catalog=("ERROR", "ConnectionTimeout"), gateway=("WARN", ""), loadgen=("WARN", ""))
    return story


def task(name: str, kind: str, target: str, *after: str, when: Condition | None = None, **args: Scalar) -> PlanTask:
    """Return a task of a plan."""
    agent = {"check_logs": "LogAgent", "check_metrics": "MetricAgent"}.get(kind, "ActionAgent")
    return PlanTask(
        task_id=name,
        type=kind,
        target=target,
        args=args,
        dependencies=after,
        assigned_to=agent,
        estimated_cost_ms=200,
        when=when,
    )


def plan_of(version: int, hypothesis: Hypothesis, *tasks: PlanTask, question: str = "") -> Plan:
    """Return a plan."""
    return Plan(
        plan_id=f"00000000-0000-4000-8000-{version:012d}",
        root_goal=f"{hypothesis.target} answers its users again",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        plan_version=version,
        hypothesis=hypothesis,
        tasks=tasks,
        clarifying_task=ClarifyingTask(task_id="q1", question=question) if question else None,
    )


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


def _repaired(story: Story, incident: str) -> None:
    story.telemetry(orders=("ERROR", "gaierror"), gateway=("WARN", ""), loadgen=("WARN", ""))
    text = "cant place orders!! getting 500s since ten, db maybe??"
    story.say(IncidentReported(incident=incident, text=text, source="operator"), "operator", "cli")
    trigger = story.now_us
    story.say(
        Deviation(
            incident=incident,
            n=1,
            kind="objective_missed",
            device="loadgen",
            t_trigger_us=trigger,
            detail="good answers 41 % of 99 %",
        ),
        "monitor",
    )
    _asked_a_model(story, incident, text)
    first = plan_of(
        1,
        DRIFT,
        *LOOK,
        task("t3", "restart", "orders", "t1"),
        task("t4", "check_health", "orders", "t3", within_s=10.0),
    )
    _accepted(story, incident, 1, first, llm=True)
    _killed_in_the_middle(story, incident)
    _done(
        story,
        incident,
        1,
        "t2",
        "action",
        "action-agent-1",
        "check_config",
        "orders: SHOP_DB_HOST differs from the declaration",
    )
    _done(story, incident, 1, "t3", "action", "action-agent-2", "restart", "orders was restarted", changed=True)
    _done(
        story,
        incident,
        1,
        "t4",
        "action",
        "action-agent-1",
        "check_health",
        "orders is not healthy: gaierror",
        ok=False,
    )
    story.say(
        PlanExecuted(incident=incident, version=1, completed=("t1", "t2", "t3"), skipped=(), failed=("t4",), actions=1),
        "scheduler",
    )
    _checked(story, incident, 1, 1, ok=False)
    story.say(
        PlanRequested(incident=incident, version=2, attempt=1, text=text, failures=("t4 failed: gaierror",)),
        "scheduler",
    )
    story.wait(12)
    drifted = Condition(task_id="t2", field="drifted", equals=True)
    second = plan_of(
        2,
        DRIFT,
        LOOK[1].model_copy(update={"task_id": "t2"}),
        task("t3", "reconcile", "orders", "t2", when=drifted),
        task("t4", "check_health", "orders", "t3", within_s=10.0),
    )
    _accepted(story, incident, 2, second, llm=False)
    _done(story, incident, 2, "t2", "action", "action-agent-1", "check_config", "orders differs from its declaration")
    _done(
        story, incident, 2, "t3", "action", "action-agent-2", "reconcile", "orders is as declared again", changed=True
    )
    _done(story, incident, 2, "t4", "action", "action-agent-1", "check_health", "orders is healthy")
    story.telemetry()
    story.say(
        PlanExecuted(incident=incident, version=2, completed=("t2", "t3", "t4"), skipped=(), failed=(), actions=1),
        "scheduler",
    )
    _checked(story, incident, 2, 2, ok=True)
    story.say(
        IncidentClosed(
            incident=incident, verdict="verified", reason="symptoms gone, objective met", plan_version=2, actions=2
        ),
        "scheduler",
    )
    _sign(story)


def _asked_a_model(story: Story, incident: str, text: str) -> None:
    story.say(PlanRequested(incident=incident, version=1, attempt=1, text=text), "scheduler")
    messages = (
        ChatMessage(
            role="system",
            content="You are an incident triage planner. Choose a target and a fault class.\n" + "- rule\n" * 30,
        ),
        ChatMessage(role="user", content=f"Incident: {text}\nDeviating: orders ERROR gaierror"),
    )
    asked = PlanPrompted(
        incident=incident,
        version=1,
        attempt=1,
        messages=messages,
        prompt_hash=sha256(b"p").hexdigest(),
        template="hypothesis.v3",
    )
    story.say(asked, "planner", tag="LLM_DECISION")
    story.wait(1_840)
    response = '{"target":"orders","fault_class":"config_drift","confidence":0.82,"evidence":["gaierror"]}'
    story.say(
        PlanAnswered(
            incident=incident,
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
            template="hypothesis.v3",
            structured=True,
            finish_reason="stop",
        ),
        "planner",
        tag="LLM_DECISION",
    )


def _accepted(story: Story, incident: str, version: int, plan: Plan, *, llm: bool) -> None:
    tag: DecisionTag = "LLM_DECISION" if llm else "DETERMINISTIC"
    repairs = ("confidence was text and is a number now",) if llm else ()
    story.say(
        PlanProposed(
            incident=incident,
            version=version,
            attempt=1,
            plan=plan,
            origin="llm" if llm else "rulebook",
            decision_tag=tag,
            repairs=repairs,
        ),
        "planner",
        tag=tag,
    )
    order = tuple((item.task_id,) for item in plan.tasks)
    story.say(
        PlanAccepted(incident=incident, version=version, attempt=1, plan_id=plan.plan_id, order=order), "scheduler"
    )


def _order(
    story: Story, incident: str, version: int, name: str, kind: AgentKind, type_: str, target: str = "orders"
) -> Task:
    order = Task(
        incident=incident,
        task_id=f"v{version}-{name}",
        attempt=1,
        kind=kind,
        type=type_,
        target=target,
        args={},
        plan_version=version,
        risk="risky" if type_ in ("restart", "reconcile") else "read",
        timeout_s=30.0,
        timer_id="x",
    )
    story.say(order, "scheduler")
    return order


def claim(story: Story, order: Task, agent: str) -> Entry:
    """Let an agent take a task."""
    story.wait(2)
    taken = Claim(
        incident=order.incident,
        task_id=order.task_id,
        attempt=1,
        kind=order.kind,
        instance=agent,
        task_seq=1,
        delivery="$JS.ACK.x",
    )
    return story.say(taken, order.kind, agent)


def finish(story: Story, order: Task, agent: str, out: str, *, ok: bool = True, changed: bool = False) -> Entry:
    """Let an agent give a task's result."""
    story.wait(180)
    return story.say(
        Result(
            incident=order.incident,
            task_id=order.task_id,
            attempt=1,
            kind=order.kind,
            instance=agent,
            status="OK" if ok else "FAIL",
            out=out,
            evidence=("socket.gaierror: [Errno -2] Name or service not known", "orders 500 POST /orders"),
            changed=changed,
            elapsed_ms=178.0,
            error_code=None if ok else "gaierror",
        ),
        order.kind,
        agent,
    )


def _done(
    story: Story,
    incident: str,
    version: int,
    name: str,
    kind: AgentKind,
    agent: str,
    type_: str,
    out: str,
    *,
    ok: bool = True,
    changed: bool = False,
) -> None:
    order = _order(story, incident, version, name, kind, type_)
    claim(story, order, agent)
    finish(story, order, agent, out, ok=ok, changed=changed)


def _killed_in_the_middle(story: Story, incident: str) -> None:
    order = _order(story, incident, 1, "t1", "log", "check_logs")
    claim(story, order, "log-agent-1")
    story.wait(90)
    story.say(
        AgentLost(
            instance="log-agent-1", role="log", connection=0, reason="Client Closed", handed_on=(order.subject(),)
        ),
        "monitor",
    )
    claim(story, order, "log-agent-2")
    finish(story, order, "log-agent-2", "14 lines match; the newest: could not translate host name")
    story.say(AgentUp(instance="log-agent-1", role="log", connection=9), "monitor")


def _checked(story: Story, incident: str, n: int, version: int, *, ok: bool) -> None:
    story.wait(5_200)
    reasons = (
        ("users' requests were answered well for the whole window", "orders is healthy")
        if ok
        else ("orders still fails: gaierror",)
    )
    story.say(
        Verified(
            incident=incident,
            n=n,
            plan_version=version,
            ok=ok,
            reasons=reasons,
            window_s=5.0,
            samples=5,
            success_ratio=1.0 if ok else 0.43,
        ),
        "monitor",
    )


def _sign(story: Story) -> None:
    seed = master().checkpoint_seed
    assert seed is not None
    story.progress, point = chain.checkpoint(story.progress, chain.signer(seed))
    assert isinstance(point, Checkpoint)
    story.say(point, "auditor")


def _waiting(story: Story, incident: str) -> None:
    story.say(IncidentReported(incident=incident, text=HOSTILE, source="operator"), "operator", "cli")
    story.say(PlanRequested(incident=incident, version=1, attempt=1, text=HOSTILE), "scheduler")
    slow = Hypothesis(
        target="catalog",
        fault_class="process_hung",
        confidence=0.55,
        evidence=("catalog does not answer within 800 ms",),
    )
    vague = plan_of(1, slow, task("t1", "check_logs", "catalogue", pattern="x"), question="Since when is it slow?")
    story.say(
        PlanProposed(incident=incident, version=1, attempt=1, plan=vague, origin="llm", decision_tag="LLM_DECISION"),
        "planner",
        tag="LLM_DECISION",
    )
    unknown = Reason(code="unknown-target", detail="there is no device catalogue; did it mean catalog?")
    story.say(
        PlanRejected(incident=incident, version=1, attempt=1, plan_id=vague.plan_id, reasons=(unknown,)), "scheduler"
    )
    question = IncidentAsked(
        incident=incident,
        n=1,
        question="Since when is it slow?",
        version=1,
        attempt=1,
        plan_id=vague.plan_id,
        wait_s=120.0,
    )
    story.say(question, "scheduler")
    story.say(IncidentAnswered(incident=incident, n=1, text="since the deploy at ten"), "operator", "cli")
    story.say(PlanRequested(incident=incident, version=1, attempt=2, text=HOSTILE), "scheduler")
    good = plan_of(
        1,
        slow,
        task("t1", "check_metrics", "catalog", metric="latency_ms", lookback="5m"),
        task("t2", "restart", "catalog", "t1"),
        task("t3", "check_health", "catalog", "t2"),
    )
    story.say(
        PlanProposed(
            incident=incident, version=1, attempt=2, plan=good, origin="llm", decision_tag="LLM_DECISION", mended=True
        ),
        "planner",
        tag="LLM_DECISION",
    )
    order = (("t1",), ("t2",), ("t3",))
    story.say(PlanAccepted(incident=incident, version=1, attempt=2, plan_id=good.plan_id, order=order), "scheduler")
    looked = _order(story, incident, 1, "t1", "metric", "check_metrics", "catalog")
    claim(story, looked, "metric-agent-1")
    finish(story, looked, "metric-agent-1", "latency_ms rose from 3 to 812 within five minutes")
    story.say(
        ApprovalRequested(
            incident=incident,
            task_id="v1-t2",
            binding=ASKED_FOR,
            action="restart",
            target="catalog",
            why="the plan was mended by code; restart is risky",
        ),
        "scheduler",
    )
