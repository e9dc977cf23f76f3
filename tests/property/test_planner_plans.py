"""Whatever the telemetry, the report and the model say: every plan keeps the bounds, and nothing acts unconfirmed."""

from __future__ import annotations

import json
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.contracts.catalogue import CATALOGUE
from broker.contracts.inventory import Device, DeviceKind, Inventory
from broker.contracts.plan import MAX_TASKS, FaultClass, Hypothesis, Plan, PlanRequested, Tried
from broker.contracts.telemetry import Metrics, Telemetry
from planner_svc.core.config import PlannerConfig
from planner_svc.core.machine import PlannerMachine
from planner_svc.core.state import PlannerState
from tests.support.planner_world import EPOCH, World, rulebook, shop

CODES = st.sampled_from(
    [
        "gaierror",
        "ECONNREFUSED",
        "TimeoutError",
        "TIMEOUT",
        "ECONNRESET",
        "InvalidPasswordError",
        "JSONDecodeError",
        "500",
    ]
) | st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=60)
NUMBERS = st.none() | st.floats(0, 1e6)
RATIOS = st.none() | st.floats(0, 1)
NAMES = st.sampled_from(shop().names())
FAULTS = st.sampled_from(get_args(FaultClass))


@st.composite
def samples(draw: st.DrawFn, names: st.SearchStrategy[str] = NAMES) -> Telemetry:
    pairs = draw(st.lists(st.tuples(st.sampled_from(["", "slow:"]), names, CODES), max_size=3))
    note = ",".join(f"{slow}{name}={code}" for slow, name, code in pairs)[:500]
    return Telemetry(
        device_id=draw(names),
        timestamp=EPOCH,
        status=draw(st.sampled_from(["OK", "WARN", "ERROR"])),
        metrics=Metrics(
            cpu_load=draw(NUMBERS),
            mem_usage=draw(NUMBERS),
            latency_ms=draw(NUMBERS),
            success_ratio=draw(RATIOS),
            request_rate=draw(NUMBERS),
        ),
        error_code=draw(st.none() | CODES),
        log_sample=draw(st.none() | CODES),
        note=note or None,
    )


def check(plan: Plan, inventory: Inventory) -> None:
    """Hold a plan against the catalogue and the rules of the house."""
    assert len(plan.tasks) <= MAX_TASKS
    seen: dict[str, str] = {}
    for task in plan.tasks:
        entry, device = CATALOGUE[task.type], inventory.get(task.target)
        assert device is not None
        assert task.assigned_to == entry.agent
        assert entry.faults(task.args, device) == []
        assert set(task.dependencies) <= set(seen)
        if task.when is not None:
            assert task.when.task_id in task.dependencies
            assert task.when.field in CATALOGUE[seen[task.when.task_id]].meta
        if entry.changes_world:
            assert task.when is not None
        assert task.task_id not in seen
        seen[task.task_id] = task.type
    assert Plan.decode(plan.encode()) == plan


@settings(max_examples=80, deadline=None)
@given(
    telemetry=st.lists(samples(), max_size=40),
    text=st.text(max_size=200),
    tried=st.lists(st.tuples(NAMES, FAULTS), max_size=3),
    pause_us=st.integers(1, 400_000),
)
def test_any_telemetry_gives_a_plan_within_bounds(
    telemetry: list[Telemetry], text: str, tried: list[tuple[str, FaultClass]], pause_us: int
) -> None:
    world = World()
    for sample in telemetry:
        world.now_us += pause_us
        world.say(sample)
    past = tuple(
        Tried(hypothesis=Hypothesis(target=name, fault_class=fault, confidence=0.5), outcome="no")
        for name, fault in tried
    )
    world.request(text=text, attempt=2, tried=past)
    plan = world.proposal().plan
    assert plan.tasks
    check(plan, shop())
    again = PlannerState.decode(world.state.encode())
    assert again == world.state


@settings(max_examples=80, deadline=None)
@given(telemetry=st.lists(samples(), max_size=20), target=NAMES, fault=FAULTS, confidence=st.floats(0, 1))
def test_any_hypothesis_of_a_model_gives_a_plan_within_bounds(
    telemetry: list[Telemetry], target: str, fault: FaultClass, confidence: float
) -> None:
    world = World(PlannerMachine(PlannerConfig(inventory=shop(), rulebook=rulebook())))
    for sample in telemetry:
        world.now_us += 200_000
        world.say(sample)
    world.request(attempt=2)
    world.answer(world.prompts()[0], json.dumps({"target": target, "fault_class": fault, "confidence": confidence}))
    proposal = world.proposal()
    assert proposal.plan.tasks
    check(proposal.plan, shop())
    assert 0.0 <= proposal.plan.hypothesis.confidence <= 1.0


@settings(max_examples=80, deadline=None)
@given(text=st.text(max_size=300) | st.binary(max_size=100).map(lambda b: b.decode("latin-1")))
def test_any_text_of_a_model_gives_a_plan_within_bounds(text: str) -> None:
    world = World(PlannerMachine(PlannerConfig(inventory=shop(), rulebook=rulebook())))
    world.second({"orders": {"status": "ERROR", "note": "shop-db=gaierror"}})
    world.request(attempt=2)
    world.answer(world.prompts()[0], text)
    check(world.proposal().plan, shop())


KINDS = st.sampled_from(get_args(DeviceKind))


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    names = draw(st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), unique=True, max_size=5))
    return Inventory(
        devices=tuple(
            Device(
                name=name,
                kind=draw(KINDS),
                managed=draw(st.booleans()),
                depends_on=tuple(draw(st.lists(st.sampled_from(names), max_size=3))),
                probe="http",
                host="h",
                port=1,
                cache_prefix=draw(st.none() | st.sampled_from(["x:", "../", "A b", ""])),
            )
            for name in names
        )
    )


@settings(max_examples=80, deadline=None)
@given(inventory=inventories(), telemetry=st.lists(samples(st.sampled_from(["a", "b", "c", "d", "e"])), max_size=20))
def test_any_inventory_gives_a_plan_within_bounds(inventory: Inventory, telemetry: list[Telemetry]) -> None:
    """Also one with loops, without traffic, with nothing managed, with a cache prefix nobody may delete."""
    world = World(PlannerMachine(PlannerConfig(inventory=inventory, rulebook=rulebook(), mode="rulebook")))
    for sample in telemetry:
        world.now_us += 300_000
        world.say(sample)
    world.say(PlanRequested(incident="i1", version=1, attempt=2, text="help"))
    check(world.proposal().plan, inventory)
