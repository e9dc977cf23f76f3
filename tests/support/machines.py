"""A small machine that uses every kind of command, and the messages that drive it."""

from __future__ import annotations

from broker.contracts.base import Frozen
from broker.contracts.control import Timer
from broker.contracts.incident import IncidentAnswered, IncidentClosed, IncidentReported
from broker.contracts.machine import CancelTimer, Command, Event, Publish, SetTimer
from broker.contracts.plan import PlanRequested
from broker.contracts.task import Result, Task
from broker.subjects import matches

PATIENCE_US = 10_000_000


class DeskConfig(Frozen):
    """What a desk is made with."""

    greeting: str = "please plan: "


class DeskState(Frozen):
    """What a desk remembers."""

    reported: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    answers: int = 0


class DeskMachine:
    """Asks for a plan for each report; each answer becomes a task with a timer; a result or a time-out closes."""

    name = "scheduler"
    config: Frozen
    state_type = DeskState

    def __init__(self, config: DeskConfig | None = None, *, version: int = 1, claims: DeskConfig | None = None) -> None:
        """
        Args:
            claims: the configuration it says it has: a machine that lies decides otherwise with the same configuration.
        """
        self.version = version
        self.desk = config or DeskConfig()
        self.config = claims or self.desk
        self.steps = 0

    def configured(self, config: bytes) -> DeskMachine:
        return DeskMachine(DeskConfig.decode(config), version=self.version)

    def reads(self, subject: str) -> bool:
        wanted = ("triage.incident.*.reported", "triage.incident.*.answered.*", "triage.result.>", "triage.due.>")
        return any(matches(pattern, subject) for pattern in wanted)

    def initial(self) -> DeskState:
        return DeskState()

    def step(self, state: DeskState, event: Event) -> tuple[DeskState, tuple[Command, ...]]:
        self.steps += 1
        match event.payload:
            case IncidentReported(incident=incident, text=text):
                if text == "boom":
                    raise RuntimeError("a machine's own bug")
                state = state.model_copy(update={"reported": (*state.reported, incident)})
                return state, self._ask(incident, text, event.time_us)
            case IncidentAnswered(incident=incident, n=n):
                state = state.model_copy(update={"answers": state.answers + 1})
                return state, self._order(incident, n, event.time_us)
            case Result(incident=incident, out=out):
                return self._close(state, incident, out)
            case Timer(incident=str(incident)):
                return self._close(state, incident, "timed out")
        return state, ()

    def _ask(self, incident: str, text: str, now_us: int) -> tuple[Command, ...]:
        asked = PlanRequested(incident=incident, version=1, attempt=1, text=self.desk.greeting + text)
        return SetTimer(_timer(f"plan-{incident}", incident, now_us)), Publish(asked)

    def _order(self, incident: str, n: int, now_us: int) -> tuple[Command, ...]:
        order = task(incident, f"v1-t{n}", timer_id=f"task-{incident}-{n}")
        done_planning = CancelTimer(self.name, f"plan-{incident}")
        return done_planning, SetTimer(_timer(order.timer_id, incident, now_us)), Publish(order)

    def _close(self, state: DeskState, incident: str, reason: str) -> tuple[DeskState, tuple[Command, ...]]:
        if incident in state.closed:
            return state, ()
        end = IncidentClosed(incident=incident, verdict="unresolved", reason=reason, plan_version=1, actions=0)
        return state.model_copy(update={"closed": (*state.closed, incident)}), (Publish(end),)


def _timer(timer_id: str, incident: str, now_us: int) -> Timer:
    return Timer(
        machine="scheduler",
        timer_id=timer_id,
        due_us=now_us + PATIENCE_US,
        purpose="patience",
        incident=incident,
    )


def report(incident: str, text: str = "orders are slow") -> IncidentReported:
    return IncidentReported(incident=incident, text=text, source="operator")


def answer(incident: str, n: int = 1) -> IncidentAnswered:
    return IncidentAnswered(incident=incident, n=n, text="go on")


def task(incident: str = "i1", task_id: str = "v1-t1", *, timer_id: str = "task-i1-1", timeout_s: float = 20.0) -> Task:
    return Task(
        kind="log",
        incident=incident,
        task_id=task_id,
        attempt=1,
        type="search_logs",
        target="orders",
        args={},
        plan_version=1,
        risk="read",
        timeout_s=timeout_s,
        timer_id=timer_id,
    )


def result(order: Task, out: str = "found it", *, instance: str = "log-1", status: str = "OK") -> Result:
    return Result(
        incident=order.incident,
        task_id=order.task_id,
        attempt=order.attempt,
        kind=order.kind,
        instance=instance,
        status="OK" if status == "OK" else "FAIL",
        out=out,
    )
