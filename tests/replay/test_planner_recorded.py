"""A journal that the planner's policy decided before it had templates, full mode and the newer fields of its messages:
it is decided again byte for byte.

`test_planner_recorded.jsonl`: a header with the configuration of then, one event a line with the commands that
followed. It is never written anew: who must change what stands in it makes a new version of the machine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from broker.contracts.machine import Event, Publish
from broker.contracts.registry import CONTRACTS
from planner_svc.core.config import PlannerConfig
from planner_svc.core.machine import PlannerMachine

RECORDED = Path(__file__).with_name("test_planner_recorded.jsonl")


def decided(lines: list[dict[str, Any]]) -> list[list[dict[str, str]]]:
    """Return what the machine of the header says to each event."""
    head, *events = lines
    machine = PlannerMachine(PlannerConfig.decode(head["config"].encode()))
    assert machine.version == head["version"]
    state, found = machine.initial(), []
    for line in events:
        message = CONTRACTS[line["type"]].decode(line["payload"].encode())
        state, said = machine.step(state, Event(line["seq"], line["time_us"], line["subject"], message, "recorded-1"))
        found.append(
            [
                {"say": one.message.subject(), "tag": one.tag, "bytes": one.message.encode().decode()}
                for one in said
                if isinstance(one, Publish)
            ]
        )
    return found


def recorded() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]


def test_recording_from_before_full_mode_is_decided_again_byte_for_byte() -> None:
    lines = recorded()
    assert decided(lines) == [line["commands"] for line in lines[1:]]
    said = [command["say"].rsplit(".", 1)[1] for line in lines[1:] for command in line["commands"]]
    assert said.count("prompted") >= 5
    assert said.count("proposed") >= 5


def test_edited_answer_is_found_where_it_was_decided() -> None:
    lines = recorded()
    place = next(n for n, line in enumerate(lines) if line.get("type") == "plan.answered" and line["commands"])
    lines[place]["payload"] = lines[place]["payload"].replace('"ok"', '"error"')
    found = decided(lines)
    wrong = [n for n, (now, line) in enumerate(zip(found, lines[1:], strict=True)) if now != line["commands"]]
    assert wrong[0] == place - 1
