"""Whatever the journal brings: no step raises, every invariant holds, and every incident comes to an end.

`Story.tell` checks after each step the invariants, that the state survives its JSON form, that the same step gives the
same answer, and that no subject is said twice. The oracles here are built from the messages alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.contracts.base import Contract
from broker.contracts.control import ApprovalDenied, ApprovalExpired, ApprovalGranted, ApprovalRequested, Timer
from broker.contracts.incident import IncidentClosed
from broker.contracts.machine import CancelTimer, Event, Publish, SetTimer
from broker.contracts.monitor import AgentLost, Deviation
from broker.contracts.plan import MAX_TASKS, Condition, Plan, PlanAccepted, PlanProposed, PlanRequested, PlanTask
from broker.contracts.task import Claim, Result, Task
from scheduler_svc.core.execution import binding
from scheduler_svc.core.machine import SchedulerMachine
from scheduler_svc.core.state import SchedulerState
from tests.support.scheduler import (
    HALT,
    INVENTORY,
    RESUME,
    START_US,
    Story,
    config,
    plan,
    proposed,
    reported,
    result,
    task,
    verified,
)

INCIDENTS = ("inc-1", "inc-2", "inc-3")
TYPES = ("check_config", "check_health", "restart", "reconcile", "start", "resume")

incidents = st.sampled_from(INCIDENTS)
scalars = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5))


@st.composite
def sound_tasks(draw: st.DrawFn) -> tuple[PlanTask, ...]:
    """Tasks that form a plan without fault: each depends only on earlier ones, given in any order."""
    tasks: list[PlanTask] = []
    for number in range(draw(st.integers(1, MAX_TASKS))):
        names = tuple(one.task_id for one in tasks)
        after = tuple(draw(st.lists(st.sampled_from(names), unique=True, max_size=3)) if names else [])
        looks = [one.task_id for one in tasks if one.type == "check_config" and one.task_id in after]
        asks = bool(looks) and draw(st.booleans())
        when = Condition(task_id=looks[0], field="drifted", equals=True) if asks else None
        tasks.append(task(f"t{number}", draw(st.sampled_from(TYPES)), after=after, when=when))
    return tuple(draw(st.permutations(tasks)))


wild_tasks = st.lists(
    st.builds(
        PlanTask,
        task_id=st.sampled_from(("t0", "t1", "t2", "t" * 63)),
        type=st.sampled_from((*TYPES, "check_logs", "rm_rf", "")),
        target=st.sampled_from((*INVENTORY.names(), "nowhere", "")),
        args=st.dictionaries(st.sampled_from(("pattern", "top_k", "above", "x")), scalars, max_size=3),
        dependencies=st.lists(st.sampled_from(("t0", "t1", "t2", "t9")), max_size=3).map(tuple),
        assigned_to=st.sampled_from(("LogAgent", "ActionAgent", "nobody")),
        when=st.none()
        | st.builds(
            Condition,
            task_id=st.sampled_from(("t0", "t1", "t9")),
            field=st.sampled_from(("drifted", "x")),
            equals=scalars,
        ),
    ),
    max_size=10,
).map(tuple)
origins: st.SearchStrategy[Literal["rulebook", "llm"]] = st.sampled_from(("rulebook", "llm"))


stray_messages: st.SearchStrategy[Contract] = st.one_of(
    st.builds(
        lambda tasks, version, attempt, name: proposed(plan(*tasks, version=version), attempt, name),
        wild_tasks,
        st.integers(1, 5),
        st.integers(1, 9),
        incidents,
    ),
    st.builds(
        Result,
        incident=incidents,
        task_id=st.sampled_from(("v1-t0", "v2-t1", "x")),
        attempt=st.integers(1, 9),
        kind=st.sampled_from(("log", "metric", "action")),
        instance=st.just("x"),
        status=st.sampled_from(("OK", "FAIL")),
        out=st.just("?"),
    ),
    st.builds(
        Deviation,
        incident=incidents,
        n=st.just(1),
        kind=st.sampled_from(("service_down", "task_failed")),
        device=st.text(max_size=5),
        t_trigger_us=st.integers(0, 9),
        detail=st.text(max_size=400),
    ),
    st.builds(
        Timer,
        machine=st.just("scheduler"),
        timer_id=st.just("nobody"),
        due_us=st.just(0),
        purpose=st.sampled_from(("retry", "verify-timeout", "x")),
        incident=st.none() | incidents,
    ),
    st.builds(ApprovalGranted, incident=incidents, task_id=st.just("v1-t0"), binding=st.text(max_size=5)),
    st.just(Claim(incident="inc-1", task_id="v1-t0", attempt=1, kind="log", instance="x", task_seq=1, delivery="y")),
    st.just(AgentLost(instance="x", role="log", connection=1, reason="gone", handed_on=())),
)


def skipped_by(tasks: dict[str, PlanTask], results: dict[str, Result], version: int) -> Callable[[str], bool]:
    """Return the oracle of skipping: a task is rightly not run if what its condition asks was told otherwise."""

    def skipped(name: str) -> bool:
        when = tasks[name].when
        if when is None:
            return False
        told = results.get(f"v{version}-{when.task_id}")
        return told is None or told.meta.get(when.field) is not when.equals

    return skipped


class AnyJournal(RuleBasedStateMachine):
    """Any message at any time, those that fit and those that do not."""

    def __init__(self) -> None:
        super().__init__()
        self.story = Story(config(auto_approve="safe"))
        self.number = 0
        self.proposals: dict[tuple[str, int, int], Plan] = {}
        """What was proposed for an attempt."""
        self.plans: dict[tuple[str, int], Plan] = {}
        self.ok: dict[str, dict[str, Result]] = {}

    def tell(self, message: Contract, after_s: float = 0.0) -> None:
        if isinstance(message, PlanProposed):
            attempt = message.incident, message.version, message.attempt
            if attempt in self.proposals:
                return  # the journal keeps one message on this subject, also one that came before anybody waited for it
            self.proposals[attempt] = message.plan
        self.story.tell(message, after_s)
        for accepted in self.story.messages(PlanAccepted):
            key = (accepted.incident, accepted.version)
            self.plans[key] = self.proposals[*key, accepted.attempt]

    # what fits

    @rule(name=incidents)
    def report(self, name: str) -> None:
        self.tell(reported(name))

    @precondition(lambda self: self.story.state.active)
    @rule(tasks=st.one_of(sound_tasks(), sound_tasks(), wild_tasks), back=st.integers(0, 1), origin=origins)
    def propose(self, tasks: tuple[PlanTask, ...], back: int, origin: str) -> None:
        self.number += 1
        incident = self.story.incident
        version, attempt = len(incident.asked), max(1, incident.asked[-1] - back)
        candidate = plan(*tasks, version=version, number=self.number % 7)
        self.tell(proposed(candidate, attempt, incident.incident, origin))

    def orders(self) -> list[Task]:
        return self.story.all_messages(Task)

    @precondition(lambda self: self.orders())
    @rule(
        back=st.integers(0, 5),
        status=st.sampled_from(("OK", "OK", "OK", "FAIL")),
        code=st.sampled_from((None, "refused", "boom")),
        drifted=st.booleans(),
        changed=st.booleans(),
    )
    def answer(self, back: int, status: str, code: str | None, drifted: bool, changed: bool) -> None:
        orders = self.orders()
        order = orders[max(0, len(orders) - 1 - back)]
        told = result(order, status, code, changed, drifted=drifted)
        self.tell_as_world(told)

    def tell_as_world(self, told: Contract) -> None:
        """Tell a message, and remember it if it is the OK of an attempt that runs."""
        active = self.story.state.active
        if isinstance(told, Result) and told.status == "OK" and active and active.commitment:
            shape = (told.incident, told.task_id, told.attempt, "running")
            running = [(active.incident, one.task_id, one.attempt, one.status) for one in active.commitment.tasks]
            if shape in running:
                self.ok.setdefault(told.incident, {})[told.task_id] = told
        self.tell(told)

    def timers(self) -> list[Timer]:
        return [one.timer for one in self.story.history if isinstance(one, SetTimer)]

    @precondition(lambda self: self.timers())
    @rule(back=st.integers(0, 4))
    def let_a_timer_come_due(self, back: int) -> None:
        timers = self.timers()
        timer = timers[max(0, len(timers) - 1 - back)]
        self.tell(timer, max(0, timer.due_us - self.story.now_us) / 1_000_000)

    @rule()
    def halt(self) -> None:
        self.tell(HALT)

    @rule()
    def resume(self) -> None:
        self.tell(RESUME)

    @rule(name=incidents, version=st.integers(1, 4), ok=st.booleans())
    def verify(self, name: str, version: int, ok: bool) -> None:
        self.tell(verified(version, ok, incident=name))

    def wishes(self) -> list[ApprovalRequested]:
        return self.story.all_messages(ApprovalRequested)

    @precondition(lambda self: self.wishes())
    @rule(back=st.integers(0, 3), yes=st.booleans(), honest=st.booleans())
    def decide(self, back: int, yes: bool, honest: bool) -> None:
        wish = self.wishes()[max(0, len(self.wishes()) - 1 - back)]
        bound = wish.binding if honest else "0" * 64
        if yes:
            self.tell(ApprovalGranted(incident=wish.incident, task_id=wish.task_id, binding=bound))
        else:
            self.tell(ApprovalDenied(incident=wish.incident, task_id=wish.task_id, binding=bound, reason="no"))

    # what does not fit

    @rule(message=st.deferred(lambda: stray_messages))
    def something_that_nobody_waits_for(self, message: Contract) -> None:
        active = self.story.state.active
        if isinstance(message, PlanProposed):
            mine = active is not None and active.incident == message.incident
            if mine and active is not None and message.version <= len(active.asked):
                return
            if (message.incident, message.version, message.attempt) in self.proposals:
                return
        if isinstance(message, Result) and any(one.task_id == message.task_id for one in self.orders()):
            return
        self.tell(message)
        assert not [one for one in self.story.said if isinstance(one, Publish)]

    @rule(steps=st.lists(st.integers(0, 99), min_size=1, max_size=8), tasks=sound_tasks(), origin=origins)
    def let_the_world_work(self, steps: list[int], tasks: tuple[PlanTask, ...], origin: str) -> None:
        """A stretch in which everybody does what is asked, so that the later phases are reached often."""
        for pick in steps:
            active = self.story.state.active
            if active is None:
                self.tell(reported(INCIDENTS[pick % 3]))
            elif active.phase == "planning" and not active.held and not self.story.state.halted:
                self.propose(tasks=tasks, back=0, origin=origin)
            else:
                good, _ = choices(self.story)
                if good:
                    self.tell_as_world(good[pick % len(good)])

    # what always holds, told from the messages alone

    def teardown(self) -> None:
        self.attempts_are_bounded()
        self.an_incident_is_closed_once_and_nothing_follows()
        self.versions_grow_by_one_at_each_commit()
        self.a_risky_task_has_a_persons_word()
        self.what_nobody_approved_in_time_is_never_carried_out()

    def attempts_are_bounded(self) -> None:
        assert all(order.attempt <= 3 for order in self.orders())

    def an_incident_is_closed_once_and_nothing_follows(self) -> None:
        closed: set[str] = set()
        for command in self.story.history:
            name = getattr(command.message, "incident", None) if isinstance(command, Publish) else None
            assert name not in closed, f"{command} after the end"
            if isinstance(command, Publish) and isinstance(command.message, IncidentClosed):
                closed.add(command.message.incident)

    def versions_grow_by_one_at_each_commit(self) -> None:
        for name in INCIDENTS:
            versions = [one.version for one in self.story.all_messages(PlanAccepted) if one.incident == name]
            assert versions == list(range(1, len(versions) + 1))
            assert len(versions) <= 4

    @invariant()
    def no_task_went_out_before_its_dependencies_ended(self) -> None:
        for order in self.story.messages(Task):
            tasks = {one.task_id: one for one in self.plans[order.incident, order.plan_version].tasks}
            results = self.ok.get(order.incident, {})
            skipped = skipped_by(tasks, results, order.plan_version)
            name = order.task_id.removeprefix(f"v{order.plan_version}-")
            assert not skipped(name)
            for dependency in tasks[name].dependencies:
                assert f"v{order.plan_version}-{dependency}" in results or skipped(dependency)

    def a_risky_task_has_a_persons_word(self) -> None:
        wished = {(one.incident, one.task_id) for one in self.wishes()}
        assert all((one.incident, one.task_id) in wished for one in self.orders() if one.risk == "risky")

    def what_nobody_approved_in_time_is_never_carried_out(self) -> None:
        expired = [(one.incident, one.task_id) for one in self.story.all_messages(ApprovalExpired)]
        assert len(set(expired)) == len(expired)
        assert set(expired) <= {(one.incident, one.task_id) for one in self.wishes()}
        assert not set(expired) & {(one.incident, one.task_id) for one in self.orders()}
        for closed in self.story.all_messages(IncidentClosed):
            assert closed.unapproved == tuple(task for incident, task in expired if incident == closed.incident)


class AnyJournalUnderALimit(AnyJournal):
    """The same, of a scheduler that waits for a person only so long."""

    def __init__(self) -> None:
        super().__init__()
        self.story = Story(config(auto_approve="safe", approval_timeout_s=7.0))


TestAnyJournalUnderALimit = AnyJournalUnderALimit.TestCase
TestAnyJournalUnderALimit.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestAnyJournal = AnyJournal.TestCase
TestAnyJournal.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

MAX_STEPS = 4 * (5 + 8 * 3 * 2 + 8 + 1)
"""Versions, each with attempts to plan, attempts of tasks with their waits, approvals and a check."""


def choices(story: Story) -> tuple[list[Contract], list[Contract]]:
    """Return what a working world may say next, but for proposals: what was hoped for, and failures and time-outs."""
    incident = story.incident
    set_ = {one.timer.timer_id: one.timer for one in story.history if isinstance(one, SetTimer)}
    gone = {one.timer_id for one in story.history if isinstance(one, CancelTimer)}
    tasks = incident.commitment.tasks if incident.commitment else ()
    waited = {incident.timer_id, *(one.timer_id for one in tasks)} - {""}
    assert not waited & gone, "waits for a timer that was taken back"
    good: list[Contract] = [set_[one.timer_id] for one in tasks if one.status == "backoff"]
    bad: list[Contract] = [set_[name] for name in sorted(waited)]
    if incident.phase == "verifying":
        good += [verified(incident.version, ok, incident=incident.incident) for ok in (True, False)]
    orders = {(one.incident, one.task_id, one.attempt): one for one in story.all_messages(Task)}
    for running in (one for one in tasks if one.status == "running"):
        order = orders[incident.incident, running.task_id, running.attempt]
        good += [result(order, changed=True, drifted=drifted) for drifted in (True, False)]
        bad += [result(order, "FAIL", "boom"), result(order, "FAIL", "refused")]
    for waiting in (one for one in tasks if one.status == "approval"):
        risky = waiting.plan_task
        bound = binding(risky.type, risky.target, risky.args)
        good.append(ApprovalGranted(incident=incident.incident, task_id=waiting.task_id, binding=bound))
        bad.append(ApprovalDenied(incident=incident.incident, task_id=waiting.task_id, binding=bound, reason="no"))
    return good, bad


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_every_incident_comes_to_an_end_whatever_the_world_answers(data: st.DataObject) -> None:
    story = Story(config(auto_approve="safe", approval_timeout_s=data.draw(st.sampled_from((0.0, 60.0)))))
    story.tell(reported())
    steps = 0
    while story.state.active is not None:
        steps += 1
        assert steps <= MAX_STEPS
        incident = story.incident
        good, bad = choices(story)
        request = story.all_messages(PlanRequested)[-1]
        if incident.phase == "planning" and (request.version, request.attempt) not in incident.judged:
            tasks, wild = data.draw(sound_tasks()), data.draw(wild_tasks)
            good.append(proposed(plan(*tasks, version=request.version), request.attempt))
            bad.append(proposed(plan(*wild, version=request.version), request.attempt))
        hoped_for = bool(good) and data.draw(st.integers(0, 5)) < 5
        message = data.draw(st.sampled_from(good if hoped_for else bad))
        if isinstance(message, Timer):
            story.fire(message)
        else:
            story.tell(message)
    [closed] = story.all_messages(IncidentClosed)
    assert closed.verdict in ("verified", "no_fault", "unresolved")
    assert (closed.verdict == "verified") <= (closed.actions > 0), "verified says that something was repaired"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tasks=wild_tasks | sound_tasks(), attempt=st.integers(1, 3), split=st.integers(0, 3))
def test_a_state_taken_from_a_snapshot_goes_on_with_the_same_bytes(
    tasks: tuple[PlanTask, ...], attempt: int, split: int
) -> None:
    machine = SchedulerMachine(config())
    messages: list[Contract] = [reported(), proposed(plan(*tasks), attempt), HALT, RESUME]
    events = [Event(n + 1, START_US + n, one.subject(), one, "x-1") for n, one in enumerate(messages)]

    def run(restart_at: int | None) -> list[bytes]:
        state, said = machine.initial(), list[bytes]()
        for n, event in enumerate(events):
            if n == restart_at:
                state = SchedulerState.decode(state.encode())
            state, commands = machine.step(state, event)
            said += [repr(one).encode() for one in commands]
        return [*said, state.encode()]

    assert run(None) == run(split)
