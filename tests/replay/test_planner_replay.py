"""The same journal gives the same words, byte for byte, from the start and from any snapshot."""

from __future__ import annotations

import json
import random
from typing import Literal

import pytest

from broker.contracts.machine import Command, Event, Publish
from planner_svc.config import CERTAIN, CLEAR_MARGIN, newest_templates
from planner_svc.core.config import PlannerConfig
from planner_svc.core.machine import PlannerMachine
from planner_svc.core.state import PlannerState
from tests.support.planner_world import UNANSWERED, USERS_FAIL, Look, World, config

FAULTS: tuple[dict[str, Look], ...] = (
    {"orders": {"status": "ERROR", "note": "shop-db=gaierror", "error_code": "gaierror"}, "loadgen": USERS_FAIL},
    {"shop-mq": {**UNANSWERED, "error_code": "ECONNREFUSED"}},
    {"catalog": {"status": "WARN", "error_code": "JSONDecodeError"}, "loadgen": USERS_FAIL},
    {"catalog": {"cpu_load": 1.7}},
    {},
)


PLAN = (
    '{"hypothesis":{"target":"orders","fault_class":"config_drift","confidence":0.7},'
    '"tasks":[{"task_id":"t1","type":"reconcile","target":"orders"}]}'
)


def shipped(mode: Literal["hypothesis", "full"]) -> PlannerConfig:
    """Return the configuration that the role's shell makes."""
    more = {"clear_margin": CLEAR_MARGIN, "asks_again": True, "certain": CERTAIN}
    return config("auto").model_copy(update={"mode": mode, "templates": newest_templates(), **more})


def journal(seed: int, given: PlannerConfig | None = None) -> World:
    """Return a world with several incidents behind it."""
    draw = random.Random(seed)
    world = World(PlannerMachine(given or config("auto")))
    for number in range(8):
        fault = draw.choice(FAULTS)
        world.seconds(draw.randint(1, 4))
        world.request(incident=f"i{number}", text=draw.choice(["it is slow", "orders down?!", "now and then errors"]))
        world.seconds(draw.randint(2, 5), fault)
        for prompt in world.prompts()[-1:]:
            text = draw.choice(
                ["", '{"target":"orders","fault_class":"config_drift","confidence":0.7}', "rubbish", PLAN]
            )
            world.answer(prompt, text, outcome=draw.choice(["ok", "timeout"]))
    return world


def words(commands: list[Command]) -> list[bytes]:
    return [c.message.encode() + c.tag.encode() for c in commands if isinstance(c, Publish)]


def replay(machine: PlannerMachine, state: PlannerState, events: list[Event]) -> tuple[PlannerState, list[Command]]:
    commands: list[Command] = []
    for event in events:
        state, said = machine.step(state, event)
        commands += said
    return state, commands


def test_same_events_give_the_same_bytes() -> None:
    for seed in range(5):
        world = journal(seed)
        machine = PlannerMachine(PlannerConfig.decode(world.machine.config.encode()))
        state, commands = replay(machine, machine.initial(), world.events)
        assert words(commands) == words(world.commands)
        assert state.encode() == world.state.encode()
        assert words(commands)


def test_snapshot_at_any_place_changes_nothing() -> None:
    world = journal(7)
    machine = world.machine
    for cut in range(0, len(world.events), 23):
        state, before = replay(machine, machine.initial(), world.events[:cut])
        state, after = replay(machine, PlannerState.decode(state.encode()), world.events[cut:])
        assert words([*before, *after]) == words(world.commands)
        assert state.encode() == world.state.encode()


def test_sender_and_sequence_do_not_matter() -> None:
    world = journal(3)
    events = [Event(e.seq + 1_000, e.time_us, e.subject, e.payload, "another", e.tag) for e in world.events]
    _, commands = replay(world.machine, world.machine.initial(), events)
    assert words(commands) == words(world.commands)


@pytest.mark.parametrize("mode", ["hypothesis", "full"])
def test_same_events_give_the_same_bytes_in_either_mode(mode: Literal["hypothesis", "full"]) -> None:
    for seed in range(3):
        world = journal(seed, shipped(mode))
        machine = PlannerMachine(PlannerConfig.decode(world.machine.config.encode()))
        state, commands = replay(machine, machine.initial(), world.events)
        assert words(commands) == words(world.commands)
        assert state.encode() == world.state.encode()


def test_configuration_from_before_templates_decides_as_it_did() -> None:
    """Its recordings hold a configuration without the newer fields, and messages without theirs."""
    world = journal(2)
    fields = json.loads(world.machine.config.encode())
    for gone in ("templates", "clear_margin", "asks_again", "certain", "max_prompt_tokens"):
        del fields[gone]
    machine = PlannerMachine(PlannerConfig.decode(json.dumps(fields).encode()))
    _, commands = replay(machine, machine.initial(), world.events)
    assert words(commands) == words(world.commands)
    said = b"".join(words(commands))
    for newer in (b'"template', b'"form"', b'"filled"', b'"agreed"', b'"mended"', b'"unusable"', b'"clarifying_task"'):
        assert newer not in said
