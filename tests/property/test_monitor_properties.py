"""Whatever the journal brings, in whatever order: the monitor never raises, keeps its invariants, opens at most one
incident of its own at a time, gives each round one verdict, survives JSON, and decides the same again."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.contracts.incident import IncidentClosed, IncidentReported
from broker.contracts.machine import Publish, SetTimer
from broker.contracts.monitor import AgentLost, Deviation, Verified
from broker.contracts.plan import PlanExecuted
from broker.contracts.task import DeadLetter
from monitor_svc.core.machine import MonitorMachine
from monitor_svc.core.state import MonitorState
from tests.support.monitor_world import SECOND, Reading, World, shop

DEVICES = (*shop().names(), "intruder")
INCIDENTS = ("h1", "h2")

readings = st.builds(
    Reading,
    status=st.sampled_from(["OK", "WARN", "ERROR"]),
    latency_ms=st.none() | st.floats(0, 5_000),
    success_ratio=st.none() | st.sampled_from([0.0, 0.5, 0.98, 0.99, 1.0]),
    request_rate=st.none() | st.floats(0, 50),
    error_code=st.none() | st.sampled_from(["ECONNREFUSED", "TIMEOUT"]),
    note=st.none() | st.text(max_size=20).filter(lambda text: text.isprintable()),
    silent=st.booleans(),
)
telemetry = st.tuples(st.just("telemetry"), st.sampled_from(DEVICES), readings)
seconds = st.tuples(st.just("seconds"), st.integers(1, 25), st.dictionaries(st.sampled_from(DEVICES), readings))
leap = st.tuples(st.just("leap"), st.integers(-3 * SECOND, 40 * SECOND), st.none())
report = st.tuples(st.just("report"), st.sampled_from(INCIDENTS), st.none())
close = st.tuples(
    st.just("close"),
    st.sampled_from((*INCIDENTS, "own")),
    st.sampled_from(["verified", "no_fault", "unresolved", "merged"]),
)
executed = st.tuples(st.just("executed"), st.sampled_from((*INCIDENTS, "own")), st.integers(1, 3))
others = st.tuples(st.just("other"), st.sampled_from(["lost", "dead"]), st.sampled_from(INCIDENTS))
happenings = st.lists(st.one_of(telemetry, seconds, leap, report, close, executed, others), max_size=40)


def own_incident(world: World) -> str:
    return next((item.incident for item in world.state.open if item.incident.startswith("m")), "none")


def live(world: World, story: list[tuple[str, object, object]]) -> World:
    """Let a story happen; the world checks the invariants after every event."""
    for kind, first, second in story:
        match kind, first, second:
            case "telemetry", str(device), Reading() as reading:
                world.hear(reading.telemetry(device, world.now_us))
            case "seconds", int(count), dict(said):
                world.readings = dict(said)
                world.seconds(count)
            case "leap", int(micros), _:
                world.now_us += micros
            case "report", str(incident), _:
                world.report(incident)
            case "close", str(incident), str(verdict):
                name = own_incident(world) if incident == "own" else incident
                world.hear(
                    IncidentClosed.model_validate(
                        {"incident": name, "verdict": verdict, "reason": "x", "plan_version": 1, "actions": 0}
                    )
                )
            case "executed", str(incident), int(version):
                name = own_incident(world) if incident == "own" else incident
                world.hear(PlanExecuted(incident=name, version=version, completed=(), skipped=(), failed=(), actions=0))
            case "other", "lost", _:
                world.hear(
                    AgentLost(instance="log-agent-1", role="log", connection=1, reason="Stale Connection", handed_on=())
                )
            case "other", "dead", str(incident):
                world.hear(DeadLetter(incident=incident, task_id="v1-t1", attempt=1, reason="x"))
    return world


@settings(max_examples=120, deadline=None)
@given(happenings)
def test_no_story_breaks_the_monitor(story: list[tuple[str, object, object]]) -> None:
    world = live(World(), story)
    subjects = Counter(message.subject() for message in world.said())
    assert all(count == 1 for count in subjects.values())
    for incident in {message.incident for message in world.said() if isinstance(message, Deviation)}:
        numbers = [item.n for item in world.deviations() if item.incident == incident]
        assert numbers == list(range(1, len(numbers) + 1))


@settings(max_examples=120, deadline=None)
@given(happenings)
def test_at_most_one_incident_of_its_own_is_open_and_never_beside_another(
    story: list[tuple[str, object, object]],
) -> None:
    world = World()
    machine_step = world.machine.step

    def watched(state: MonitorState, event: object) -> object:
        after, commands = machine_step(state, event)  # type: ignore[arg-type]
        opened = [c for c in commands if isinstance(c, Publish) and isinstance(c.message, IncidentReported)]
        assert len(opened) <= (0 if state.open or state.opening else 1)
        return after, commands

    world.machine.step = watched  # type: ignore[method-assign, assignment]
    live(world, story)
    own = [item for item in world.state.open if item.incident.startswith("m")]
    assert len(own) + (world.state.opening is not None) <= 1


@settings(max_examples=120, deadline=None)
@given(happenings)
def test_each_round_gets_exactly_one_verdict_or_ends_with_its_incident(
    story: list[tuple[str, object, object]],
) -> None:
    world = live(World(), story)
    verdicts = Counter((item.incident, item.plan_version, item.n) for item in world.verdicts())
    assert all(count == 1 for count in verdicts.values())
    begun = [command for _, command in world.commands if isinstance(command, SetTimer)]
    world.readings = {name: Reading(silent=True) for name in world.config.inventory.names()}
    world.seconds(25)
    assert world.state.check is None
    assert len(world.verdicts()) <= len(begun)
    assert all(isinstance(item, Verified) and item.ok == (not item.reasons) for item in world.verdicts())


@settings(max_examples=60, deadline=None)
@given(happenings)
def test_a_restart_from_json_after_any_event_changes_nothing(story: list[tuple[str, object, object]]) -> None:
    world = live(World(), story)
    state = world.machine.initial()
    commands = []
    for event in world.events:
        machine = MonitorMachine(type(world.config).decode(world.config.encode()))
        state, said = machine.step(MonitorState.decode(state.encode()), event)
        commands += [(event.seq, command) for command in said]
    assert commands == world.commands
    assert state.encode() == world.state.encode()
