"""The story of an incident and how it is shown: graph, tasks with agent, state, time and sentence, verdict."""

from __future__ import annotations

from rich.console import Console

from broker.contracts.base import Contract
from broker.contracts.incident import IncidentClosed, IncidentReported
from broker.contracts.machine import Event
from broker.contracts.monitor import Verified
from broker.contracts.plan import PlanAccepted, PlanProposed
from broker.contracts.task import Claim, Result, Task
from harness.cli.live import lines, render
from harness.cli.report import FAULT_WORDS, hypothesis
from harness.story import Story
from tests.support.plans import plan, task

INCIDENT = "inc-1"
PLAN = plan(task("t1"), task("t2", type_="check_metrics"), task("t3", "t1", "t2", type_="reconcile"), task("t4", "t3"))
ORDER = (("t1", "t2"), ("t3",), ("t4",))


def order(name: str) -> Task:
    return Task(
        incident=INCIDENT, task_id=f"v1-{name}", attempt=1, kind="action", type="reconcile", target="orders", args={},
        plan_version=1, risk="safe", timeout_s=10.0, timer_id=f"task-{name}",
    )  # fmt: skip


def claim(name: str, instance: str) -> Claim:
    return Claim(
        incident=INCIDENT, task_id=f"v1-{name}", attempt=1, kind="action", instance=instance, task_seq=1, delivery="d"
    )


def result(name: str, sentence: str, *, status: str = "OK", changed: bool = False) -> Result:
    return Result.model_validate(
        {
            "incident": INCIDENT, "task_id": f"v1-{name}", "attempt": 1, "kind": "action", "instance": "action-agent-1",
            "status": status, "out": sentence, "changed": changed,
        }
    )  # fmt: skip


def told(*messages: Contract) -> Story:
    """Return the story of messages that stand a second apart."""
    story = Story(INCIDENT)
    for n, message in enumerate(messages, start=1):
        story.see(Event(n, n * 1_000_000, message.subject(), message, "test-1"))
    return story


BEGINNING = (
    IncidentReported(incident=INCIDENT, text="orders is [bold]dead[/bold]", source="operator"),
    PlanProposed(incident=INCIDENT, version=1, attempt=1, plan=PLAN, origin="rulebook", decision_tag="DETERMINISTIC"),
    PlanAccepted(incident=INCIDENT, version=1, attempt=1, plan_id=PLAN.plan_id, order=ORDER),
)


def screen(story: Story, width: int) -> list[str]:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(render(story, width=width))
    return capture.get().splitlines()


def test_a_task_goes_from_waiting_to_done_with_agent_time_and_sentence() -> None:
    story = told(*BEGINNING)
    assert {view.state for view in story.tasks.values()} == {"waiting"}
    story = told(*BEGINNING, order("t3"), claim("t3", "action-agent-1"))
    assert (story.tasks["t3"].state, story.tasks["t3"].agent) == ("running", "action-agent-1")
    story = told(
        *BEGINNING, order("t3"), claim("t3", "action-agent-1"), result("t3", "orders was mended", changed=True)
    )
    assert (story.tasks["t3"].state, story.tasks["t3"].seconds) == ("done", 2.0)
    assert story.actions == ["orders was mended"]


def test_what_failed_or_changed_nothing_is_no_action() -> None:
    story = told(*BEGINNING, result("t1", "looked"), result("t3", "could not", status="FAIL", changed=True))
    assert story.tasks["t3"].state == "failed"
    assert story.actions == []


def test_a_task_taken_over_by_another_agent_is_noted() -> None:
    story = told(*BEGINNING, order("t3"), claim("t3", "action-agent-1"), claim("t3", "action-agent-2"))
    assert story.notes == ["t3 was taken over by action-agent-2 from action-agent-1"]


def test_the_view_shows_the_plan_as_a_graph_with_arrows() -> None:
    shown = screen(told(*BEGINNING), 80)
    rows = [line for line in shown if "▶" in line or "┘" in line]
    assert [line.strip("│ ").split() for line in rows] == [
        ["○", "t1", "check_logs", "─┬▶", "○", "t3", "reconcile", "──▶", "○", "t4", "check_logs"],
        ["○", "t2", "check_metrics", "─┘"],
    ]


def test_the_view_fits_a_narrow_terminal_and_shows_every_task() -> None:
    story = told(*BEGINNING, order("t3"), result("t3", "orders was brought back to its declaration " * 5, changed=True))
    for width in (60, 80, 120):
        shown = screen(story, width)
        assert max(len(line) for line in shown) <= width
        assert all(any(line.startswith(f"│ {name} ") for line in shown) for name in story.tasks)
        assert any("orders was brought back" in line for line in shown)


def test_markup_in_a_report_is_shown_as_it_was_written() -> None:
    assert any("orders is [bold]dead[/bold]" in line for line in screen(told(*BEGINNING), 80))


def test_the_lines_of_a_pipe_only_ever_grow_until_the_verdict() -> None:
    check = Verified(
        incident=INCIDENT, n=1, plan_version=1, ok=True, reasons=(), window_s=5.0, samples=6, success_ratio=1.0
    )
    closed = IncidentClosed(incident=INCIDENT, verdict="verified", reason="met", plan_version=1, actions=1)
    said = lines(told(*BEGINNING, order("t3"), result("t3", "mended", changed=True), check, closed))
    assert "graph: t1 check_logs | t2 check_metrics -> t3 reconcile -> t4 check_logs" in said
    assert "task v1-t3 reconcile orders: done by action-agent-1 in 1.0 s: mended" in said
    assert said[-2:] == ["check 1: ok: no symptom and the objective met for 5 s", "closed: verified: met"]


def test_a_hypothesis_is_said_in_words_for_every_fault_class() -> None:
    for fault_class, words in FAULT_WORDS.items():
        guess = PLAN.hypothesis.model_copy(update={"fault_class": fault_class})
        expected = f"orders: {words} ({fault_class}, 90% sure)" if fault_class != "none" else f"{words} (90% sure)"
        assert hypothesis(guess) == expected
