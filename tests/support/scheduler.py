"""A scheduler machine under test: tell it messages, look at what it says, every invariant checked after each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

from broker.contracts.base import Contract, Scalar
from broker.contracts.control import Halt, Resume, Timer
from broker.contracts.incident import IncidentReported
from broker.contracts.inventory import Device, Inventory
from broker.contracts.machine import Command, Event, Publish, SetTimer
from broker.contracts.monitor import Verified
from broker.contracts.plan import Condition, Hypothesis, Plan, PlanProposed, PlanTask
from broker.contracts.task import Result, Task
from scheduler_svc.core.config import SchedulerConfig
from scheduler_svc.core.invariants import enforce
from scheduler_svc.core.machine import SchedulerMachine
from scheduler_svc.core.state import Incident, SchedulerState

START_US = 1_800_000_000_000_000
INCIDENT = "inc-1"

INVENTORY = Inventory(
    devices=(
        Device(name="shop-db", kind="database", managed=True, probe="postgres", host="127.0.0.1", port=1),
        Device(
            name="shop-cache",
            kind="cache",
            managed=True,
            probe="valkey",
            host="127.0.0.1",
            port=2,
            cache_prefix="catalog:",
        ),
        Device(
            name="orders",
            kind="service",
            managed=True,
            depends_on=("shop-db",),
            probe="http",
            host="127.0.0.1",
            port=3,
        ),
        Device(
            name="loadgen",
            kind="traffic",
            managed=False,
            depends_on=("orders",),
            probe="traffic",
            host="127.0.0.1",
            port=4,
        ),
    )
)

MessageT = TypeVar("MessageT", bound=Contract)

AGENT_OF = {"check_logs": "LogAgent", "check_metrics": "MetricAgent"}


def config(**changes: Any) -> SchedulerConfig:
    """Return a configuration with the tests' inventory."""
    return SchedulerConfig(inventory=INVENTORY, **changes)


def task(
    name: str,
    type_: str = "check_config",
    target: str = "orders",
    after: tuple[str, ...] = (),
    when: Condition | None = None,
    agent: str | None = None,
    **args: Scalar,
) -> PlanTask:
    """Return a plan's task, given to the agent the catalogue names."""
    assigned = agent or AGENT_OF.get(type_, "ActionAgent")
    return PlanTask(
        task_id=name, type=type_, target=target, args=args, dependencies=after, assigned_to=assigned, when=when
    )


LOOK_ACT = (
    task("t1"),
    task("t2", "reconcile", after=("t1",), when=Condition(task_id="t1", field="drifted", equals=True)),
    task("t3", "check_health", after=("t2",)),
)
"""Look, act if the look says so, look again: the shape of most plans."""


def plan(*tasks: PlanTask, version: int = 1, number: int = 1, fault_class: str = "config_drift") -> Plan:
    """Return a plan; `number` makes its id, and ids sort by it."""
    return Plan(
        plan_id=f"00000000-0000-0000-0000-{number:012x}",
        root_goal="orders answers again",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        plan_version=version,
        hypothesis=Hypothesis.model_validate({"target": "orders", "fault_class": fault_class, "confidence": 0.8}),
        tasks=tasks,
    )


def proposed(given: Plan, attempt: int = 1, incident: str = INCIDENT, origin: str = "rulebook") -> PlanProposed:
    """Return the proposal of a plan for the version that the plan names."""
    return PlanProposed.model_validate(
        {
            "incident": incident,
            "version": given.plan_version,
            "attempt": attempt,
            "plan": given,
            "origin": origin,
            "decision_tag": "LLM_DECISION" if origin == "llm" else "DETERMINISTIC",
        }
    )


def result(order: Task, status: str = "OK", code: str | None = None, changed: bool = False, **meta: Scalar) -> Result:
    """Return an agent's answer to an order."""
    return Result.model_validate(
        {
            "incident": order.incident,
            "task_id": order.task_id,
            "attempt": order.attempt,
            "kind": order.kind,
            "instance": "agent-1",
            "status": status,
            "out": "seen" if status == "OK" else "broken",
            "meta": meta,
            "error_code": code,
            "changed": changed,
        }
    )


def reported(incident: str = INCIDENT, text: str = "orders fail") -> IncidentReported:
    """Return an operator's report."""
    return IncidentReported(incident=incident, text=text, source="operator")


def verified(version: int, ok: bool, n: int = 1, incident: str = INCIDENT) -> Verified:
    """Return the monitor's verdict on a plan version."""
    return Verified(
        incident=incident,
        n=n,
        plan_version=version,
        ok=ok,
        reasons=() if ok else ("orders still fails",),
        window_s=5.0,
        samples=5,
        success_ratio=1.0 if ok else 0.1,
    )


HALT = Halt(reason="stop")
RESUME = Resume(reason="go on")


class Story:
    """Feeds one machine, keeps its clock, and checks after every step what must always hold."""

    def __init__(self, given: SchedulerConfig | None = None) -> None:
        self.machine = SchedulerMachine(given or config())
        self.state: SchedulerState = self.machine.initial()
        self.now_us = START_US
        self.seq = 0
        self.said: tuple[Command, ...] = ()
        """What the last step said."""
        self.history: list[Command] = []
        self.subjects: set[str] = set()

    def tell(self, message: Contract, after_s: float = 0.0) -> tuple[Command, ...]:
        """Feed one message `after_s` seconds later; a timer is fed as due."""
        self.seq += 1
        self.now_us += round(after_s * 1_000_000)
        subject = message.due_subject() if isinstance(message, Timer) else message.subject()
        event = Event(self.seq, self.now_us, subject, message, "someone-1")
        before = self.state
        self.state, self.said = self.machine.step(before, event)
        enforce(self.machine.config, before, self.state, self.said)
        assert SchedulerState.decode(self.state.encode()) == self.state
        assert self.machine.step(before, event) == (self.state, self.said)
        self._remember()
        return self.said

    def _remember(self) -> None:
        for command in self.said:
            subject = subject_of(command)
            assert subject not in self.subjects, f"{subject} was said twice"
            if subject:
                self.subjects.add(subject)
        self.history += self.said

    def messages(self, kind: type[MessageT]) -> list[MessageT]:
        """Return the messages of one type that the last step published."""
        return [one.message for one in self.said if isinstance(one, Publish) and isinstance(one.message, kind)]

    def all_messages(self, kind: type[MessageT]) -> list[MessageT]:
        """Return the messages of one type published so far."""
        return [one.message for one in self.history if isinstance(one, Publish) and isinstance(one.message, kind)]

    def timers(self, purpose: str | None = None) -> list[Timer]:
        """Return the timers that the last step set."""
        found = [one.timer for one in self.said if isinstance(one, SetTimer)]
        return [timer for timer in found if purpose in (None, timer.purpose)]

    def fire(self, timer: Timer) -> tuple[Command, ...]:
        """Let a timer come due, at its time or now if that is over."""
        return self.tell(timer, max(0, timer.due_us - self.now_us) / 1_000_000)

    def accept(self, given: Plan, attempt: int = 1) -> list[Task]:
        """Propose a plan and return the tasks that went out at once."""
        self.tell(proposed(given, attempt))
        return self.messages(Task)

    @property
    def incident(self) -> Incident:
        """The open incident."""
        assert self.state.active is not None
        return self.state.active


def subject_of(command: Command) -> str:
    """Return the subject a command creates; empty for a cancelled timer."""
    if isinstance(command, Publish):
        return command.message.subject()
    return command.timer.subject() if isinstance(command, SetTimer) else ""
