"""A recorded history is decided again and must give the same bytes; an edited one must be found different at the event
that was edited.

`recorded/monitor_db_conn_drift.jsonl` holds one event a line (`seq`, `time_us`, `subject`, `type`, `payload`) and, on
the lines whose event led to something, the commands that version 1 of the machine decided. A change that makes this
fail changes decisions: raise `MonitorMachine.version` and record anew (`python -m tests.replay.test_monitor_recorded`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from broker.contracts.machine import CancelTimer, Command, Event, Publish, SetTimer
from broker.contracts.registry import CONTRACTS
from monitor_svc.core.config import MonitorConfig
from monitor_svc.core.machine import MonitorMachine
from monitor_svc.core.state import MonitorState
from tests.support.monitor_world import Reading, World, users

FILE = Path(__file__).parent / "recorded" / "monitor_db_conn_drift.jsonl"


def as_json(command: Command) -> list[str]:
    """Return a command as what a journal would hold of it."""
    match command:
        case Publish(message, tag):
            return ["publish", message.subject(), message.encode().decode(), tag]
        case SetTimer(timer):
            return ["timer", timer.subject(), timer.encode().decode()]
        case CancelTimer(machine, timer_id):
            return ["cancel", machine, timer_id]


def event_of(line: dict[str, Any]) -> Event:
    payload = CONTRACTS[line["type"]].decode(line["payload"].encode())
    return Event(line["seq"], line["time_us"], line["subject"], payload, "recorded/1")


def first_difference(config: MonitorConfig, lines: list[dict[str, Any]], *, restart: bool = False) -> int | None:
    """Decide a history again; return the sequence of the first event that leads to something else, or None."""
    machine = MonitorMachine(config)
    state = machine.initial()
    for line in lines:
        state, commands = machine.step(state, event_of(line))
        if [as_json(command) for command in commands] != line.get("commands", []):
            return int(line["seq"])
        if restart:
            state = MonitorState.decode(state.encode())
    return None


def read() -> tuple[MonitorConfig, list[dict[str, Any]]]:
    head, *lines = FILE.read_text().splitlines()
    header = json.loads(head)
    assert (header["machine"], header["version"]) == (MonitorMachine.name, MonitorMachine.version)
    return MonitorConfig.decode(header["config"].encode()), [json.loads(line) for line in lines]


def test_the_recorded_incident_is_decided_the_same() -> None:
    config, lines = read()
    assert sum(len(line.get("commands", [])) for line in lines) == 8
    assert first_difference(config, lines) is None


def test_restarts_after_every_event_change_nothing() -> None:
    config, lines = read()
    assert first_difference(config, lines, restart=True) is None


def test_an_edited_success_ratio_is_found_at_the_event_it_changes() -> None:
    config, lines = read()
    verified = next(i for i, line in enumerate(lines) if "triage.verified.h1.2" in str(line.get("commands")))
    lines[verified]["payload"] = lines[verified]["payload"].replace('"success_ratio":1.0', '"success_ratio":0.5')
    assert first_difference(config, lines) == lines[verified]["seq"]


def test_another_configuration_is_found() -> None:
    config, lines = read()
    assert first_difference(config.model_copy(update={"verify_deadline_s": 10.0}), lines) is not None


def test_a_removed_event_is_found() -> None:
    config, lines = read()
    confirming = next(i for i, line in enumerate(lines) if line.get("commands"))
    before = next(i for i in range(confirming - 1, 0, -1) if lines[i]["subject"] == lines[confirming]["subject"])
    del lines[before]
    assert first_difference(config, lines) == lines[confirming - 1]["seq"]


def live() -> World:
    """Live the story that is recorded: a drift, a first repair that does not help, a second that does."""
    world = World()
    world.seconds(6)
    world.report("h1", "checkout is dead, customers are angry")
    world.readings = {
        "orders": Reading("ERROR", 4.0, success_ratio=0.0, error_code="gaierror", note="shop-db=gaierror"),
        "loadgen": users(0.6),
    }
    world.seconds(4)
    world.executed(version=1)
    world.seconds(21)
    world.executed(version=2)
    world.readings.clear()
    world.seconds(8)
    world.close()
    world.seconds(2)
    return world


def record() -> None:
    """Write the recording anew."""
    world = live()
    decided: dict[int, list[list[str]]] = {}
    for seq, command in world.commands:
        decided.setdefault(seq, []).append(as_json(command))
    header = {
        "machine": MonitorMachine.name,
        "version": MonitorMachine.version,
        "config": world.config.encode().decode(),
    }
    rows: list[dict[str, Any]] = [header]
    for event in world.events:
        row: dict[str, Any] = {
            "seq": event.seq,
            "time_us": event.time_us,
            "subject": event.subject,
            "type": event.payload.TYPE,
            "payload": event.payload.encode().decode(),
        }
        rows.append(row | ({"commands": decided[event.seq]} if event.seq in decided else {}))
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    record()
