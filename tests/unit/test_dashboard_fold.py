"""The journal folded for people: plans, tasks, approvals that expire, agents that are lost, the switch, the meters."""

from __future__ import annotations

from broker.contracts.base import Contract
from broker.contracts.control import ApprovalDenied, ApprovalExpired, ApprovalGranted, ApprovalRequested, Halt, Resume
from broker.contracts.incident import IncidentAnswered, IncidentAsked, IncidentClosed, IncidentReported
from broker.contracts.monitor import AgentLost, AgentUp
from broker.contracts.plan import PlanAccepted, PlanExecuted, PlanProposed, PlanRejected, PlanRequested
from broker.contracts.task import Claim, Result, Task
from broker.contracts.telemetry import Metrics, Telemetry
from dashboard.api.core.fold import KEPT_INCIDENTS, fold
from dashboard.api.core.view import IncidentView, View
from tests.support.dashboard import event
from tests.support.plans import plan, task

PLAN = plan(task("t1"), task("t2", "t1", type_="restart"))


def after(*messages: Contract, view: View | None = None) -> View:
    """Fold messages, one millisecond apart."""
    view = view or View()
    for message in messages:
        view = fold(view, event(view.head + 1, message))
    return view


def reported(incident: str = "inc-1") -> IncidentReported:
    return IncidentReported(incident=incident, text="the shop is down", source="operator")


def closed(incident: str = "inc-1", verdict: str = "verified") -> IncidentClosed:
    return IncidentClosed.model_validate(
        {"incident": incident, "verdict": verdict, "reason": "it works", "plan_version": 1, "actions": 1}
    )


def requested(version: int = 1, attempt: int = 1) -> PlanRequested:
    return PlanRequested(incident="inc-1", version=version, attempt=attempt, text="the shop is down")


def proposed(version: int = 1) -> PlanProposed:
    return PlanProposed(
        incident="inc-1", version=version, attempt=1, plan=PLAN, origin="rulebook", decision_tag="DETERMINISTIC"
    )


def accepted(version: int = 1) -> PlanAccepted:
    return PlanAccepted(
        incident="inc-1", version=version, attempt=1, plan_id=PLAN.plan_id, order=(("v1-t1",), ("v1-t2",))
    )


def ordered(name: str = "v1-t1", attempt: int = 1) -> Task:
    return Task(
        incident="inc-1",
        task_id=name,
        attempt=attempt,
        kind="log",
        type="check_logs",
        target="orders",
        args={},
        plan_version=1,
        risk="read",
        timeout_s=10.0,
        timer_id="t",
    )


def claimed(instance: str = "log-agent-1", name: str = "v1-t1") -> Claim:
    return Claim(
        incident="inc-1", task_id=name, attempt=1, kind="log", instance=instance, task_seq=1, delivery="$JS.ACK.x"
    )


def result(status: str = "OK", instance: str = "log-agent-1") -> Result:
    return Result.model_validate(
        {
            "incident": "inc-1",
            "task_id": "v1-t1",
            "attempt": 1,
            "kind": "log",
            "instance": instance,
            "status": status,
            "out": "found",
        }
    )


def asked(binding: str = "b1") -> ApprovalRequested:
    return ApprovalRequested(
        incident="inc-1", task_id="v1-t2", binding=binding, action="restart", target="orders", why="it hangs"
    )


def granted(binding: str = "b1") -> ApprovalGranted:
    return ApprovalGranted(incident="inc-1", task_id="v1-t2", binding=binding)


def only(view: View) -> IncidentView:
    [incident] = view.incidents.values()
    return incident


def test_a_task_goes_from_waiting_to_done_and_its_neighbour_stays() -> None:
    view = after(reported(), requested(), proposed(), accepted())
    states = [[task.state for task in only(view).plans[0].tasks]]
    for message in (ordered(), claimed(), result()):
        view = after(message, view=view)
        states.append([task.state for task in only(view).plans[0].tasks])
    assert states == [
        ["waiting", "waiting"],
        ["dispatched", "waiting"],
        ["running", "waiting"],
        ["done", "waiting"],
    ]
    [first, second] = only(view).plans[0].tasks
    assert (first.agent, second.dependencies) == ("log-agent-1", ("v1-t1",))


def test_each_version_of_a_plan_is_kept_and_a_refused_attempt_gives_way_to_the_next() -> None:
    refused = PlanRejected(incident="inc-1", version=1, attempt=1, plan_id=PLAN.plan_id, reasons=())
    view = after(reported(), requested(), proposed(), refused, requested(attempt=2), requested(version=2))
    assert [(p.version, p.attempt, p.state) for p in only(view).plans] == [(1, 2, "requested"), (2, 1, "requested")]


def test_an_answer_to_an_older_attempt_changes_nothing() -> None:
    view = after(reported(), requested(), requested(attempt=2), accepted())
    assert [p.state for p in only(view).plans] == ["requested"]


def test_an_executed_plan_is_marked() -> None:
    done = PlanExecuted(incident="inc-1", version=1, completed=("v1-t1",), skipped=(), failed=(), actions=0)
    assert only(after(reported(), requested(), proposed(), accepted(), done)).plans[0].state == "executed"


def test_an_approval_is_open_until_it_is_granted() -> None:
    view = after(reported(), requested(), proposed(), accepted(), asked())
    assert [item.state for item in only(view).approvals] == ["open"]
    assert only(view).plans[0].tasks[1].state == "approval"
    view = after(granted(), view=view)
    assert [item.state for item in only(view).approvals] == ["granted"]
    assert only(view).plans[0].tasks[1].state == "waiting"


def test_a_word_bound_to_something_else_decides_nothing() -> None:
    view = after(reported(), requested(), asked("b1"), granted("b2"))
    assert [item.state for item in only(view).approvals] == ["open"]


def test_the_first_word_counts() -> None:
    denied = ApprovalDenied(incident="inc-1", task_id="v1-t2", binding="b1", reason="no")
    view = after(reported(), requested(), asked(), denied, granted())
    assert [item.state for item in only(view).approvals] == ["denied"]


def test_an_approval_that_nobody_decides_on_expires_by_the_schedulers_word() -> None:
    late = ApprovalExpired(
        incident="inc-1", task_id="v1-t2", binding="b1", action="restart", target="orders", wait_s=300.0
    )
    view = after(reported(), requested(), asked("b1"), late, granted("b1"))
    assert [item.state for item in only(view).approvals] == ["expired"]


def test_an_approval_expires_with_its_incident() -> None:
    view = after(reported(), requested(), asked(), closed(verdict="unresolved"))
    assert [item.state for item in only(view).approvals] == ["expired"]


def test_an_approval_expires_when_it_is_planned_anew_but_not_when_the_same_version_is_asked_again() -> None:
    view = after(reported(), requested(), asked(), requested(attempt=2))
    assert [item.state for item in only(view).approvals] == ["open"]
    view = after(requested(version=2), view=view)
    assert [item.state for item in only(view).approvals] == ["expired"]


def test_a_question_stands_until_it_is_answered() -> None:
    question = IncidentAsked(
        incident="inc-1", n=1, question="Since when?", version=1, attempt=1, plan_id=PLAN.plan_id, wait_s=2.0
    )
    view = after(reported(), question)
    found = only(view).question
    assert found is not None
    assert (found.n, found.until_us) == (1, 2_000 + 2_000_000)
    other = IncidentAnswered(incident="inc-1", n=2, text="since noon")
    assert only(after(other, view=view)).question is not None
    assert only(after(other.model_copy(update={"n": 1}), view=view)).question is None


def test_a_handed_on_task_is_measured_from_the_loss_to_the_next_claim() -> None:
    lost = AgentLost(
        instance="log-agent-1",
        role="log",
        connection=4,
        reason="Client Closed",
        handed_on=(ordered().subject(),),
    )
    view = after(reported(), requested(), proposed(), accepted(), ordered(), claimed(), lost)
    assert view.agents["log-agent-1"].connected is False
    assert view.agents["log-agent-1"].works_on == ()
    assert view.meters.reassign_ms is None
    view = after(claimed("log-agent-2"), view=view)
    assert view.meters.reassign_ms == 1.0
    assert view.handed_on == {}
    assert view.agents["log-agent-2"].works_on == (claimed().subject(),)
    assert after(result(instance="log-agent-2"), view=view).agents["log-agent-2"].works_on == ()


def test_an_agent_that_comes_back_is_connected() -> None:
    lost = AgentLost(instance="log-agent-1", role="log", connection=4, reason="killed", handed_on=())
    view = after(lost, AgentUp(instance="log-agent-1", role="log", connection=5))
    assert view.agents["log-agent-1"].connected is True


def test_a_halt_is_measured_to_the_last_result_after_it_and_ends_with_a_resume() -> None:
    view = after(reported(), requested(), proposed(), accepted(), ordered(), claimed(), Halt(reason="stop"))
    assert view.halt is not None
    assert view.meters.stop_ms == 0.0
    view = after(result(), view=view)
    assert view.meters.stop_ms == 1.0
    assert after(Resume(reason="go on"), view=view).halt is None


def test_a_second_halt_does_not_move_the_first() -> None:
    view = after(Halt(reason="first"), Halt(reason="second"))
    assert view.halt is not None
    assert (view.halt.reason, view.halt.seq) == ("first", 1)


def test_planning_and_repair_are_measured() -> None:
    view = after(reported(), requested(), proposed(), accepted(), closed())
    assert view.meters.plan_ms == 2.0
    assert view.meters.repair_s == 0.004


def test_a_device_keeps_the_time_of_its_status_while_the_error_changes() -> None:
    def telemetry(status: str, code: str | None) -> Telemetry:
        metrics = Metrics(cpu_load=None, mem_usage=None, latency_ms=None)
        fields = {"device_id": "orders", "timestamp": PLAN.created_at, "status": status, "metrics": metrics}
        return Telemetry.model_validate({**fields, "error_code": code})

    view = after(telemetry("OK", None), telemetry("ERROR", "gaierror"), telemetry("ERROR", "TimeoutError"))
    device = view.devices["orders"]
    assert (device.status, device.error_code, device.since_us) == ("ERROR", "TimeoutError", 2_000)


def test_the_same_message_again_changes_nothing() -> None:
    view = after(reported(), requested())
    assert fold(view, event(2, closed())) is view


def test_what_belongs_to_no_known_incident_changes_nothing_but_the_place() -> None:
    assert after(requested(), result(), closed(), granted()).incidents == {}


def test_old_closed_incidents_give_way_and_open_ones_stay() -> None:
    view = after(reported("inc-open"))
    for number in range(KEPT_INCIDENTS + 5):
        view = after(reported(f"inc-{number}"), closed(f"inc-{number}"), view=view)
    assert len(view.incidents) == KEPT_INCIDENTS
    assert "inc-open" in view.incidents
    assert "inc-0" not in view.incidents
    assert f"inc-{KEPT_INCIDENTS + 4}" in view.incidents
