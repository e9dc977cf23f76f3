"""The invariants themselves: each must fail on a state or a step that breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker.contracts.machine import Publish
from broker.contracts.task import Task
from scheduler_svc.core.errors import InvariantError
from scheduler_svc.core.invariants import broken_in_state, broken_in_step, enforce
from scheduler_svc.core.state import MAX_CLOSED, Closed, Commitment, Flap, Incident, SchedulerState, TaskState
from tests.support.scheduler import LOOK_ACT, Story, config, plan, proposed, reported, result, task

CONFIG = config()


def planning() -> Story:
    story = Story()
    story.tell(reported())
    return story


def executing() -> Story:
    story = planning()
    story.tell(proposed(plan(*LOOK_ACT)))
    return story


def verifying() -> Story:
    story = planning()
    [order] = story.accept(plan(task("t1")))
    story.tell(result(order))
    return story


def with_incident(state: SchedulerState, **changes: object) -> SchedulerState:
    assert state.active is not None
    return state.model_copy(update={"active": state.active.model_copy(update=changes)})


def with_task(state: SchedulerState, number: int, **changes: object) -> SchedulerState:
    assert state.active is not None
    assert state.active.commitment is not None
    commitment: Commitment = state.active.commitment
    changed = commitment.with_task(commitment.tasks[number].model_copy(update=changes))
    return with_incident(state, commitment=changed)


def with_tasks(state: SchedulerState, tasks: tuple[TaskState, ...]) -> SchedulerState:
    assert state.active is not None
    assert state.active.commitment is not None
    return with_incident(state, commitment=state.active.commitment.model_copy(update={"tasks": tasks}))


def closed(*names: str) -> tuple[Closed, ...]:
    return tuple(Closed(incident=name, verdict="verified") for name in names)


FLAPS = tuple(Flap(fingerprint="x", origin="llm", time_us=n) for n in range(99))

BROKEN: dict[str, tuple[Callable[[], SchedulerState], str]] = {
    "too many closed": (
        lambda: SchedulerState(closed=closed(*(f"i{n}" for n in range(MAX_CLOSED + 1)))),
        "51 closed incidents are remembered",
    ),
    "closed twice": (lambda: SchedulerState(closed=closed("a", "a")), "an incident was closed twice"),
    "open and closed": (
        lambda: planning().state.model_copy(update={"closed": closed("inc-1")}),
        "inc-1 is open and closed",
    ),
    "too many plans": (lambda: with_incident(executing().state, version=9), "9 plans were committed to"),
    "versions and requests differ": (
        lambda: with_incident(planning().state, asked=(1, 1)),
        "asked for 2 versions with 0 committed, planning",
    ),
    "judged twice": (
        lambda: with_incident(planning().state, judged=((1, 1), (1, 1))),
        "a proposal was judged twice",
    ),
    "no plan to a version": (
        lambda: with_incident(executing().state, commitment=None),
        "a version without a committed plan",
    ),
    "a timer of no phase": (lambda: with_incident(executing().state, timer_id="x"), "a phase timer while executing"),
    "planning without end": (lambda: with_incident(planning().state, timer_id=""), "planning waits for nothing"),
    "verifying without end": (lambda: with_incident(verifying().state, timer_id=""), "verifying waits for nothing"),
    "held for nothing": (
        lambda: with_incident(planning().state, held=(proposed(plan(*LOOK_ACT)),)),
        "a proposal is held without a halt",
    ),
    "too many failures": (lambda: with_incident(planning().state, failures=("x",) * 13), "13 failures"),
    "too many deviations": (lambda: with_incident(planning().state, deviations=("x",) * 9), "9 deviations"),
    "too many flaps": (lambda: with_incident(planning().state, flaps=FLAPS), "99 flaps"),
    "a long sentence": (lambda: with_incident(planning().state, failures=("x" * 301,)), "an unbounded sentence"),
    "no task": (lambda: with_tasks(executing().state, ()), "0 tasks in a committed plan"),
    "verifying too early": (
        lambda: with_task(verifying().state, 0, status="running", timer_id="x"),
        "verifying before every task has ended",
    ),
    "stuck": (lambda: with_task(executing().state, 0, status="ok", timer_id=""), "executing, and nothing goes on"),
    "failed and going on": (
        lambda: with_task(executing().state, 0, status="failed", timer_id=""),
        "a task is to start though another has failed for good",
    ),
    "too many attempts": (lambda: with_task(executing().state, 0, attempt=4), "v1-t1 has 4 attempts"),
    "too early": (
        lambda: with_task(executing().state, 1, status="running", attempt=1, timer_id="x"),
        "v1-t2 started before t1 had ended",
    ),
    "running without end": (
        lambda: with_task(executing().state, 0, timer_id=""),
        "v1-t1 is running without a timer",
    ),
    "a timer for nothing": (
        lambda: with_task(executing().state, 1, timer_id="x"),
        "v1-t2 is waiting and has a timer",
    ),
}


@pytest.mark.parametrize("situation", BROKEN)
def test_a_broken_state_is_named(situation: str) -> None:
    make, sentence = BROKEN[situation]
    assert sentence in broken_in_state(CONFIG, make())


@pytest.mark.parametrize("make", [planning, executing, verifying])
def test_a_sound_state_has_nothing_broken(make: Callable[[], Story]) -> None:
    assert broken_in_state(CONFIG, make().state) == ()


def order() -> Publish:
    return next(one for one in executing().history if isinstance(one, Publish) and isinstance(one.message, Task))


def test_a_task_while_halted_or_for_another_incident_or_version_is_named() -> None:
    state = executing().state
    said = (order(),)
    assert broken_in_step(state, state, said) == ()
    assert broken_in_step(state, state.model_copy(update={"halted": True}), said) == (
        "triage.task.action.inc-1.v1-t1.a1 went out while halted",
    )
    assert broken_in_step(state, with_incident(state, incident="other"), said) == (
        "triage.task.action.inc-1.v1-t1.a1 went out for an incident that is not open",
    )
    assert broken_in_step(state, with_incident(state, version=2), said)[-1] == (
        "triage.task.action.inc-1.v1-t1.a1 went out for version 1, 2 is committed"
    )


def test_a_version_that_jumps_an_incident_that_vanishes_and_a_forgotten_end_are_named() -> None:
    state = executing().state
    assert broken_in_step(state, with_incident(state, version=3), ()) == ("the version went from 1 to 3",)
    assert broken_in_step(with_incident(state, actions=2), state, ()) == ("an action was taken back",)
    assert broken_in_step(state, SchedulerState(), ()) == ("inc-1 vanished without being closed",)
    ended = SchedulerState(closed=closed("a", "b"))
    assert broken_in_step(ended, SchedulerState(closed=closed("b")), ()) == (
        "a closed incident was forgotten or changed",
    )


def test_the_oldest_end_may_be_forgotten_when_the_ring_is_full() -> None:
    full = SchedulerState(closed=closed(*(f"i{n}" for n in range(MAX_CLOSED))))
    shifted = SchedulerState(closed=closed(*(f"i{n}" for n in range(1, MAX_CLOSED + 1))))
    assert broken_in_step(full, shifted, ()) == ()


def test_enforce_raises_with_every_broken_rule() -> None:
    state = with_incident(planning().state, timer_id="", failures=("x",) * 13)
    with pytest.raises(InvariantError) as caught:
        enforce(CONFIG, state, state, ())
    assert caught.value.broken == ("planning waits for nothing", "13 failures")


def test_an_incident_starts_with_nothing_asked() -> None:
    assert broken_in_state(CONFIG, SchedulerState(active=Incident(incident="x", text="y"))) == (
        "asked for 0 versions with 0 committed, planning",
        "planning waits for nothing",
    )
